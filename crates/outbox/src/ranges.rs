//! The sequence numbers of a device that left its queue: acknowledged, rejected or dropped.
//!
//! Usually they are one range that starts at the first number. Other ranges lie above it while the
//! reporter sends new states before an old backlog. A device has at most [`RANGES_MAX`] ranges from
//! acknowledgements; ranges that touch become one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most separate ranges of acknowledged states that the outbox stores for one device.
pub const RANGES_MAX: usize = 64;

/// Sequence numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SequenceRange {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Ranges of sequence numbers, first to last, which neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Returns the last number of the range that starts at 1, or 0 if no range starts there.
    pub(super) fn end_of_first(&self) -> u64 {
        self.0.get(&1).copied().unwrap_or(0)
    }

    /// Returns whether one range contains this number.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.contains_all(number, number)
    }

    /// Returns whether one range contains all numbers from `first` to `last`.
    pub(super) fn contains_all(&self, first: u64, last: u64) -> bool {
        self.0.range(..=first).next_back().is_some_and(|(_, end)| last <= *end)
    }

    /// Returns whether a range contains at least one number from `first` to `last`.
    pub(super) fn has_any(&self, first: u64, last: u64) -> bool {
        self.0.range(..=last).next_back().is_some_and(|(_, end)| first <= *end)
    }

    /// Adds a range, without number 0. Returns false and changes nothing if that would make more
    /// than [`RANGES_MAX`] separate ranges.
    pub(super) fn insert(&mut self, first: u64, last: u64) -> bool {
        let first = first.max(1);
        let mut grown = self.clone();
        grown.merge(first, last);
        let fits = grown.0.len() <= RANGES_MAX.max(self.0.len());
        if fits {
            *self = grown;
        }
        fits
    }

    /// Adds a range, regardless of the number of ranges. An empty range changes nothing.
    pub(super) fn merge(&mut self, mut first: u64, mut last: u64) {
        if last < first {
            return;
        }
        while let Some((&start, &end)) = self.0.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            first = first.min(start);
            last = last.max(end);
            self.0.remove(&start);
        }
        self.0.insert(first, last);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_behave_like_a_set_of_numbers(
            added in prop::collection::vec((1..60_u64, 0..9_u64), 0..30)
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, more) in added {
                prop_assert!(ranges.insert(first, first + more));
                set.extend(first..=first + more);
            }
            for number in 1..80 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
                let (last, is_any) = (number + 3, set.range(number..=number + 3).next().is_some());
                prop_assert_eq!(ranges.has_any(number, last), is_any);
            }
            let flat: Vec<_> = ranges.0.into_iter().collect();
            prop_assert!(flat.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", flat);
        }
    }

    #[test]
    fn full_ranges_accept_a_range_that_touches() {
        let mut ranges = Ranges::default();
        for number in 0..RANGES_MAX as u64 {
            assert!(ranges.insert(10 * number + 5, 10 * number + 6));
        }
        assert!(!ranges.insert(9, 9));
        assert!(ranges.insert(7, 8));
        assert!(ranges.insert(9, 14), "two ranges become one");
        assert!(ranges.insert(1, 2), "one more range fits");
        assert_eq!(ranges.end_of_first(), 2);
    }
}
