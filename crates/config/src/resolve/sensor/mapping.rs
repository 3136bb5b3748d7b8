//! The mappings of a sensor: the entries of `map`.

mod over_time;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::words;
use crate::check::{Check, template};
use crate::field::{Field, Scalar};
use crate::raw;
use crate::suggest::most_similar_above;
use tidegate_ingest::mapping::{
    Aggregate, AttributeSelector, Conversion, Deadband, FilterSettings, Mapping, Range, Source,
    WindowSettings, WindowStart,
};
use tidegate_ingest::unit::{self, Unit};
use tidegate_ingest::word::NumberStyle;
use tidegate_model::Value;
use tidegate_template::Expression;

/// The range of durations in a mapping.
const SPAN_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(7 * 86_400);

/// The range of decimals: a double has 15.
const DECIMALS_RANGE: RangeInclusive<i64> = 0..=15;

/// The similarity to the name of a unit from which it is suggested, 0 to 1.
const NAME_LIKENESS_MIN: f64 = 0.85;

/// Resolves the entry at `key`.
pub(super) fn mapping(
    key: &str,
    raw: &raw::Mapping,
    numbers: NumberStyle,
    check: &mut Check<'_>,
) -> Option<Mapping> {
    let source = source(key, raw.channel.clone(), raw.expression.clone(), check);
    let attribute_key = format!("{key}.attribute");
    let fix = "name the attribute of the Losant device: attribute = \"…\"";
    let attribute = check.required(&attribute_key, raw.attribute.clone(), fix);
    let attribute = attribute.and_then(|text| attribute_selector(&attribute_key, &text, check));
    let conversion = conversion(key, raw, numbers, check);
    let filter = filter(key, raw, check);
    let derive = over_time::derive(key, raw, conversion.as_ref(), check);
    let (source, attribute) = (source?, attribute?);
    if let (true, AttributeSelector::Fixed(name)) = (source.is_every_channel(), &attribute) {
        let what = format!("\"{name}\" would be the attribute of every channel");
        check.problems.add(
            &attribute_key,
            what,
            "make it of the channel: attribute = \"{{ channel }}\"",
        );
    }
    let filter = FilterSettings { derive: derive?, ..filter? };
    Some(Mapping { source, attribute, conversion: conversion?, filter })
}

fn source(
    key: &str,
    channel: Option<Field<String>>,
    expression: Option<Field<String>>,
    check: &mut Check<'_>,
) -> Option<Source> {
    let channel_key = format!("{key}.channel");
    match (channel, expression) {
        (Some(channel), None) => Some(Source::Channel(channel.0)),
        (None, Some(text)) => {
            let key = format!("{key}.expression");
            let fix = "write an expression over channels: \"voltage * current\"";
            let compiled = Expression::compile(&key, &text.0);
            compiled
                .map_err(|error| check.problems.add(&key, error, fix))
                .ok()
                .map(Source::Expression)
        }
        (Some(_), Some(_)) => {
            let what = "a value comes from a channel or from an expression";
            check.problems.add(channel_key, what, "remove one of them");
            None
        }
        (None, None) => {
            check.problems.add(channel_key, "is missing", "say which channel: channel = \"…\"");
            None
        }
    }
}

pub(super) fn attribute_selector(
    key: &str,
    text: &str,
    check: &mut Check<'_>,
) -> Option<AttributeSelector> {
    let template = template(key, text, check)?;
    if template.is_constant() {
        Some(AttributeSelector::Fixed(check.parsed(key, text)?))
    } else {
        Some(AttributeSelector::ByTemplate(template))
    }
}

fn conversion(
    key: &str,
    raw: &raw::Mapping,
    numbers: NumberStyle,
    check: &mut Check<'_>,
) -> Option<Conversion> {
    let float = |field: &Option<Field<f64>>| field.as_ref().map(|field| field.0);
    let mut ordered = |low: &str, high: &str, (min, max): (Option<f64>, Option<f64>)| {
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            check.problems.add(format!("{key}.{low}"), format!("is above {high}"), "swap them");
        }
        Range { min, max }
    };
    let limits = (float(&raw.valid_min), float(&raw.valid_max));
    let accepted = ordered("valid_min", "valid_max", limits);
    let clamp = ordered("clamp_min", "clamp_max", (float(&raw.clamp_min), float(&raw.clamp_max)));
    let value = |(text, field): (&String, &Field<Scalar>)| {
        let value = match &field.0 {
            Scalar::Integer(integer) => Value::Integer(*integer),
            Scalar::Float(number) => Value::Float(*number),
            Scalar::Boolean(boolean) => Value::Boolean(*boolean),
            Scalar::Text(text) => Value::Text(text.clone()),
        };
        (text.clone(), value)
    };
    let values: BTreeMap<_, _> = raw.values.iter().map(value).collect();
    Some(Conversion {
        words: words::rules(key, raw, numbers, check)?,
        values,
        unit: unit(key, raw.from_unit.as_ref(), raw.to_unit.as_ref(), check)?,
        scale: float(&raw.scale).unwrap_or(1.0),
        offset: float(&raw.offset).unwrap_or(0.0),
        accepted,
        clamp,
    })
}

/// `None` if the units are bad; `Some(None)` if there are none.
#[expect(clippy::option_option, reason = "the outer None is a reported problem")]
fn unit(
    key: &str,
    from: Option<&Field<String>>,
    to: Option<&Field<String>>,
    check: &mut Check<'_>,
) -> Option<Option<unit::UnitConversion>> {
    let mut named = |key: String, name: &str| {
        let unit = Unit::named(name);
        if unit.is_none() {
            let spelled = || {
                let names = Unit::spelled_names().map(|(name, _)| name);
                let likely = most_similar_above(NAME_LIKENESS_MIN, &name.to_lowercase(), names)?;
                Unit::suggest(likely)
            };
            let fix = match Unit::suggest(name).or_else(spelled) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => "use a symbol such as °C, hPa, km/h, kWh or %; docs/sensors.md lists all"
                    .to_owned(),
            };
            check.problems.add(&key, format!("\"{name}\" is not a unit"), fix);
        }
        unit
    };
    let (from, to) = match (from, to) {
        (None, None) => return Some(None),
        (Some(from), Some(to)) => (from, to),
        (Some(_), None) | (None, Some(_)) => {
            let fix = "give both: from_unit = \"°F\", to_unit = \"°C\"";
            check.problems.add(format!("{key}.from_unit"), "needs to_unit, and the reverse", fix);
            return None;
        }
    };
    let units =
        (named(format!("{key}.from_unit"), &from.0), named(format!("{key}.to_unit"), &to.0));
    let (from, to) = (units.0?, units.1?);
    let conversion = unit::UnitConversion::between(from, to);
    if conversion.is_none() {
        let what =
            format!("is a unit of {}, and from_unit is one of {}", to.quantity(), from.quantity());
        check.problems.add(format!("{key}.to_unit"), what, "take two units of one quantity");
    }
    conversion.map(Some)
}

fn filter(key: &str, raw: &raw::Mapping, check: &mut Check<'_>) -> Option<FilterSettings> {
    let mut span = |name: &str, field: &Option<Field<Duration>>| {
        let field = field.clone()?;
        Some(check.duration(&format!("{key}.{name}"), Some(field), &SPAN_RANGE))
    };
    let (stable_for, heartbeat) =
        (span("stable_for", &raw.stable_for), span("heartbeat", &raw.heartbeat));
    let interval_min = span("interval_min", &raw.interval_min);
    let window = span("window", &raw.window);
    let start = over_time::window_start(key, raw, window, check);
    let window = window_settings(key, raw.aggregate.as_ref(), window, start?, check);
    let mut positive = |name: &str, field: &Option<Field<f64>>| {
        let number = field.as_ref()?.0;
        if number < 0.0 {
            check.problems.add(format!("{key}.{name}"), format!("is {number}"), "give 0 or more");
        }
        Some(number)
    };
    let rate_max = positive("rate_max", &raw.rate_max);
    let absolute = positive("deadband", &raw.deadband).map(Deadband::Absolute);
    let percent = positive("deadband_percent", &raw.deadband_percent).map(Deadband::Percent);
    if absolute.is_some() && percent.is_some() {
        let what = "deadband is set, too";
        check.problems.add(format!("{key}.deadband_percent"), what, "keep one of them");
    }
    let deadband = absolute.or(percent);
    if heartbeat.is_some() && deadband.is_none() {
        let fix = "add deadband = 0 to send only changes, or remove it";
        check.problems.add(format!("{key}.heartbeat"), "needs a deadband", fix);
    }
    let decimals = raw
        .decimals
        .clone()
        .map(|field| check.integer(&format!("{key}.decimals"), Some(field), 0, &DECIMALS_RANGE));
    let decimals = decimals.and_then(|decimals| u8::try_from(decimals).ok());
    Some(FilterSettings {
        rate_max,
        derive: None,
        window: window?,
        decimals,
        stable_for,
        deadband,
        heartbeat,
        interval_min,
    })
}

/// `None` if it is bad; `Some(None)` if there is none.
#[expect(clippy::option_option, reason = "the outer None is a reported problem")]
fn window_settings(
    key: &str,
    aggregate: Option<&Field<String>>,
    length: Option<Duration>,
    start: WindowStart,
    check: &mut Check<'_>,
) -> Option<Option<WindowSettings>> {
    let aggregate_key = format!("{key}.aggregate");
    match (aggregate, length) {
        (None, None) => Some(None),
        (Some(word), Some(length)) => {
            let aggregate = Aggregate::named(&word.0);
            if aggregate.is_none() {
                check.unknown_word(
                    &aggregate_key,
                    &word.0,
                    &Aggregate::NAMES.map(|(name, _)| name.to_owned()),
                );
            }
            Some(Some(WindowSettings { aggregate: aggregate?, length, start }))
        }
        (Some(_), None) | (None, Some(_)) => {
            let fix = "give both: aggregate = \"mean\", window = \"1 min\"";
            check.problems.add(aggregate_key, "needs window, and the reverse", fix);
            None
        }
    }
}
