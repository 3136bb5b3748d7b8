//! Whether a reported value is of its attribute's type, and what it is converted to if not.
//!
//! Types are those of devices/attributes. That values of another type are converted was documented
//! in 2019 (devices/state), without a table; the table here is the sandbox's own.

use serde_json::{Value, json};

use crate::gps::{self, Parsed};
use crate::world::DataType;

/// How a value stands to a type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fit {
    /// It is of the type; this is stored.
    Exact(Value),
    /// It is of another type; this is what can be made of it.
    Convertible(Value),
    /// Nothing of the type can be made of it.
    Misfit,
}

pub(crate) fn fit(value: &Value, data_type: DataType) -> Fit {
    match data_type {
        DataType::Number => number(value),
        DataType::Boolean => boolean(value),
        DataType::String => string(value),
        DataType::Gps => position(value),
        DataType::Blob => blob(value),
    }
}

fn number(value: &Value) -> Fit {
    if value.is_number() {
        return Fit::Exact(value.clone());
    }
    let converted = value.as_bool().map(|value| json!(u8::from(value)));
    let converted = converted.or_else(|| {
        let text = value.as_str()?.trim();
        let whole = text.parse::<i64>().ok().map(|number| json!(number));
        whole.or_else(|| Some(json!(text.parse::<f64>().ok().filter(|n| n.is_finite())?)))
    });
    converted.map_or(Fit::Misfit, Fit::Convertible)
}

fn boolean(value: &Value) -> Fit {
    if value.is_boolean() {
        return Fit::Exact(value.clone());
    }
    let converted = value.as_f64().map(|number| number != 0.0).or_else(|| {
        match value.as_str()?.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    });
    converted.map_or(Fit::Misfit, |value| Fit::Convertible(json!(value)))
}

fn string(value: &Value) -> Fit {
    match value {
        Value::String(text) if text.len() <= STRING_BYTES_MAX => Fit::Exact(value.clone()),
        Value::Number(_) | Value::Bool(_) => Fit::Convertible(json!(value.to_string())),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => Fit::Misfit,
    }
}

/// All forms of a position are of the type; another than decimal degrees is stored as these.
fn position(value: &Value) -> Fit {
    match value.as_str().and_then(gps::parse) {
        Some(Parsed::Decimal(_)) => Fit::Exact(value.clone()),
        Some(Parsed::Other(position)) => Fit::Exact(json!(position.to_text())),
        None => Fit::Misfit,
    }
}

fn blob(value: &Value) -> Fit {
    if value.as_str().is_some_and(is_base64) { Fit::Exact(value.clone()) } else { Fit::Misfit }
}

/// The standard alphabet, padded (RFC 4648, section 4).
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    text.len().is_multiple_of(4) && padding <= 2 && digits.bytes().all(digit)
}

/// Devices/attributes: a string holds up to 64 KiB. For a blob no limit is documented.
const STRING_BYTES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_its_type_is_stored_as_it_is() {
        for (value, data_type) in [
            (json!(1), DataType::Number),
            (json!(-1.5), DataType::Number),
            (json!(true), DataType::Boolean),
            (json!(""), DataType::String),
            (json!("52.52,13.4"), DataType::Gps),
            (json!("aGk="), DataType::Blob),
        ] {
            assert_eq!(fit(&value, data_type), Fit::Exact(value), "{data_type:?}");
        }
    }

    #[test]
    fn a_position_in_another_form_is_stored_in_decimal_degrees() {
        let sentence = json!("$GPGLL,4916.45,N,12311.12,W,225444,A*31");
        assert_eq!(fit(&sentence, DataType::Gps), Fit::Exact(json!("49.2741667,-123.1853333")));
    }

    #[test]
    fn a_value_of_another_type_is_converted_if_it_can_be() {
        for (value, data_type, converted) in [
            (json!(" 21.5 "), DataType::Number, json!(21.5)),
            (json!("7"), DataType::Number, json!(7)),
            (json!(true), DataType::Number, json!(1)),
            (json!(0), DataType::Boolean, json!(false)),
            (json!("TRUE"), DataType::Boolean, json!(true)),
            (json!(1.5), DataType::String, json!("1.5")),
            (json!(false), DataType::String, json!("false")),
        ] {
            assert_eq!(fit(&value, data_type), Fit::Convertible(converted), "{value}");
        }
    }

    #[test]
    fn a_value_that_means_nothing_in_the_type_is_a_misfit() {
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
            assert_eq!(fit(&value, data_type), Fit::Misfit, "{data_type:?}");
        }
    }
}
