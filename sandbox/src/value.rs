//! Checks whether a reported value has the type of its attribute, and converts it if not.
//!
//! The types are those of devices/attributes. Losant documented in 2019 that it converts values of
//! another type (devices/state), but not how; the conversions here are the sandbox's own.

use serde_json::{Value, json};

use crate::devices::DataType;
use crate::gps::{self, Parsed};

/// The result of comparing a value with a type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TypeCheck {
    /// The value has the type; this value is stored.
    Match(Value),
    /// The value has another type and can be converted to this value.
    Convertible(Value),
    /// The value has another type and cannot be converted.
    Mismatch,
}

/// Compares a value with a type.
pub(crate) fn check(value: &Value, data_type: DataType) -> TypeCheck {
    match data_type {
        DataType::Number => number(value),
        DataType::Boolean => boolean(value),
        DataType::String => string(value),
        DataType::Gps => position(value),
        DataType::Blob => blob(value),
    }
}

/// Returns the number of an integer, which in JSON Schema includes 5.0.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    let written = value.as_f64().filter(|number| number.fract() == 0.0);
    #[expect(clippy::cast_possible_truncation, reason = "a saturated number is far out of range")]
    let written = written.map(|number| number as i64);
    value.as_i64().or(written)
}

fn number(value: &Value) -> TypeCheck {
    if value.is_number() {
        return TypeCheck::Match(value.clone());
    }
    let converted = value.as_bool().map(|value| json!(u8::from(value)));
    let converted = converted.or_else(|| {
        let text = value.as_str()?.trim();
        let whole = text.parse::<i64>().ok().map(|number| json!(number));
        whole.or_else(|| Some(json!(text.parse::<f64>().ok().filter(|n| n.is_finite())?)))
    });
    converted.map_or(TypeCheck::Mismatch, TypeCheck::Convertible)
}

fn boolean(value: &Value) -> TypeCheck {
    if value.is_boolean() {
        return TypeCheck::Match(value.clone());
    }
    let converted = value.as_f64().map(|number| number != 0.0).or_else(|| {
        match value.as_str()?.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    });
    converted.map_or(TypeCheck::Mismatch, |value| TypeCheck::Convertible(json!(value)))
}

fn string(value: &Value) -> TypeCheck {
    match value {
        Value::String(text) if text.len() <= STRING_BYTES_MAX => TypeCheck::Match(value.clone()),
        Value::Number(_) | Value::Bool(_) => TypeCheck::Convertible(json!(value.to_string())),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => TypeCheck::Mismatch,
    }
}

/// Accepts a position in any form; it is stored in decimal degrees.
fn position(value: &Value) -> TypeCheck {
    match value.as_str().and_then(gps::parse) {
        Some(Parsed::Decimal(_)) => TypeCheck::Match(value.clone()),
        Some(Parsed::Other(position)) => TypeCheck::Match(json!(position.to_text())),
        None => TypeCheck::Mismatch,
    }
}

fn blob(value: &Value) -> TypeCheck {
    if value.as_str().is_some_and(is_base64) {
        TypeCheck::Match(value.clone())
    } else {
        TypeCheck::Mismatch
    }
}

/// Returns whether a text is padded base64 with the standard alphabet (RFC 4648, section 4).
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    text.len().is_multiple_of(4) && padding <= 2 && digits.bytes().all(digit)
}

/// Largest string (devices/attributes); Losant documents no limit for a blob.
const STRING_BYTES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integral_float_is_an_integer() {
        assert_eq!(integer(&json!(5)), Some(5));
        assert_eq!(integer(&json!(5.0)), Some(5));
        assert_eq!(integer(&json!(5.5)), None);
        assert_eq!(integer(&json!("5")), None);
    }

    #[test]
    fn matching_value_is_unchanged() {
        for (value, data_type) in [
            (json!(1), DataType::Number),
            (json!(-1.5), DataType::Number),
            (json!(true), DataType::Boolean),
            (json!(""), DataType::String),
            (json!("52.52,13.4"), DataType::Gps),
            (json!("aGk="), DataType::Blob),
        ] {
            assert_eq!(check(&value, data_type), TypeCheck::Match(value), "{data_type:?}");
        }
    }

    #[test]
    fn position_becomes_decimal_degrees() {
        let sentence = json!("$GPGLL,4916.45,N,12311.12,W,225444,A*31");
        assert_eq!(
            check(&sentence, DataType::Gps),
            TypeCheck::Match(json!("49.2741667,-123.1853333"))
        );
    }

    #[test]
    fn converts_values_of_another_type() {
        for (value, data_type, converted) in [
            (json!(" 21.5 "), DataType::Number, json!(21.5)),
            (json!("7"), DataType::Number, json!(7)),
            (json!(true), DataType::Number, json!(1)),
            (json!(0), DataType::Boolean, json!(false)),
            (json!("TRUE"), DataType::Boolean, json!(true)),
            (json!(1.5), DataType::String, json!("1.5")),
            (json!(false), DataType::String, json!("false")),
        ] {
            assert_eq!(check(&value, data_type), TypeCheck::Convertible(converted), "{value}");
        }
    }

    #[test]
    fn reports_unconvertible_values_as_mismatch() {
        for (value, data_type) in [
            (json!("wet"), DataType::Number),
            (json!("inf"), DataType::Number),
            (json!("maybe"), DataType::Boolean),
            (json!("x".repeat(STRING_BYTES_MAX + 1)), DataType::String),
            (json!("nowhere"), DataType::Gps),
            (json!(52.52), DataType::Gps),
            (json!("a"), DataType::Blob),
            (json!("a==="), DataType::Blob),
        ] {
            assert_eq!(check(&value, data_type), TypeCheck::Mismatch, "{data_type:?}");
        }
    }
}
