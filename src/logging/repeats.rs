//! Which of many equal lines are said: the first few, and from then on how many more there were.
//!
//! A condition that comes back again and again must not fill a log, and must not vanish from it. After [`SAID_MAX`] lines the
//! rest is counted and told at the end of a window. The windows of one kind of line double up to the second of [`WINDOW`], so a week of
//! it costs some 40 lines, however often it comes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many equal lines are said before they are counted.
pub(super) const SAID_MAX: u32 = 5;

/// The first and the longest time after which a count is told.
pub(super) const WINDOW: (Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(6 * 3_600));

/// A line that was not heard for so long is new again.
const QUIET: Duration = Duration::from_secs(3_600);

/// How many kinds of lines are remembered; what is beyond is said each time.
const KINDS_MAX: usize = 256;

/// Lines that were heard, each kind by its key. `T` is what is known of the kind.
#[derive(Debug)]
pub(super) struct Repeats<T> {
    kinds: BTreeMap<u64, Kind<T>>,
}

#[derive(Debug)]
struct Kind<T> {
    what: T,
    said: u32,
    counted: u64,
    window: Duration,
    /// When the window began, once something was counted in it.
    since: Option<Instant>,
    last: Instant,
}

/// What was counted of one kind of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count<T> {
    /// The kind.
    pub(super) what: T,
    /// How often.
    pub(super) count: u64,
    /// In how much time.
    pub(super) within: Duration,
}

impl<T> Default for Repeats<T> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

impl<T: Clone> Repeats<T> {
    /// Hears a line. Tells whether to say it; if not, it is counted.
    pub(super) fn hear(&mut self, key: u64, what: impl FnOnce() -> T, now: Instant) -> bool {
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&key) {
            return true;
        }
        let new =
            || Kind { what: what(), said: 0, counted: 0, window: WINDOW.0, since: None, last: now };
        let kind = self.kinds.entry(key).or_insert_with(new);
        kind.last = now;
        if kind.said < SAID_MAX {
            kind.said += 1;
            return true;
        }
        kind.counted += 1;
        kind.since.get_or_insert(now);
        false
    }

    /// What was counted in windows that have ended. Kinds that were not heard for long are forgotten.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Count<T>> {
        let mut counts = Vec::new();
        for kind in self.kinds.values_mut() {
            let elapsed = kind.since.map(|since| now.saturating_duration_since(since));
            if elapsed.is_some_and(|elapsed| elapsed >= kind.window) {
                counts.extend(kind.take(now));
                kind.window = (kind.window * 2).min(WINDOW.1);
            }
        }
        self.kinds.retain(|_, kind| {
            kind.since.is_some() || now.saturating_duration_since(kind.last) < QUIET
        });
        counts
    }

    /// What was counted so far, as at the end.
    pub(super) fn rest(&mut self, now: Instant) -> Vec<Count<T>> {
        self.kinds.values_mut().filter_map(|kind| kind.take(now)).collect()
    }
}

impl<T: Clone> Kind<T> {
    fn take(&mut self, now: Instant) -> Option<Count<T>> {
        let within = now.saturating_duration_since(self.since.take()?);
        let count = std::mem::take(&mut self.counted);
        Some(Count { what: self.what.clone(), count, within })
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
    fn the_first_lines_are_said_and_the_rest_is_counted_and_told_once() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        let said = (0..10).filter(|_| repeats.hear(1, || "a", start)).count();
        assert_eq!(said, 5);
        assert!(repeats.hear(2, || "b", start), "another kind is another matter");
        assert_eq!(repeats.due(start + seconds(59)), []);
        let count = Count { what: "a", count: 5, within: seconds(61) };
        assert_eq!(repeats.due(start + seconds(61)), [count]);
        assert_eq!(repeats.due(start + seconds(1_000)), []);
        assert!(!repeats.hear(1, || "a", start + seconds(1_000)));
        assert_eq!(repeats.rest(start + seconds(1_001))[0].count, 1);
    }

    #[test]
    fn what_was_not_heard_for_an_hour_is_new() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        for _ in 0..6 {
            repeats.hear(1, || "a", start);
        }
        repeats.due(start + seconds(60));
        assert!(!repeats.hear(1, || "a", start + seconds(3_599)));
        repeats.due(start + seconds(8_000));
        assert!(repeats.hear(1, || "a", start + seconds(8_001)));
    }

    #[test]
    fn kinds_beyond_the_bound_are_said() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        for key in 0..10_000 {
            assert!(repeats.hear(key, || "a", start));
        }
        assert_eq!(repeats.kinds.len(), KINDS_MAX);
    }

    /// The promise: a week in which nothing works writes less than 100 kB. A line here is longer than any of ours is usually.
    #[test]
    fn a_week_of_trouble_of_ten_kinds_is_less_than_a_hundred_kilobytes() {
        const LINE_BYTES: usize = 200;
        for period in [1, 7, 60, 300, 1_800] {
            let (start, mut repeats, mut lines) = (Instant::now(), Repeats::default(), 0);
            for second in (0..7 * 86_400).step_by(period) {
                let now = start + seconds(second);
                lines += (0..10).filter(|kind| repeats.hear(*kind, || (), now)).count();
                lines += repeats.due(now).len();
            }
            assert!(lines * LINE_BYTES < 100_000, "{lines} lines, one every {period} s");
        }
    }
}
