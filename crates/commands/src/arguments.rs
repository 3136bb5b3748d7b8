//! The arguments of a command: names, types and bounds from the configuration.

use std::collections::BTreeMap;

use serde_json::Value;

use tidegate_model::excerpt::excerpt;

/// The arguments of a command.
///
/// Without arguments any payload is valid. Otherwise the payload is an object with these members
/// and no others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments(BTreeMap<String, Argument>);

/// One argument.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// Its type and bounds.
    pub kind: ArgumentKind,
    /// Whether a command may omit it.
    pub is_optional: bool,
}

/// The type of an argument, with its bounds.
#[derive(Debug, Clone, PartialEq)]
pub enum ArgumentKind {
    /// True or false.
    Boolean,
    /// A number within inclusive bounds.
    Number {
        /// The minimum.
        minimum: f64,
        /// The maximum.
        maximum: f64,
        /// Whether it must be whole, such as 3 or 3.0.
        is_integer: bool,
    },
    /// A text.
    Text {
        /// The maximum length, in characters.
        length_max: usize,
    },
    /// One of these texts.
    Choice(Vec<String>),
}

/// Why a payload is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// The payload is not an object.
    #[error("the payload must be an object with the arguments")]
    NotAnObject,
    /// The configuration has no such argument.
    #[error("unknown argument \"{0}\"")]
    Unknown(String),
    /// A required argument is missing.
    #[error("the argument \"{0}\" is missing")]
    Missing(String),
    /// An argument has another type, or exceeds its bounds.
    #[error("the argument \"{name}\" must be {expected}")]
    Invalid {
        /// Its name.
        name: String,
        /// The expected type and bounds.
        expected: String,
    },
}

impl Arguments {
    /// Creates the arguments from their names.
    pub fn new(arguments: BTreeMap<String, Argument>) -> Self {
        Self(arguments)
    }

    /// Returns the kind of a declared argument.
    pub fn kind(&self, name: &str) -> Option<&ArgumentKind> {
        self.0.get(name).map(|argument| &argument.kind)
    }

    /// Checks a payload. Members in `reserved`, such as the id of the command, are not arguments.
    ///
    /// # Errors
    /// Returns the first mismatch.
    pub fn check(&self, payload: &Value, reserved: &[&str]) -> Result<(), ArgumentError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Value::Object(members) = payload else { return Err(ArgumentError::NotAnObject) };
        for (name, value) in members {
            if reserved.contains(&name.as_str()) {
                continue;
            }
            let Some(argument) = self.0.get(name) else {
                return Err(ArgumentError::Unknown(excerpt(name.as_bytes())));
            };
            if !argument.kind.admits(value) {
                let (name, expected) = (name.clone(), argument.kind.to_string());
                return Err(ArgumentError::Invalid { name, expected });
            }
        }
        let is_missing = |(name, argument): &(&String, &Argument)| {
            !argument.is_optional && !members.contains_key(*name)
        };
        match self.0.iter().find(is_missing) {
            Some((name, _)) => Err(ArgumentError::Missing(name.clone())),
            None => Ok(()),
        }
    }
}

impl ArgumentKind {
    fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Boolean, Value::Bool(_)) => true,
            (Self::Number { minimum, maximum, is_integer }, Value::Number(number)) => {
                number.as_f64().is_some_and(|number| {
                    (*minimum..=*maximum).contains(&number)
                        && (!is_integer || number.fract() == 0.0)
                })
            }
            (Self::Text { length_max }, Value::String(text)) => text.chars().count() <= *length_max,
            (Self::Choice(choices), Value::String(text)) => choices.contains(text),
            (_, _) => false,
        }
    }
}

impl std::fmt::Display for ArgumentKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean => formatter.write_str("true or false"),
            Self::Number { minimum, maximum, is_integer } => {
                let kind = if *is_integer { "a whole number" } else { "a number" };
                write!(formatter, "{kind} from {minimum} to {maximum}")
            }
            Self::Text { length_max } => {
                write!(formatter, "a text of at most {length_max} characters")
            }
            Self::Choice(choices) => write!(formatter, "one of \"{}\"", choices.join("\", \"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fan() -> Arguments {
        let number = |is_integer| ArgumentKind::Number { minimum: 0.0, maximum: 100.0, is_integer };
        let argument = |kind, is_optional| Argument { kind, is_optional };
        Arguments::new(BTreeMap::from([
            ("speed".to_owned(), argument(number(true), false)),
            ("ramp".to_owned(), argument(number(false), true)),
            ("on".to_owned(), argument(ArgumentKind::Boolean, true)),
            (
                "mode".to_owned(),
                argument(ArgumentKind::Choice(vec!["auto".into(), "hand".into()]), true),
            ),
            ("note".to_owned(), argument(ArgumentKind::Text { length_max: 4 }, true)),
        ]))
    }

    #[test]
    fn accepts_valid_payloads() {
        for payload in [
            json!({"speed": 0}),
            json!({"speed": 100.0, "ramp": 0.5, "on": true, "mode": "auto", "note": "größ"}),
            json!({"speed": 3, "requestId": [1]}),
        ] {
            assert_eq!(fan().check(&payload, &["requestId"]), Ok(()), "{payload}");
        }
        assert_eq!(Arguments::default().check(&json!([1]), &[]), Ok(()));
    }

    #[test]
    fn error_names_the_argument() {
        for (payload, expected) in [
            (json!(null), "the payload must be an object"),
            (json!({}), "\"speed\" is missing"),
            (json!({"speed": 1, "x\n": 1}), "unknown argument"),
            (json!({"speed": 101}), "\"speed\" must be a whole number from 0 to 100"),
            (json!({"speed": 1.5}), "must be a whole number"),
            (json!({"speed": "1"}), "must be a whole number"),
            (json!({"speed": 1, "on": 1}), "must be true or false"),
            (json!({"speed": 1, "mode": "off"}), "must be one of \"auto\", \"hand\""),
            (json!({"speed": 1, "note": "12345"}), "at most 4 characters"),
            (json!({"speed": {"a": 1}}), "must be a whole number"),
        ] {
            let error = fan().check(&payload, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{payload}: {error}");
        }
    }
}
