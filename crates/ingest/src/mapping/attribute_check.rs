//! Compares the attributes of a device in Losant with those that the configuration produces.

use std::collections::BTreeMap;
use std::fmt;

use tidegate_model::{AttributeName, AttributeType, DeclaredAttributes};

/// The attributes that the configuration produces, with their types where the mapping fixes them.
pub type ProducedAttributes = BTreeMap<AttributeName, Option<AttributeType>>;

/// A problem of an attribute that the configuration produces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeProblem {
    /// The device does not have the attribute. Losant ignores its values.
    Undeclared {
        /// The attribute.
        attribute: AttributeName,
        /// The type in the configuration, if the mapping fixes it.
        produced: Option<AttributeType>,
    },
    /// The attribute has another type.
    WrongType {
        /// The attribute.
        attribute: AttributeName,
        /// The type in Losant.
        declared: AttributeType,
        /// The type in the configuration.
        produced: AttributeType,
    },
}

/// Returns the problems of the produced attributes of one device.
pub fn check_attributes(
    declared: &DeclaredAttributes,
    produced: &ProducedAttributes,
) -> Vec<AttributeProblem> {
    let compare = |(attribute, produced): (&AttributeName, &Option<AttributeType>)| match (
        declared.get(attribute),
        *produced,
    ) {
        (None, produced) => {
            Some(AttributeProblem::Undeclared { attribute: attribute.clone(), produced })
        }
        (Some(declared), Some(produced)) if !declared.accepts(produced) => {
            let (attribute, declared) = (attribute.clone(), *declared);
            Some(AttributeProblem::WrongType { attribute, declared, produced })
        }
        (Some(_), _) => None,
    };
    produced.iter().filter_map(compare).collect()
}

impl fmt::Display for AttributeProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared { attribute, produced } => {
                let name = produced.map_or("suitable", AttributeType::as_str);
                write!(
                    formatter,
                    "the device has no attribute {attribute}; add it in Losant, with a {name} type"
                )
            }
            Self::WrongType { attribute, declared, produced } => {
                let (declared, produced) = (declared.as_str(), produced.as_str());
                write!(
                    formatter,
                    "attribute {attribute} has the type {declared} in Losant, but the \
                     configuration produces {produced}; change the type in Losant, or the mapping"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_problems_with_advice() {
        let name = |name: &str| name.parse::<AttributeName>().unwrap();
        let declared = [("t", "number"), ("door", "gps"), ("at", "gps"), ("any", "number")];
        let declared = declared.map(|(one, word)| (name(one), AttributeType::named(word)));
        let produced = [
            ("t", Some(AttributeType::Number)),
            ("door", Some(AttributeType::Boolean)),
            ("at", Some(AttributeType::Text)),
            ("any", None),
            ("h", None),
        ];
        let produced = produced.map(|(one, kind)| (name(one), kind)).into();
        let problems: Vec<_> =
            check_attributes(&declared.into(), &produced).iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "attribute door has the type gps in Losant, but the configuration produces \
                 boolean; change the type in Losant, or the mapping",
                "the device has no attribute h; add it in Losant, with a suitable type",
            ]
        );
    }
}
