//! Values that several kinds of buses have.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::check::{Check, span};
use crate::field::{Field, Size};

/// The range of the time between two reads or requests.
pub(super) const INTERVAL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(7 * 86_400);

/// The range of the largest file, output or body in bytes. A Pi must hold one of each bus.
const BYTES_RANGE: RangeInclusive<u64> = 16..=1 << 20;

/// The default of the largest file, output or body in bytes.
const BYTES_DEFAULT: u64 = 64 * 1024;

/// The maximum number of paths, disks or words of a command.
const ENTRIES_MAX: usize = 64;

pub(super) fn texts(fields: Option<Vec<Field<String>>>) -> Vec<String> {
    fields.unwrap_or_default().into_iter().map(|field| field.0).collect()
}

pub(super) fn bounded(key: &str, entries: &[String], check: &mut Check<'_>) {
    if entries.len() > ENTRIES_MAX {
        let fix = format!("give at most {ENTRIES_MAX}");
        check.problems.add(key, format!("has {} entries", entries.len()), fix);
    }
}

pub(super) fn size(key: &str, field: Option<Field<Size>>, check: &mut Check<'_>) -> usize {
    usize::try_from(check.bytes(key, field, BYTES_DEFAULT, &BYTES_RANGE)).unwrap_or_default()
}

pub(super) fn interval(
    key: &str,
    field: Option<Field<Duration>>,
    default: Duration,
    check: &mut Check<'_>,
) -> Duration {
    span(key, field, default, &INTERVAL_RANGE, check)
}
