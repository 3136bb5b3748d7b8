//! Converts values to the types that devices declare in Losant, before and after the filters.

use super::conversion::numeric;
use crate::word::NumberStyle;
use tidegate_model::{AttributeName, AttributeType, DeclaredAttributes, Misfit, Value, fit_value};

/// Converts a value towards the type that its device declares, as far as filters need it: a number
/// for a declared string stays a number here.
///
/// # Errors
/// If Losant would ignore the value.
pub(super) fn fit(
    declared: Option<&DeclaredAttributes>,
    attribute: &AttributeName,
    value: Value,
    numbers: NumberStyle,
) -> Result<Value, Misfit> {
    let Some(declared) = declared else { return Ok(value) };
    match declared.get(attribute) {
        Some(AttributeType::Text) => Ok(value),
        Some(AttributeType::Number) => {
            fit_value(declared, attribute, numeric(value, numbers), None)
        }
        Some(_) | None => fit_value(declared, attribute, value, None),
    }
}

/// Writes a value as text if its device declares the attribute as a string.
///
/// `original` is the text of the value in the message, if the mapping did not change the value.
pub(super) fn fit_text(
    declared: Option<&DeclaredAttributes>,
    attribute: &AttributeName,
    value: Value,
    original: Option<&String>,
) -> Value {
    match declared.and_then(|declared| declared.get(attribute)) {
        Some(kind @ AttributeType::Text) => {
            kind.fit(value, original.map(String::as_str)).unwrap_or_else(|value| value)
        }
        Some(_) | None => value,
    }
}
