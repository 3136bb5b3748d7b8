//! Checks a queued state against the attributes that its device declares.
//!
//! The pipeline checks new values. A state that was queued before the attributes were known, or
//! before they changed, is checked when it is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::element;
use tidegate_model::{AttributeName, DeclaredAttributes, Misfit, Value, fit_value};

/// A state that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedState {
    /// The state without the values that do not fit; `None` if no value is left.
    pub json: Option<Bytes>,
    /// The values that Losant would ignore.
    pub misfits: Vec<Misfit>,
}

/// A state with its values by attribute. Unchanged values keep their texts.
type Element<'a> = element::Element<'a, BTreeMap<AttributeName, Box<RawValue>>>;

/// Removes the values that Losant would ignore from a state, and converts those that can be
/// converted. A state whose values all fit keeps its bytes.
pub fn fit_state(json: &Bytes, declared: &DeclaredAttributes) -> FittedState {
    let unchanged = || FittedState { json: Some(json.clone()), misfits: Vec::new() };
    // The daemon wrote the state itself. If it cannot be read, Losant's answer decides.
    let Ok(mut element) = serde_json::from_slice::<Element<'_>>(json) else { return unchanged() };
    let (mut misfits, mut has_changed) = (Vec::new(), false);
    element.data = std::mem::take(&mut element.data)
        .into_iter()
        .filter_map(|(attribute, raw)| match fit_raw(declared, &attribute, &raw) {
            Ok(None) => Some((attribute, raw)),
            Ok(Some(fitted)) => {
                has_changed = true;
                Some((attribute, fitted))
            }
            Err(misfit) => {
                misfits.push(misfit);
                None
            }
        })
        .collect();
    if misfits.is_empty() && !has_changed {
        return unchanged();
    }
    let json = serde_json::to_vec(&element).ok().filter(|_| !element.data.is_empty());
    FittedState { json: json.map(Bytes::from), misfits }
}

/// Returns the converted value; `None` if it fits as it is.
fn fit_raw(
    declared: &DeclaredAttributes,
    attribute: &AttributeName,
    raw: &RawValue,
) -> Result<Option<Box<RawValue>>, Misfit> {
    let parsed = serde_json::from_str::<serde_json::Value>(raw.get()).ok();
    let Some(value) = parsed.and_then(|json| Value::try_from(&json).ok()) else { return Ok(None) };
    let fitted = fit_value(declared, attribute, value.clone(), Some(raw.get()))?;
    if fitted == value {
        return Ok(None);
    }
    Ok(serde_json::value::to_raw_value(&fitted).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::{AttributeType, Reason};

    fn declared() -> DeclaredAttributes {
        let attributes = [("t", AttributeType::Number), ("word", AttributeType::Text)];
        attributes.map(|(name, kind)| (name.parse().unwrap(), kind)).into()
    }

    fn fitted(json: &'static str) -> (Option<String>, Vec<Reason>) {
        let fitted = fit_state(&Bytes::from_static(json.as_bytes()), &declared());
        let json = fitted.json.map(|json| String::from_utf8_lossy(&json).into_owned());
        (json, fitted.misfits.iter().map(Misfit::reason).collect())
    }

    #[test]
    fn keeps_the_bytes_of_a_state_that_fits() {
        let json = r#"{"time":"x", "data":{"t":1.50,"word":"on"},"meta":{"downsampled":3}}"#;
        assert_eq!(fitted(json), (Some(json.to_owned()), vec![]));
    }

    #[test]
    fn removes_what_losant_would_ignore() {
        let json = r#"{"time":"x","data":{"h":1,"t":"ERR","word":"on"}}"#;
        let rest = r#"{"time":"x","data":{"word":"on"}}"#.to_owned();
        assert_eq!(fitted(json), (Some(rest), vec![Reason::Undeclared, Reason::WrongType]));
        let json = r#"{"time":"x","data":{"h":1}}"#;
        assert_eq!(fitted(json), (None, vec![Reason::Undeclared]));
    }

    #[test]
    fn converts_numbers_and_texts_and_keeps_their_digits() {
        let json = r#"{"time":"x","data":{"t":"21.50","word":7.10}}"#;
        let converted = r#"{"time":"x","data":{"t":21.5,"word":"7.10"}}"#.to_owned();
        assert_eq!(fitted(json), (Some(converted), vec![]));
    }
}
