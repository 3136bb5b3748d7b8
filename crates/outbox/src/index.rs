//! Where each group stands. This is all that memory holds of a backlog: an entry for each group, not for each state.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_model::{DeviceId, Priority};

/// A device and the first sequence number of a group.
pub(super) type Key = (DeviceId, u64);

/// What is known of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) last: u64,
    pub(super) home: Home,
    pub(super) priority: Priority,
    pub(super) commit: u64,
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Segment { number: u64, offset: u64, length: usize },
    Generation(u64),
}

/// The groups of which something waits.
#[derive(Debug, Default)]
pub(super) struct Index {
    spots: BTreeMap<Key, Spot>,
    /// In the order in which they go when there is no room.
    order: BTreeSet<(Priority, u64, Key)>,
    /// How many groups each home has.
    segments: BTreeMap<u64, usize>,
    generations: BTreeMap<u64, usize>,
}

impl Index {
    pub(super) fn insert(&mut self, key: Key, spot: Spot) {
        self.remove(key);
        self.order.insert((spot.priority, spot.commit, key));
        *self.count(spot.home) += 1;
        self.spots.insert(key, spot);
    }

    pub(super) fn remove(&mut self, key: Key) {
        let Some(spot) = self.spots.remove(&key) else { return };
        self.order.remove(&(spot.priority, spot.commit, key));
        *self.count(spot.home) -= 1;
    }

    fn count(&mut self, home: Home) -> &mut usize {
        match home {
            Home::Segment { number, .. } => self.segments.entry(number).or_default(),
            Home::Generation(number) => self.generations.entry(number).or_default(),
        }
    }

    /// The group that holds this state or the next that there is, and those after it.
    pub(super) fn from(
        &self,
        device: DeviceId,
        sequence: u64,
    ) -> impl Iterator<Item = (Key, Spot)> {
        let before = self.spots.range((device, 0)..=(device, sequence)).next_back();
        let start =
            before.filter(|(_, spot)| spot.last >= sequence).map_or(sequence, |(key, _)| key.1);
        self.spots.range((device, start)..=(device, u64::MAX)).map(|(key, spot)| (*key, *spot))
    }

    /// Where a group stands.
    pub(super) fn get(&self, key: Key) -> Option<Spot> {
        self.spots.get(&key).copied()
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.spots.len()
    }

    /// All groups, device by device in order.
    pub(super) fn all(&self) -> Vec<(Key, Spot)> {
        self.spots.iter().map(|(key, spot)| (*key, *spot)).collect()
    }

    /// The group that holds this state, or the next that there is.
    pub(super) fn at(&self, device: DeviceId, sequence: u64) -> Option<(Key, Spot)> {
        self.from(device, sequence).next()
    }

    /// Whether one of these states stands somewhere.
    pub(super) fn has_any(&self, device: DeviceId, first: u64, last: u64) -> bool {
        self.at(device, first).is_some_and(|(key, _)| key.1 <= last)
    }

    /// In the order in which they go when there is no room.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (Key, Spot)> {
        self.order.iter().filter_map(|(_, _, key)| Some((*key, *self.spots.get(key)?)))
    }

    /// The groups of a segment, device by device in order.
    pub(super) fn of_segment(&self, segment: u64) -> Vec<(Key, Spot)> {
        let is_here =
            |spot: &Spot| matches!(spot.home, Home::Segment { number, .. } if number == segment);
        self.spots
            .iter()
            .filter(|(_, spot)| is_here(spot))
            .map(|(key, spot)| (*key, *spot))
            .collect()
    }

    pub(super) fn is_empty_segment(&self, number: u64) -> bool {
        self.segments.get(&number).is_none_or(|groups| *groups == 0)
    }

    pub(super) fn is_empty_generation(&self, number: u64) -> bool {
        self.generations.get(&number).is_none_or(|groups| *groups == 0)
    }
}
