//! The options of a mapping for values over time: differences, rates, counters, windows.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::super::time_zone;
use crate::check::{Check, choice};
use crate::raw;
use tidegate_ingest::mapping::{Conversion, Derive, DeriveSettings, WindowStart};

/// The units of time of a rate.
const RATE_UNITS: [(&str, Duration); 4] = [
    ("s", Duration::from_secs(1)),
    ("min", Duration::from_secs(60)),
    ("h", Duration::from_secs(3_600)),
    ("d", Duration::from_secs(86_400)),
];

/// `None` if it is bad; `Some(None)` if there is none.
#[expect(clippy::option_option, reason = "the outer None is a reported problem")]
pub(super) fn derive(
    key: &str,
    raw: &raw::Mapping,
    conversion: Option<&Conversion>,
    check: &mut Check<'_>,
) -> Option<Option<DeriveSettings>> {
    let at = |name: &str| format!("{key}.{name}");
    let kind = match &raw.derive {
        None => None,
        Some(word) => {
            let kind = Derive::named(&word.0);
            if kind.is_none() {
                let names = Derive::NAMES.map(|(name, _)| name.to_owned());
                check.unknown_word(&at("derive"), &word.0, &names);
            }
            Some(kind?)
        }
    };
    if raw.rate_unit.is_some() && !kind.is_some_and(Derive::is_rate) {
        let fix = "add derive = \"rate\" or \"increase-rate\", or remove it";
        check.problems.add(at("rate_unit"), "is not the option of a rate", fix);
    }
    if raw.counter_max.is_some() && !kind.is_some_and(Derive::is_counter) {
        let fix = "add derive = \"increase\", \"increase-rate\" or \"total\", or remove it";
        check.problems.add(at("counter_max"), "is not the option of a counter", fix);
    }
    let Some(kind) = kind else { return Some(None) };
    if kind.is_counter() {
        check_counter(key, kind, raw, check);
    }
    let per = if kind.is_rate() {
        choice(&at("rate_unit"), raw.rate_unit.clone(), check, &RATE_UNITS)?
    } else {
        Duration::from_secs(1)
    };
    let range = match &raw.counter_max {
        None => None,
        Some(max) if max.0 <= 0.0 => {
            let fix = "give the largest number that the counter shows, such as 65535";
            check.problems.add(at("counter_max"), format!("is {}", max.0), fix);
            return None;
        }
        // The counter has one number more than its largest: 0.
        Some(max) => Some(conversion?.width(max.0 + 1.0)),
    };
    Some(Some(DeriveSettings { kind, per, range }))
}

/// Reports options that lose counts, or that move the zero of a counter.
fn check_counter(key: &str, kind: Derive, raw: &raw::Mapping, check: &mut Check<'_>) {
    if raw.offset.is_some() {
        let what = "moves the 0 at which a counter starts again";
        check.problems.add(format!("{key}.offset"), what, "remove it; an increase has no offset");
    }
    if kind != Derive::Increase {
        return;
    }
    let losing = [
        ("stable_for", raw.stable_for.is_some()),
        ("interval_min", raw.interval_min.is_some()),
        ("deadband", raw.deadband.is_some()),
        ("deadband_percent", raw.deadband_percent.is_some()),
    ];
    for (name, _) in losing.into_iter().filter(|(_, is_there)| *is_there) {
        let fix = "use aggregate = \"sum\" with a window, or derive = \"total\"";
        check.problems.add(format!("{key}.{name}"), "loses increases of the counter", fix);
    }
}

/// Resolves the start of windows. `None` if it is bad.
pub(super) fn window_start(
    key: &str,
    raw: &raw::Mapping,
    length: Option<Duration>,
    check: &mut Check<'_>,
) -> Option<WindowStart> {
    let (start_key, zone_key) = (format!("{key}.window_start"), format!("{key}.window_zone"));
    let choices = [("first-value", false), ("clock", true)];
    let is_clock = match raw.window_start.clone() {
        None => false,
        Some(word) => choice(&start_key, Some(word), check, &choices)?,
    };
    if raw.window_start.is_some() && length.is_none() {
        check.problems.add(&start_key, "needs window", "add window = \"1 h\", or remove it");
        return None;
    }
    let Some(length) = length.filter(|_| is_clock) else {
        if raw.window_zone.is_some() {
            let fix = "add window_start = \"clock\", or remove it";
            check.problems.add(
                zone_key,
                "is not the option of a window that follows the clock",
                fix,
            );
            return None;
        }
        return Some(WindowStart::FirstValue);
    };
    if !WindowStart::fits(length) {
        let fix = "use a length that divides a day, such as \"15 min\", \"1 h\" or \"1 day\"";
        check.problems.add(start_key, "needs a window of which a whole number is a day", fix);
        return None;
    }
    let zone = match &raw.window_zone {
        None => TimeZone::UTC,
        Some(name) => time_zone(&zone_key, &name.0, check)?,
    };
    Some(WindowStart::Clock(zone))
}
