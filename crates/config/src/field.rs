//! The types of single values. The `config` crate converts 5.9 to 6 and `true` to 1; these types
//! reject such values.
//!
//! A text is accepted for a number, because environment variables are texts.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// The form of a kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Integer,
    Number,
    Flag,
    Duration,
    Size,
    Scalar,
}

/// A kind of value, and how it is read from a TOML value.
pub(super) trait Kind: Sized {
    const FORM: Form;

    /// The expected form, for error messages.
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;

    fn from_integer(_integer: i64) -> Option<Self> {
        None
    }

    fn from_float(_float: f64) -> Option<Self> {
        None
    }

    fn from_boolean(_boolean: bool) -> Option<Self> {
        None
    }
}

/// A value of one kind and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field<T>(pub(super) T);

impl<'de, T: Kind> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData)).map(Field)
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<T: Kind> Visitor<'_> for FieldVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<T, E> {
        T::from_integer(integer).ok_or_else(|| E::invalid_type(Unexpected::Signed(integer), &self))
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<T, E> {
        T::from_float(float).ok_or_else(|| E::invalid_type(Unexpected::Float(float), &self))
    }

    fn visit_bool<E: Error>(self, boolean: bool) -> Result<T, E> {
        T::from_boolean(boolean).ok_or_else(|| E::invalid_type(Unexpected::Bool(boolean), &self))
    }
}

impl Kind for String {
    const FORM: Form = Form::Text;
    const EXPECTED: &'static str = "a text in quotes";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Kind for i64 {
    const FORM: Form = Form::Integer;
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_integer(integer: i64) -> Option<Self> {
        Some(integer)
    }
}

/// The largest integer up to which a double holds all integers: 2^53.
const EXACT_MAX: u64 = 1 << 53;

impl Kind for f64 {
    const FORM: Form = Form::Number;
    const EXPECTED: &'static str = "a finite number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &Self| number.is_finite())
    }

    fn from_integer(integer: i64) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "exact up to this limit")]
        (integer.unsigned_abs() <= EXACT_MAX).then_some(integer as Self)
    }

    fn from_float(float: f64) -> Option<Self> {
        Some(float).filter(|number| number.is_finite())
    }
}

impl Kind for bool {
    const FORM: Form = Form::Flag;
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_boolean(boolean: bool) -> Option<Self> {
        Some(boolean)
    }
}

/// A number, a boolean or a text. A text is never converted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Text(String),
}

impl Kind for Scalar {
    const FORM: Form = Form::Scalar;
    const EXPECTED: &'static str = "a text, a number, true or false";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::Text(text.to_owned()))
    }

    fn from_integer(integer: i64) -> Option<Self> {
        Some(Self::Integer(integer))
    }

    fn from_float(float: f64) -> Option<Self> {
        Some(Self::Float(float)).filter(|_| float.is_finite())
    }

    fn from_boolean(boolean: bool) -> Option<Self> {
        Some(Self::Boolean(boolean))
    }
}

impl Kind for Duration {
    const FORM: Form = Form::Duration;
    const EXPECTED: &'static str = "a duration with a unit, such as \"500 ms\" or \"15 s\"";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size(pub(super) u64);

impl Kind for Size {
    const FORM: Form = Form::Size;
    const EXPECTED: &'static str = "a size with a unit, such as \"64 MiB\" or \"200 kB\"";

    fn from_text(text: &str) -> Option<Self> {
        let has_unit = text.trim_end().ends_with(['B', 'b']);
        bytesize::ByteSize::from_str(text).ok().filter(|_| has_unit).map(|size| Self(size.as_u64()))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error as ValueError;

    use super::*;

    fn read<'de, T: Kind>(value: impl IntoDeserializer<'de, ValueError>) -> Result<T, String> {
        Field::deserialize(value.into_deserializer())
            .map(|field| field.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_read_from_texts() {
        assert_eq!(read::<i64>(9600_i64), Ok(9600));
        assert_eq!(read::<i64>("9600"), Ok(9600));
        assert_eq!(read::<f64>(2_i64), Ok(2.0));
        assert_eq!(read::<bool>("true"), Ok(true));
    }

    #[test]
    fn other_types_are_rejected() {
        assert!(read::<i64>(5.9).is_err());
        assert!(read::<i64>(true).is_err());
        assert!(read::<bool>(1_i64).is_err());
        assert!(read::<String>(5_i64).is_err());
        assert!(read::<f64>(f64::NAN).is_err());
        assert_eq!(
            read::<Duration>(5_i64).unwrap_err(),
            "invalid type: integer `5`, expected a duration with a unit, such as \"500 ms\" or \
             \"15 s\""
        );
    }

    #[test]
    fn durations_and_sizes_need_units() {
        assert_eq!(read::<Duration>("500 ms"), Ok(Duration::from_millis(500)));
        assert!(read::<Duration>("500").is_err());
        assert_eq!(read::<Size>("64 MiB"), Ok(Size(64 << 20)));
        assert_eq!(read::<Size>("200 kB"), Ok(Size(200_000)));
        assert!(read::<Size>("200").is_err());
    }
}
