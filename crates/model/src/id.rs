//! Losant's ids: 24 hexadecimal digits, stored as 12 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reports a text that is not a Losant id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not a Losant id; an id is 24 hexadecimal digits, \
     such as 575ecf887ae143cd83dc4aa2"
)]
pub struct IdError {
    text: String,
}

/// The bytes of an id of either kind.
type IdBytes = [u8; 12];

fn parse(text: &str) -> Option<IdBytes> {
    if text.len() != 24 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = IdBytes::default();
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(IdBytes);

        impl $name {
            /// Returns the 12 bytes of the id, in the order of its digits.
            pub fn as_bytes(&self) -> &[u8; 12] {
                &self.0
            }
        }

        impl From<[u8; 12]> for $name {
            fn from(bytes: [u8; 12]) -> Self {
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self).ok_or_else(|| IdError { text: text.to_owned() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }
    };
}

id! {
    /// Identifies a Losant device: a gateway or one of its peripherals.
    DeviceId
}

id! {
    /// Identifies a Losant application.
    ApplicationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_its_own_text() {
        let text = "575ecf887ae143cd83dc4aa2";
        assert_eq!(text.parse::<DeviceId>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<DeviceId>().unwrap().to_string(), text);
    }

    #[test]
    fn requires_24_hexadecimal_digits() {
        for text in [
            "",
            "575ecf887ae143cd83dc4aa",
            "575ecf887ae143cd83dc4aa2f",
            "575ecf887ae143cd83dc4aag",
            "é5ecf887ae143cd83dc4aa2",
        ] {
            assert!(text.parse::<ApplicationId>().is_err(), "{text} was accepted");
        }
    }
}
