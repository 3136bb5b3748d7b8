//! Which sequence numbers of a device are gone: acknowledged, rejected or dropped.
//!
//! Most of the time that is a single range from the first number on. Others lie above it while a backlog is sent after what is
//! new. There are at most [`INTERVALS_MAX`] of them; ranges that touch become one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many ranges of acknowledged states of one device are kept apart.
pub const INTERVALS_MAX: usize = 64;

/// Ranges of sequence numbers, first to last, which neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// All from 1 on that is gone without a gap; 0 if 1 is not.
    pub(super) fn cursor(&self) -> u64 {
        self.0.get(&1).copied().unwrap_or(0)
    }

    /// Whether all of this is gone.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        self.0.range(..=first).next_back().is_some_and(|(_, end)| last <= *end)
    }

    /// Adds a range; one that begins at 0 or is empty adds what is left of it. Returns false, and changes nothing, where it
    /// would stand apart from all the others and there are too many of them.
    pub(super) fn insert(&mut self, first: u64, last: u64) -> bool {
        let first = first.max(1);
        let mut grown = self.clone();
        grown.merge(first, last);
        let fits = grown.0.len() <= INTERVALS_MAX.max(self.0.len());
        if fits {
            *self = grown;
        }
        fits
    }

    /// Adds a range however many there are.
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
        fn ranges_hold_what_a_set_of_numbers_holds(added in prop::collection::vec((1..60_u64, 0..9_u64), 0..30)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, more) in added {
                prop_assert!(ranges.insert(first, first + more));
                set.extend(first..=first + more);
            }
            for number in 1..80 {
                prop_assert_eq!(ranges.covers(number, number), set.contains(&number));
            }
            let flat: Vec<_> = ranges.0.into_iter().collect();
            prop_assert!(flat.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", flat);
        }
    }

    #[test]
    fn a_range_that_touches_is_taken_even_when_there_are_too_many() {
        let mut ranges = Ranges::default();
        for number in 0..INTERVALS_MAX as u64 {
            assert!(ranges.insert(10 * number + 5, 10 * number + 6));
        }
        assert!(!ranges.insert(9, 9));
        assert!(ranges.insert(7, 8));
        assert!(ranges.insert(9, 14), "two become one");
        assert!(ranges.insert(1, 2), "so there is room again");
        assert_eq!(ranges.cursor(), 2);
    }
}
