//! What one value becomes, whatever came before it: named values, units, scale, limits.

use std::collections::BTreeMap;

use super::{Rejection, reject_value};
use crate::unit;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Reason, Value};

/// How a value of a channel becomes one of an attribute. The steps are taken in the order of these fields.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// What each value means, by its text; with none, all stay what they are.
    pub values: BTreeMap<String, Value>,
    /// From one unit to another.
    pub unit: Option<unit::Conversion>,
    /// A factor for numbers; 1 with an offset of 0 leaves any value as it is.
    pub scale: f64,
    /// What is added after scaling.
    pub offset: f64,
    /// Numbers below the first or above the second are rejected.
    pub accepted: (Option<f64>, Option<f64>),
    /// Numbers below the first or above the second become these.
    pub clamp: (Option<f64>, Option<f64>),
}

/// The longest unit that may stand behind a number, in bytes: more is a sentence.
const UNIT_BYTES_MAX: usize = 8;

/// Leaves every value as it is.
impl Default for Conversion {
    fn default() -> Self {
        Self {
            values: BTreeMap::new(),
            unit: None,
            scale: 1.0,
            offset: 0.0,
            accepted: (None, None),
            clamp: (None, None),
        }
    }
}

impl Conversion {
    /// Converts one value, which was written as `word` if it does not show that itself.
    pub(super) fn apply(
        &self,
        value: Result<Value, Rejection>,
        word: Option<&str>,
    ) -> Result<Value, Rejection> {
        let value = self.name(value, word)?;
        if !self.wants_number() {
            return Ok(value);
        }
        let value = numeric(value);
        let mut number = number(&value).ok_or_else(|| {
            let why = "only a number can be converted or limited; map a number, or name its values";
            (Reason::Malformed, why.to_owned())
        })?;
        let is_exact = self.unit.is_none() && self.is_unscaled();
        if let Some(unit) = self.unit {
            number = unit.apply(number);
        }
        if !self.is_unscaled() {
            number = self.multiply(number) + self.offset;
        }
        let converted = Value::float(number).map_err(reject_value)?;
        let (min, max) = self.accepted;
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            return Err((Reason::OutOfRange, format!("{number} is out of the accepted range")));
        }
        let (min, max) = self.clamp;
        let clamped = max.map_or(number, |max| number.min(max));
        let clamped = min.map_or(clamped, |min| clamped.max(min));
        match clamped.total_cmp(&number) {
            std::cmp::Ordering::Equal if is_exact => Ok(value),
            std::cmp::Ordering::Equal => Ok(converted),
            std::cmp::Ordering::Less | std::cmp::Ordering::Greater => Ok(Value::Float(clamped)),
        }
    }

    /// Whether what comes out is a number, whatever goes in.
    pub(super) fn wants_number(&self) -> bool {
        let limits = [self.accepted.0, self.accepted.1, self.clamp.0, self.clamp.1];
        self.unit.is_some() || !self.is_unscaled() || limits.iter().any(Option::is_some)
    }

    /// The name of a value: by the word that stood there, `01`, and else by what it means, `1`.
    fn name(
        &self,
        value: Result<Value, Rejection>,
        word: Option<&str>,
    ) -> Result<Value, Rejection> {
        if let Some(named) = word.and_then(|word| self.values.get(word)) {
            return Ok(named.clone());
        }
        let value = value?;
        if self.values.is_empty() {
            return Ok(value);
        }
        let text = text(&value);
        self.values.get(&text).cloned().ok_or_else(|| {
            let text = excerpt(word.unwrap_or(&text).as_bytes());
            (
                Reason::UnknownValue,
                format!("\"{text}\" is none of the values that the mapping names"),
            )
        })
    }

    #[expect(clippy::float_cmp, reason = "exactly the defaults leave a value as it is")]
    fn is_unscaled(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// Divides by 10 where it should multiply by 0.1, which is no binary fraction: 3 becomes 0.3, not 0.30000000000000004.
    fn multiply(&self, number: f64) -> f64 {
        let divisor = self.scale.recip();
        if divisor.abs() > 1.0 && divisor.fract() == 0.0 {
            number / divisor
        } else {
            number * self.scale
        }
    }
}

/// The value as a number, if it is one.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "a computed value is a float")]
        Value::Integer(integer) => Some(*integer as f64),
        Value::Float(number) => Some(*number),
        Value::Boolean(_) | Value::Text(_) => None,
    }
}

/// The number that a text is: JSON often has numbers between quotes, and instruments print units behind theirs, as in `24.0°C`
/// and `55 %`. Any other value is what it was.
pub(super) fn numeric(value: Value) -> Value {
    let number = if let Value::Text(text) = &value { leading_number(text.trim()) } else { None };
    number.unwrap_or(value)
}

fn leading_number(text: &str) -> Option<Value> {
    let is_of_number = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '-' | '+');
    let unit_at = text.find(|letter| !is_of_number(letter)).unwrap_or(text.len());
    let (before, unit) = text.split_at(unit_at);
    let is_digit = |letter: char| letter.is_ascii_digit();
    let is_unit = unit.len() <= UNIT_BYTES_MAX && !unit.contains(is_digit);
    let words = [Some(text), is_unit.then_some(before)].into_iter().flatten();
    let mut values = words.filter_map(|word| Value::parse_word(word).ok());
    values.find(|value| matches!(value, Value::Integer(_) | Value::Float(_)))
}

/// The value as a person would write it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Integer(integer) => integer.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Text(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Unit;

    fn reason(conversion: &Conversion, value: Value) -> Reason {
        conversion.apply(Ok(value), None).unwrap_err().0
    }

    #[test]
    fn only_scaled_numbers_change() {
        let scaled = |scale, offset, value| {
            Conversion { scale, offset, ..Conversion::default() }
                .apply(Ok(value), None)
                .map_err(|(reason, _)| reason)
        };
        let exact = Value::Integer(9_007_199_254_740_993);
        assert_eq!(scaled(1.0, 0.0, exact.clone()), Ok(exact));
        assert_eq!(scaled(0.1, 0.0, Value::Integer(3)), Ok(Value::Float(0.3)));
        assert_eq!(scaled(1.8, 32.0, Value::Integer(100)), Ok(Value::Float(212.0)));
        assert_eq!(scaled(1.0, -5.0, Value::Integer(2)), Ok(Value::Float(-3.0)));
        assert_eq!(scaled(1e300, 0.0, Value::Float(1e300)), Err(Reason::NotFinite));
        assert_eq!(scaled(0.1, 0.0, Value::Boolean(true)), Err(Reason::Malformed));
    }

    #[test]
    fn named_values_are_translated_and_others_are_told() {
        let values = [("1", Value::Text("open".to_owned())), ("false", Value::Integer(0))];
        let values = values.map(|(text, value)| (text.to_owned(), value)).into();
        let conversion = Conversion { values, ..Conversion::default() };
        assert_eq!(
            conversion.apply(Ok(Value::Integer(1)), None),
            Ok(Value::Text("open".to_owned()))
        );
        assert_eq!(conversion.apply(Ok(Value::Boolean(false)), None), Ok(Value::Integer(0)));
        assert_eq!(reason(&conversion, Value::Integer(2)), Reason::UnknownValue);
    }

    #[test]
    fn units_come_before_scale_and_limits_after_it() {
        let named = |name| Unit::named(name).unwrap();
        let conversion = Conversion {
            unit: unit::Conversion::between(named("°F"), named("°C")),
            scale: 2.0,
            accepted: (Some(0.0), Some(200.0)),
            clamp: (Some(10.0), Some(150.0)),
            ..Conversion::default()
        };
        assert_eq!(conversion.apply(Ok(Value::Integer(122)), None), Ok(Value::Float(100.0)));
        assert_eq!(conversion.apply(Ok(Value::Integer(212)), None), Ok(Value::Float(150.0)));
        assert_eq!(conversion.apply(Ok(Value::Integer(32)), None), Ok(Value::Float(10.0)));
        assert_eq!(reason(&conversion, Value::Integer(31)), Reason::OutOfRange);
        assert_eq!(reason(&conversion, Value::Integer(213)), Reason::OutOfRange);
        assert_eq!(reason(&conversion, Value::Text("x".to_owned())), Reason::Malformed);
    }

    #[test]
    fn a_number_between_quotes_is_converted_too() {
        let text = |text: &str| Ok(Value::Text(text.to_owned()));
        let conversion = Conversion { scale: 0.1, ..Conversion::default() };
        assert_eq!(conversion.apply(text(" 215 "), None), Ok(Value::Float(21.5)));
        let conversion = Conversion { accepted: (Some(0.0), None), ..Conversion::default() };
        assert_eq!(conversion.apply(text("7"), None), Ok(Value::Integer(7)));
        for number in ["7 kg", "7%", "7.0°C", "+7 m³/h"] {
            let read = conversion.apply(text(number), None).unwrap();
            assert_eq!(super::number(&read), Some(7.0), "{number}");
        }
        for word in
            ["", "nan", "true", "kg", "7:30", "2026-05-01", "1.2.3", "7,5 kg", "7 kilograms", "- V"]
        {
            assert_eq!(conversion.apply(text(word), None).unwrap_err().0, Reason::Malformed);
        }
        assert_eq!(Conversion::default().apply(text("7"), None), text("7"));
    }

    #[test]
    fn a_limit_leaves_an_exact_number_exact() {
        let conversion = Conversion { accepted: (Some(0.0), None), ..Conversion::default() };
        assert_eq!(conversion.apply(Ok(Value::Integer(7)), None), Ok(Value::Integer(7)));
    }
}
