//! Entries ordered by time, and the queries of Losant's history actions.

use std::collections::BTreeMap;

/// A bounded list ordered by time; entries with the same time keep their order of arrival.
#[derive(Debug)]
pub(crate) struct Timeline<T> {
    entries: BTreeMap<(i64, u64), T>,
    arrivals: u64,
    entries_max: usize,
}

/// Selects a part of a timeline. Both ends are included; Losant does not document whether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) newest_first: bool,
    pub(crate) entries_max: usize,
}

impl<T: Clone> Timeline<T> {
    /// Creates a timeline that removes its oldest entry when it would exceed `entries_max`.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries: BTreeMap::new(), arrivals: 0, entries_max }
    }

    pub(crate) fn push(&mut self, time_ms: i64, entry: T) {
        self.entries.insert((time_ms, self.arrivals), entry);
        self.arrivals += 1;
        if self.entries.len() > self.entries_max {
            self.entries.pop_first();
        }
    }

    /// Returns the first entry of this millisecond.
    pub(crate) fn at_mut(&mut self, time_ms: i64) -> Option<&mut T> {
        self.entries.range_mut((time_ms, 0)..=(time_ms, u64::MAX)).next().map(|(_, entry)| entry)
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.entries.last_key_value().map(|(_, entry)| entry)
    }

    /// Removes all entries of a period, both ends included.
    pub(crate) fn remove(&mut self, start_ms: i64, end_ms: i64) {
        self.entries.retain(|(time_ms, _), _| *time_ms < start_ms || *time_ms > end_ms);
    }

    /// Calls `keep` with each entry, which it may change; removes the entries for which it returns
    /// false.
    pub(crate) fn edit(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.entries.retain(|_, entry| keep(entry));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }

    pub(crate) fn to_vec(&self) -> Vec<T> {
        self.entries.values().cloned().collect()
    }

    pub(crate) fn select(&self, window: Window) -> Vec<T> {
        if window.start_ms > window.end_ms {
            return Vec::new();
        }
        let range = self.entries.range((window.start_ms, 0)..=(window.end_ms, u64::MAX));
        let entries = range.map(|(_, entry)| entry.clone());
        if window.newest_first {
            entries.rev().take(window.entries_max).collect()
        } else {
            entries.take(window.entries_max).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Window =
        Window { start_ms: 0, end_ms: i64::MAX, newest_first: false, entries_max: 10 };

    fn timeline() -> Timeline<&'static str> {
        let mut timeline = Timeline::new(4);
        for (time_ms, entry) in [(20, "b"), (10, "a"), (20, "c"), (30, "d")] {
            timeline.push(time_ms, entry);
        }
        timeline
    }

    #[test]
    fn orders_entries_by_time_then_arrival() {
        assert_eq!(timeline().select(ALL), ["a", "b", "c", "d"]);
    }

    #[test]
    fn window_includes_both_ends() {
        assert_eq!(timeline().select(Window { start_ms: 10, end_ms: 20, ..ALL }), ["a", "b", "c"]);
    }

    #[test]
    fn newest_first_limits_from_the_newest() {
        let window = Window { newest_first: true, entries_max: 2, ..ALL };
        assert_eq!(timeline().select(window), ["d", "c"]);
    }

    #[test]
    fn reversed_window_is_empty() {
        assert!(timeline().select(Window { start_ms: 30, end_ms: 10, ..ALL }).is_empty());
    }

    #[test]
    fn full_timeline_removes_its_oldest_entry() {
        let mut timeline = timeline();
        timeline.push(40, "e");
        assert_eq!(timeline.select(ALL), ["b", "c", "d", "e"]);
    }
}
