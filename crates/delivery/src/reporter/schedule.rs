//! The lanes that may start a call, in an order that shows the next one without a walk over all
//! devices.
//!
//! Invariant: each lane has at most one place, in `due` if its time has come, else in `later`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Lane, LaneId};

/// When a lane may start a call, and its rank among the lanes of all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The earliest time of the next call.
    pub(super) at: Instant,
    pub(super) rank: Lane,
    /// The number of the last call. The lane that was served longest ago is next.
    pub(super) turn: u64,
}

/// The place of a lane among those that are due, compared by rank, then by turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    rank: Lane,
    turn: u64,
    id: LaneId,
}

/// The lanes of one kind.
#[derive(Debug, Default)]
struct Kind {
    due: BTreeSet<Due>,
    later: BTreeSet<(Instant, LaneId)>,
}

/// The lanes that have states to send. See the [module](self).
#[derive(Debug)]
pub(super) struct Schedule {
    places: BTreeMap<LaneId, Place>,
    live: Kind,
    backlog: Kind,
    /// The time up to which lanes are due.
    now: Instant,
}

impl Schedule {
    /// Creates a schedule without lanes.
    pub(super) fn new(now: Instant) -> Self {
        Self { places: BTreeMap::new(), live: Kind::default(), backlog: Kind::default(), now }
    }

    fn kind(&self, lane: Lane) -> &Kind {
        match lane {
            Lane::Live => &self.live,
            Lane::Backlog => &self.backlog,
        }
    }

    fn kind_mut(&mut self, lane: Lane) -> &mut Kind {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Backlog => &mut self.backlog,
        }
    }

    /// Sets the place of a lane, or removes it.
    pub(super) fn set(&mut self, id: LaneId, place: Option<Place>) {
        if self.places.get(&id) == place.as_ref() {
            return;
        }
        if let Some(Place { at, rank, turn }) = self.places.remove(&id) {
            let kind = self.kind_mut(id.lane);
            kind.later.remove(&(at, id));
            kind.due.remove(&Due { rank, turn, id });
        }
        let Some(place) = place else { return };
        self.places.insert(id, place);
        let is_due = place.at <= self.now;
        let kind = self.kind_mut(id.lane);
        if is_due {
            kind.due.insert(Due { rank: place.rank, turn: place.turn, id });
        } else {
            kind.later.insert((place.at, id));
        }
    }

    /// Makes the lanes due whose time has come.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = now;
        for lane in [Lane::Live, Lane::Backlog] {
            while let Some((_, id)) =
                self.kind(lane).later.first().copied().filter(|(at, _)| *at <= now)
            {
                let kind = self.kind_mut(lane);
                kind.later.pop_first();
                if let Some(Place { rank, turn, .. }) = self.places.get(&id).copied() {
                    self.kind_mut(lane).due.insert(Due { rank, turn, id });
                }
            }
        }
    }

    /// Returns whether no lane has states to send.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the place of a lane.
    #[cfg(test)]
    pub(super) fn place(&self, id: LaneId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    /// Returns whether a lane is due.
    pub(super) fn is_due(&self, id: LaneId) -> bool {
        let due = |place: &Place| Due { rank: place.rank, turn: place.turn, id };
        self.places.get(&id).is_some_and(|place| self.kind(id.lane).due.contains(&due(place)))
    }

    /// Returns the next lane that is due among those of the `open` kinds.
    pub(super) fn next(&self, open: impl Fn(Lane) -> bool) -> Option<LaneId> {
        let lanes = [Lane::Live, Lane::Backlog].into_iter().filter(|lane| open(*lane));
        lanes.filter_map(|lane| self.kind(lane).due.first()).min().map(|due| due.id)
    }

    /// Returns the earliest time at which a lane of the `open` kinds becomes due.
    pub(super) fn soonest(&self, open: impl Fn(Lane) -> bool) -> Option<Instant> {
        let lanes = [Lane::Live, Lane::Backlog].into_iter().filter(|lane| open(*lane));
        lanes.filter_map(|lane| self.kind(lane).later.first()).map(|(at, _)| *at).min()
    }
}
