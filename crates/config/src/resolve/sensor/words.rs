//! How a sensor and its mappings read words: declared types and the notation of numbers.

use crate::check::{Check, choice};
use crate::raw;
use tidegate_ingest::word::{WordRules, WordType};

/// The declared types, and none.
const TYPES: [(&str, WordType); 4] = [
    ("number", WordType::Number),
    ("text", WordType::Text),
    ("hex", WordType::Hex),
    ("boolean", WordType::Boolean),
];

/// The parts of a word that are its number.
const NUMBERS: [(&str, bool); 2] = [("whole", false), ("leading", true)];

/// Resolves `type` and `number` of the mapping at `key`.
pub(super) fn rules(key: &str, raw: &raw::Mapping, check: &mut Check<'_>) -> Option<WordRules> {
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
    let is_from_channel = raw.channel.is_some() || raw.expression.is_none();
    for (name, is_given) in [("type", raw.r#type.is_some()), ("number", raw.number.is_some())] {
        if is_given && !is_from_channel {
            let fix = "remove it; use the filters hex_number, int and float in the expression";
            check.problems.add(format!("{key}.{name}"), "is for a channel", fix);
        }
    }
    Some(WordRules { word_type, is_leading, ..WordRules::default() })
}
