//! Values that several kinds of buses have.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::check::{Check, span};
use crate::field::{Field, Size};

/// The time between two reads or requests: often enough for a fast sensor, seldom enough for a disk.
pub(super) const INTERVAL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(7 * 86_400);

/// The largest file, output or body: what a Pi can hold of each bus at once.
const BYTES_RANGE: RangeInclusive<u64> = 16..=1 << 20;

/// That of a file, an output or a body without a word about it.
const BYTES_DEFAULT: u64 = 64 * 1024;

/// Paths of a file bus, disks of a system bus, words of a command.
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
