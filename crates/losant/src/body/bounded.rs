//! Texts, lists and whole numbers with the bounds of a schema.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a value is out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundedError {
    /// A text that is too short or too long.
    #[error("{actual} characters; Losant accepts {min} to {max}")]
    Characters {
        /// Its length.
        actual: usize,
        /// The minimum length.
        min: usize,
        /// The maximum length.
        max: usize,
    },
    /// A list that is too long.
    #[error("{actual} items; Losant accepts at most {max}")]
    Items {
        /// Its length.
        actual: usize,
        /// The maximum length.
        max: usize,
    },
    /// A number that is too small, too large, or not a number.
    #[error("{actual}; Losant accepts a whole number from {min} to {max}")]
    Number {
        /// The value.
        actual: String,
        /// The minimum.
        min: i64,
        /// The maximum.
        max: i64,
    },
}

/// A text of `MIN` to `MAX` characters; like the schemas, it counts code points.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    /// Truncates a text to the maximum length.
    pub fn cut(text: &str) -> Self {
        Self(text.chars().take(MAX).collect())
    }
}

impl<const MIN: usize, const MAX: usize> FromStr for Text<MIN, MAX> {
    type Err = BoundedError;

    fn from_str(text: &str) -> Result<Self, BoundedError> {
        let actual = text.chars().count();
        if (MIN..=MAX).contains(&actual) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BoundedError::Characters { actual, min: MIN, max: MAX })
        }
    }
}

impl<const MIN: usize, const MAX: usize> fmt::Display for Text<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A list of at most `MAX` items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = BoundedError;

    fn try_from(items: Vec<T>) -> Result<Self, BoundedError> {
        if items.len() <= MAX {
            Ok(Self(items))
        } else {
            Err(BoundedError::Items { actual: items.len(), max: MAX })
        }
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bounded<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> TryFrom<i64> for Bounded<MIN, MAX> {
    type Error = BoundedError;

    fn try_from(number: i64) -> Result<Self, BoundedError> {
        if (MIN..=MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(BoundedError::Number { actual: number.to_string(), min: MIN, max: MAX })
        }
    }
}

impl<const MIN: i64, const MAX: i64> FromStr for Bounded<MIN, MAX> {
    type Err = BoundedError;

    fn from_str(text: &str) -> Result<Self, BoundedError> {
        let error = BoundedError::Number { actual: format!("\"{text}\""), min: MIN, max: MAX };
        text.parse::<i64>().map_err(|_| error)?.try_into()
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}
