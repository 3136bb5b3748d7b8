//! Names in the configuration, and names of Losant attributes.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name in the configuration, in characters. It stays readable in a log line.
const NAME_LENGTH_MAX: usize = 64;

/// The longest attribute name that Losant accepts, in characters (schema `deviceState`).
const ATTRIBUTE_LENGTH_MAX: usize = 255;

/// Names a bus, a sensor, an actuator or a device in the configuration. Cheap to clone.
///
/// A name has lower-case letters, digits, `-` and `_`, so that an environment variable can set the
/// options of its table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Reports a text that is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a name; use 1 to {NAME_LENGTH_MAX} of a-z, 0-9, - and _")]
pub struct NameError {
    text: String,
}

/// Names a Losant attribute: 1 to 255 of letters, digits, `_` and `-`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeName(Arc<str>);

/// Reports a text that is not an [`AttributeName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not an attribute name; \
     Losant takes 1 to {ATTRIBUTE_LENGTH_MAX} of A-Z, a-z, 0-9, - and _"
)]
pub struct AttributeNameError {
    text: String,
}

fn is_made_of(text: &str, length_max: usize, allowed: fn(u8) -> bool) -> bool {
    (1..=length_max).contains(&text.len()) && text.bytes().all(allowed)
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if is_made_of(text, NAME_LENGTH_MAX, allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError { text: text.to_owned() })
        }
    }
}

impl FromStr for AttributeName {
    type Err = AttributeNameError;

    fn from_str(text: &str) -> Result<Self, AttributeNameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if is_made_of(text, ATTRIBUTE_LENGTH_MAX, allowed) {
            Ok(Self(text.into()))
        } else {
            Err(AttributeNameError { text: text.to_owned() })
        }
    }
}

macro_rules! text_like {
    ($name:ident) => {
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, formatter)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_like!(Name);
text_like!(AttributeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_fits_an_environment_variable() {
        assert!("boiler-2_a".parse::<Name>().is_ok());
        for text in ["", "Boiler", "boiler a", "boiler.a", "bölkow", &"x".repeat(65)] {
            assert!(text.parse::<Name>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn attribute_name_fits_the_state_schema() {
        assert!("tempC_2-a".parse::<AttributeName>().is_ok());
        for text in ["", "a.b", "a b", "a/b", "é", &"x".repeat(256)] {
            assert!(text.parse::<AttributeName>().is_err(), "{text} was accepted");
        }
    }
}
