//! The conversion of one value: named values, units, scale and limits.

use std::collections::BTreeMap;

use super::rejection::Rejection;
use crate::unit;
use crate::word::{NumberStyle, WordRules, WordType};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Reason, Value};

/// The conversion of a channel's value to an attribute's value, in the order of these fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    /// The type of the channel's word, its notation of numbers, and the words for no value.
    pub words: WordRules,
    /// The values that replace others. The key is the text of a value. Without entries, all values
    /// stay as they are.
    pub values: BTreeMap<String, Value>,
    /// The factor for numbers. A factor of 1 and an offset of 0 change no value.
    pub scale: f64,
    /// The number to add after scaling.
    pub offset: f64,
    /// The conversion to another unit.
    pub unit: Option<unit::UnitConversion>,
    /// Numbers outside of this range are rejected.
    pub accepted: Range,
    /// Numbers outside of this range become the nearest limit.
    pub clamp: Range,
}

/// A range of numbers. A limit that is `None` is infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Range {
    /// The lower limit.
    pub min: Option<f64>,
    /// The upper limit.
    pub max: Option<f64>,
}

/// Returns a conversion that changes no value.
impl Default for Conversion {
    fn default() -> Self {
        Self {
            words: WordRules::default(),
            values: BTreeMap::new(),
            scale: 1.0,
            offset: 0.0,
            unit: None,
            accepted: Range::default(),
            clamp: Range::default(),
        }
    }
}

impl Conversion {
    /// Converts a value. `original` is its text in the message, if it differs from the value.
    pub(super) fn apply(
        &self,
        value: Result<Value, Rejection>,
        original: Option<&str>,
    ) -> Result<Value, Rejection> {
        let value = self.replace(value, original)?;
        if !self.needs_number() {
            return Ok(value);
        }
        let value = numeric(value, self.words.numbers);
        let mut number = number(&value).ok_or_else(|| {
            let detail = "only numbers can be converted or limited; map a number, or set values, \
                          type or number";
            Rejection::new(Reason::Malformed, detail)
        })?;
        let is_exact = self.unit.is_none() && self.is_unscaled();
        if !self.is_unscaled() {
            number = self.multiply(number) + self.offset;
        }
        if let Some(unit) = self.unit {
            number = unit.apply(number);
        }
        let converted = Value::float(number)?;
        if !self.accepted.contains(number) {
            let detail = format!("{number} is outside of the accepted range");
            return Err(Rejection::new(Reason::OutOfRange, detail));
        }
        let clamped = self.clamp.clamp(number);
        match clamped.total_cmp(&number) {
            std::cmp::Ordering::Equal if is_exact => Ok(value),
            std::cmp::Ordering::Equal => Ok(converted),
            std::cmp::Ordering::Less | std::cmp::Ordering::Greater => Ok(Value::Float(clamped)),
        }
    }

    /// Returns whether a value keeps its meaning, so that its original text may stand for it.
    pub(super) fn is_identity(&self) -> bool {
        let keeps_word = match self.words.word_type {
            None | Some(WordType::Text) => true,
            Some(WordType::Number) => !self.words.is_leading,
            Some(WordType::Hex | WordType::Boolean) => false,
        };
        keeps_word && self.values.is_empty() && !self.needs_number()
    }

    /// Returns the distance of two converted numbers that are `width` apart.
    pub fn width(&self, width: f64) -> f64 {
        let at = |number| {
            let scaled = self.multiply(number);
            self.unit.map_or(scaled, |unit| unit.apply(scaled))
        };
        (at(width) - at(0.0)).abs()
    }

    /// Returns whether the result is always a number.
    pub(super) fn needs_number(&self) -> bool {
        let is_limited = [self.accepted, self.clamp].iter().any(|range| *range != Range::default());
        self.unit.is_some() || !self.is_unscaled() || is_limited
    }

    /// Replaces a value: by its original text, such as `01`, or else by its own text, `1`.
    fn replace(
        &self,
        value: Result<Value, Rejection>,
        original: Option<&str>,
    ) -> Result<Value, Rejection> {
        if let Some(value) = original.and_then(|original| self.values.get(original)) {
            return Ok(value.clone());
        }
        let value = value?;
        if self.values.is_empty() {
            return Ok(value);
        }
        let text = text(&value);
        self.values.get(&text).cloned().ok_or_else(|| {
            let text = excerpt(original.unwrap_or(&text).as_bytes());
            let detail = format!("\"{text}\" is not in the values of the mapping");
            Rejection::new(Reason::UnknownValue, detail)
        })
    }

    #[expect(clippy::float_cmp, reason = "only the exact defaults change no value")]
    fn is_unscaled(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// Multiplies by the scale. For a scale such as 0.1, which is not exact in binary, divides by
    /// 10: 3 becomes 0.3, not 0.30000000000000004.
    fn multiply(&self, number: f64) -> f64 {
        let divisor = self.scale.recip();
        if divisor.abs() > 1.0 && divisor.fract() == 0.0 {
            number / divisor
        } else {
            number * self.scale
        }
    }
}

impl Range {
    fn contains(self, number: f64) -> bool {
        self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
    }

    fn clamp(self, number: f64) -> f64 {
        let clamped = self.max.map_or(number, |max| number.min(max));
        self.min.map_or(clamped, |min| clamped.max(min))
    }
}

/// Returns the value as a number; `None` for a boolean or a text.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "computations use floats")]
        Value::Integer(integer) => Some(*integer as f64),
        Value::Float(number) => Some(*number),
        Value::Boolean(_) | Value::Text(_) => None,
    }
}

/// Converts a text to a number, if it is one. Other values stay as they are.
///
/// JSON often has numbers in quotes, and instruments print units, as in `24.0°C` and `55 %`.
pub(super) fn numeric(value: Value, numbers: NumberStyle) -> Value {
    let number =
        if let Value::Text(text) = &value { numbers.number_with_unit(text.trim()) } else { None };
    number.unwrap_or(value)
}

/// Returns the text of a value.
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
        conversion.apply(Ok(value), None).unwrap_err().reason
    }

    #[test]
    fn only_scaled_numbers_change() {
        let scaled = |scale, offset, value| {
            Conversion { scale, offset, ..Conversion::default() }
                .apply(Ok(value), None)
                .map_err(|rejection| rejection.reason)
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
    fn replaces_named_values_and_rejects_others() {
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

    /// Instruments send tenths of a degree Fahrenheit, for example.
    #[test]
    fn scale_precedes_unit_and_limits_follow() {
        let named = |name| Unit::named(name).unwrap();
        let conversion = Conversion {
            scale: 0.1,
            unit: unit::UnitConversion::between(named("°F"), named("°C")),
            accepted: Range { min: Some(0.0), max: Some(100.0) },
            clamp: Range { min: Some(5.0), max: Some(75.0) },
            ..Conversion::default()
        };
        assert_eq!(conversion.apply(Ok(Value::Integer(1220)), None), Ok(Value::Float(50.0)));
        assert_eq!(conversion.apply(Ok(Value::Integer(2120)), None), Ok(Value::Float(75.0)));
        assert_eq!(conversion.apply(Ok(Value::Integer(320)), None), Ok(Value::Float(5.0)));
        assert_eq!(reason(&conversion, Value::Integer(310)), Reason::OutOfRange);
        assert_eq!(reason(&conversion, Value::Integer(2130)), Reason::OutOfRange);
        assert_eq!(reason(&conversion, Value::Text("x".to_owned())), Reason::Malformed);
    }

    #[test]
    fn converts_numbers_in_texts() {
        let text = |text: &str| Ok(Value::Text(text.to_owned()));
        let conversion = Conversion { scale: 0.1, ..Conversion::default() };
        assert_eq!(conversion.apply(text(" 215 "), None), Ok(Value::Float(21.5)));
        let conversion =
            Conversion { accepted: Range { min: Some(0.0), max: None }, ..Conversion::default() };
        assert_eq!(conversion.apply(text("7"), None), Ok(Value::Integer(7)));
        for number in ["7 kg", "7%", "7.0°C", "+7 m³/h"] {
            let read = conversion.apply(text(number), None).unwrap();
            assert_eq!(super::number(&read), Some(7.0), "{number}");
        }
        for word in
            ["", "nan", "true", "kg", "7:30", "2026-05-01", "1.2.3", "7,5 kg", "7 kilograms", "- V"]
        {
            assert_eq!(conversion.apply(text(word), None).unwrap_err().reason, Reason::Malformed);
        }
        assert_eq!(Conversion::default().apply(text("7"), None), text("7"));
    }

    #[test]
    fn limits_keep_integers_exact() {
        let conversion =
            Conversion { accepted: Range { min: Some(0.0), max: None }, ..Conversion::default() };
        assert_eq!(conversion.apply(Ok(Value::Integer(7)), None), Ok(Value::Integer(7)));
    }
}
