//! How a sensor and its mappings read words: declared types and the notation of numbers.

use crate::check::{Check, choice};
use crate::field::{Field, Scalar};
use crate::raw;
use tidegate_ingest::text_encoding::TextEncoding;
use tidegate_ingest::word::{NoneValues, NumberStyle, WordRules, WordType};

/// The declared types, and none.
const TYPES: [(&str, WordType); 4] = [
    ("number", WordType::Number),
    ("text", WordType::Text),
    ("hex", WordType::Hex),
    ("boolean", WordType::Boolean),
];

/// The decimal signs.
const DECIMALS: [(&str, char); 2] = [(".", '.'), (",", ',')];

/// The separators of groups of three digits.
const THOUSANDS: [(&str, Option<char>); 5] =
    [("", None), (",", Some(',')), (".", Some('.')), (" ", Some(' ')), ("'", Some('\''))];

/// The parts of a word that are its number.
const NUMBERS: [(&str, bool); 2] = [("whole", false), ("leading", true)];

/// Resolves `decimal` and `thousands` of the sensor at `key`.
pub(super) fn numbers(key: &str, raw: &raw::Sensor, check: &mut Check<'_>) -> Option<NumberStyle> {
    let decimal_key = format!("{key}.decimal");
    let has_thousands = raw.thousands.is_some();
    let decimal = choice(&decimal_key, raw.decimal.clone(), check, &DECIMALS);
    let thousands = choice(&format!("{key}.thousands"), raw.thousands.clone(), check, &THOUSANDS);
    let numbers = NumberStyle { decimal: decimal?, thousands: thousands? };
    if has_thousands && numbers.thousands == Some(numbers.decimal) {
        let fix = "set decimal = \",\" for 1.234,5, or thousands = \",\" for 1,234.5";
        check.problems.add(format!("{key}.thousands"), "is the decimal sign, too", fix);
        return None;
    }
    Some(numbers)
}

/// Resolves `encoding` of the sensor at `key`.
pub(super) fn encoding(
    key: &str,
    raw: Option<&Field<String>>,
    check: &mut Check<'_>,
) -> Option<TextEncoding> {
    let name = &raw?.0;
    let encoding = TextEncoding::named(name);
    if encoding.is_none() {
        let what = format!("there is no encoding \"{name}\"");
        let fix = "use \"utf-8\", \"latin-1\", \"windows-1251\", \"utf-16\", \"shift_jis\", …";
        check.problems.add(format!("{key}.encoding"), what, fix);
    }
    encoding
}

/// Returns the words and numbers that stand for no value.
pub(super) fn none_values(raw: Option<&Vec<Field<Scalar>>>) -> NoneValues {
    let mut none_values = NoneValues::default();
    for Field(value) in raw.into_iter().flatten() {
        match value {
            #[expect(clippy::cast_precision_loss, reason = "a sentinel is a small number")]
            Scalar::Integer(integer) => none_values.numbers.push(*integer as f64),
            Scalar::Float(number) => none_values.numbers.push(*number),
            Scalar::Boolean(boolean) => none_values.words.push(boolean.to_string()),
            Scalar::Text(text) => none_values.words.push(text.trim().to_owned()),
        }
    }
    none_values
}

/// Resolves `type`, `number` and `none_values` of the mapping at `key`.
pub(super) fn rules(
    key: &str,
    raw: &raw::Mapping,
    numbers: NumberStyle,
    check: &mut Check<'_>,
) -> Option<WordRules> {
    if raw.channel.is_none() && raw.expression.is_some() {
        report_for_channels(key, raw, check);
        return Some(WordRules { numbers, ..WordRules::default() });
    }
    let type_key = format!("{key}.type");
    let words: Vec<_> = TYPES.iter().map(|(word, _)| (*word).to_owned()).collect();
    check.options.entry(&type_key).choices.clone_from(&words);
    let mut word_type = None;
    if let Some(word) = &raw.r#type {
        let found = TYPES.iter().find(|(name, _)| *name == word.0);
        if found.is_none() {
            check.unknown_word(&type_key, &word.0, &words);
        }
        word_type = Some(found?.1);
    }
    let number_key = format!("{key}.number");
    let is_leading = choice(&number_key, raw.number.clone(), check, &NUMBERS)?;
    if is_leading && word_type.is_some_and(|word_type| word_type != WordType::Number) {
        let fix = "remove it, or set type = \"number\"";
        check.problems.add(&number_key, "is for type = \"number\"", fix);
    }
    if is_leading {
        word_type = word_type.or(Some(WordType::Number));
    }
    let none_values = none_values(raw.none_values.as_ref());
    Some(WordRules { word_type, is_leading, numbers, none_values })
}

/// Reports the options of a mapping that an expression does not have.
fn report_for_channels(key: &str, raw: &raw::Mapping, check: &mut Check<'_>) {
    let filters = "remove it; use the filters hex_number, int and float in the expression";
    let given = [
        ("type", raw.r#type.is_some(), filters),
        ("number", raw.number.is_some(), filters),
        ("none_values", raw.none_values.is_some(), "remove it, or set none_values of the sensor"),
    ];
    for (name, _, fix) in given.into_iter().filter(|(_, is_given, _)| *is_given) {
        check.problems.add(format!("{key}.{name}"), "is for a channel", fix);
    }
}
