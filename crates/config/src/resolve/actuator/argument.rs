//! The arguments of a command: the tables `[actuator.….argument.…]`.

use std::collections::BTreeMap;

use crate::check::{Check, choice};
use crate::key::join;
use crate::raw;
use tidegate_commands::arguments::{Argument, ArgumentKind, Arguments};

/// The range of the length of a text in characters.
const LENGTH_RANGE: std::ops::RangeInclusive<i64> = 1..=65_536;

/// The default.
const LENGTH_DEFAULT: i64 = 255;

#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Number,
    Integer,
    Text,
}

const KINDS: [(&str, Kind); 4] = [
    ("text", Kind::Text),
    ("number", Kind::Number),
    ("integer", Kind::Integer),
    ("boolean", Kind::Boolean),
];

pub(super) fn arguments(
    key: &str,
    raw: BTreeMap<String, raw::Argument>,
    check: &mut Check<'_>,
) -> Arguments {
    let arguments = raw.into_iter().filter_map(|(name, raw)| {
        let argument = argument(&join(&format!("{key}.argument"), &name), raw, check)?;
        Some((name, argument))
    });
    Arguments::new(arguments.collect())
}

fn argument(key: &str, raw: raw::Argument, check: &mut Check<'_>) -> Option<Argument> {
    let kind_key = format!("{key}.kind");
    let kind = if raw.choices.is_some() && raw.kind.is_none() {
        Kind::Text
    } else {
        let fix = "use \"boolean\", \"number\", \"integer\" or \"text\"";
        let word = check.required(&kind_key, raw.kind, fix)?;
        choice(&kind_key, Some(crate::field::Field(word)), check, &KINDS)?
    };
    let is_number = matches!(kind, Kind::Number | Kind::Integer);
    let is_text = matches!(kind, Kind::Text);
    let given = [
        ("min", raw.min.is_some(), is_number),
        ("max", raw.max.is_some(), is_number),
        ("length_max", raw.length_max.is_some(), is_text && raw.choices.is_none()),
        ("choices", raw.choices.is_some(), is_text),
    ];
    for (name, _, _) in given.iter().filter(|(_, is_given, is_fit)| *is_given && !is_fit) {
        check.problems.add(
            format!("{key}.{name}"),
            "is not for this kind of argument",
            "remove it",
        );
    }
    let has_length = is_text && raw.choices.is_none();
    let length_max = if has_length {
        let key = format!("{key}.length_max");
        check.integer(&key, raw.length_max, LENGTH_DEFAULT, &LENGTH_RANGE)
    } else {
        LENGTH_DEFAULT
    };
    let (minimum, maximum) =
        (raw.min.map_or(f64::MIN, |field| field.0), raw.max.map_or(f64::MAX, |field| field.0));
    if minimum > maximum {
        check.problems.add(format!("{key}.min"), "is above max", "swap min and max");
    }
    let kind = match (kind, raw.choices) {
        (Kind::Boolean, _) => ArgumentKind::Boolean,
        (Kind::Number, _) => ArgumentKind::Number { minimum, maximum, is_integer: false },
        (Kind::Integer, _) => ArgumentKind::Number { minimum, maximum, is_integer: true },
        (Kind::Text, Some(choices)) => {
            ArgumentKind::Choice(choices.into_iter().map(|field| field.0).collect())
        }
        (Kind::Text, None) => {
            ArgumentKind::Text { length_max: usize::try_from(length_max).unwrap_or_default() }
        }
    };
    Some(Argument { kind, is_optional: raw.optional.is_some_and(|field| field.0) })
}
