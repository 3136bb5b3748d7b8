//! Decides which of many equal lines are logged: the first few, and then only their count.
//!
//! A repeated condition must not fill the log, and must not vanish from it. After [`LOGGED_MAX`]
//! lines the rest is counted and reported at the end of a window. The window of one kind of line
//! doubles from [`WINDOW_MIN`] up to [`WINDOW_MAX`], so a week of one condition costs about 40
//! lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The number of equal lines that are logged before they are only counted.
pub(super) const LOGGED_MAX: u32 = 5;

/// The first window after which a count is reported.
const WINDOW_MIN: Duration = Duration::from_secs(60);

/// The longest window after which a count is reported.
const WINDOW_MAX: Duration = Duration::from_secs(6 * 3_600);

/// A line that has not occurred for this long counts as new.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// The most kinds of lines that are counted; lines of further kinds are always logged.
const KINDS_MAX: usize = 256;

/// Counts lines by kind. `T` describes a kind.
#[derive(Debug)]
pub(super) struct Repeats<T> {
    kinds: BTreeMap<u64, Kind<T>>,
}

#[derive(Debug)]
struct Kind<T> {
    line: T,
    logged: u32,
    counted: u64,
    window: Duration,
    /// The begin of the window; `None` while nothing is counted.
    since: Option<Instant>,
    last: Instant,
}

/// The count of one kind of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count<T> {
    /// The kind.
    pub(super) line: T,
    /// The number of suppressed lines.
    pub(super) suppressed: u64,
    /// The time in which they occurred.
    pub(super) within: Duration,
}

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

impl<T: Clone> Repeats<T> {
    /// Returns whether to log a line; if not, counts it.
    pub(super) fn admit(&mut self, key: u64, line: impl FnOnce() -> T, now: Instant) -> bool {
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&key) {
            return true;
        }
        let new = || Kind {
            line: line(),
            logged: 0,
            counted: 0,
            window: WINDOW_MIN,
            since: None,
            last: now,
        };
        let kind = self.kinds.entry(key).or_insert_with(new);
        kind.last = now;
        if kind.logged < LOGGED_MAX {
            kind.logged += 1;
            return true;
        }
        kind.counted += 1;
        kind.since.get_or_insert(now);
        false
    }

    /// Returns the counts of windows that have ended, and forgets kinds that have not occurred for
    /// long.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Count<T>> {
        let mut counts = Vec::new();
        for kind in self.kinds.values_mut() {
            let elapsed = kind.since.map(|since| now.saturating_duration_since(since));
            if elapsed.is_some_and(|elapsed| elapsed >= kind.window) {
                counts.extend(kind.take(now));
                kind.window = (kind.window * 2).min(WINDOW_MAX);
            }
        }
        self.kinds.retain(|_, kind| {
            kind.since.is_some() || now.saturating_duration_since(kind.last) < FORGET_AFTER
        });
        counts
    }

    /// Returns all counts so far.
    pub(super) fn rest(&mut self, now: Instant) -> Vec<Count<T>> {
        self.kinds.values_mut().filter_map(|kind| kind.take(now)).collect()
    }
}

impl<T: Clone> Kind<T> {
    fn take(&mut self, now: Instant) -> Option<Count<T>> {
        let within = now.saturating_duration_since(self.since.take()?);
        let suppressed = std::mem::take(&mut self.counted);
        Some(Count { line: self.line.clone(), suppressed, within })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn logs_first_lines_and_counts_the_rest() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        let logged = (0..10).filter(|_| repeats.admit(1, || "a", start)).count();
        assert_eq!(logged, 5);
        assert!(repeats.admit(2, || "b", start), "another kind is counted separately");
        assert_eq!(repeats.due(start + seconds(59)), []);
        let count = Count { line: "a", suppressed: 5, within: seconds(61) };
        assert_eq!(repeats.due(start + seconds(61)), [count]);
        assert_eq!(repeats.due(start + seconds(1_000)), []);
        assert!(!repeats.admit(1, || "a", start + seconds(1_000)));
        assert_eq!(repeats.rest(start + seconds(1_001))[0].suppressed, 1);
    }

    #[test]
    fn line_is_new_after_an_hour() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        for _ in 0..6 {
            repeats.admit(1, || "a", start);
        }
        repeats.due(start + seconds(60));
        assert!(!repeats.admit(1, || "a", start + seconds(3_599)));
        repeats.due(start + seconds(8_000));
        assert!(repeats.admit(1, || "a", start + seconds(8_001)));
    }

    #[test]
    fn kinds_beyond_the_limit_are_logged() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        for key in 0..10_000 {
            assert!(repeats.admit(key, || "a", start));
        }
        assert_eq!(repeats.kinds.len(), KINDS_MAX);
    }

    /// A week in which nothing works must write less than 100 kB. Most lines are shorter than the
    /// bytes here.
    #[test]
    fn week_of_ten_errors_stays_below_100_kb() {
        const LINE_BYTES: usize = 200;
        for period in [1, 7, 60, 300, 1_800] {
            let (start, mut repeats, mut lines) = (Instant::now(), Repeats::default(), 0);
            for second in (0..7 * 86_400).step_by(period) {
                let now = start + seconds(second);
                lines += (0..10).filter(|kind| repeats.admit(*kind, || (), now)).count();
                lines += repeats.due(now).len();
            }
            assert!(lines * LINE_BYTES < 100_000, "{lines} lines, one every {period} s");
        }
    }
}
