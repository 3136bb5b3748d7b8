//! What outlives the daemon, as simply as can be: the outbox that the real one must be like, and the notes.

use std::collections::BTreeMap;

use tidegate_delivery::reporter::Waiting;
use tidegate_model::{DeviceId, ReadingTime, WallTime};
use tidegate_timing::clock_trust::Boots;

/// A state that is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) moment: ReadingTime,
    pub(super) value: u64,
    pub(super) fate: Fate,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Waits,
    Confirmed,
    Rejected,
    TimeRefused,
}

/// The states of one device; the sequence number is the place plus 1.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) states: Vec<Stored>,
    waits: u64,
    /// All before this place is settled.
    settled: usize,
    latest: Option<WallTime>,
}

/// The disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) queues: BTreeMap<DeviceId, Queue>,
    pub(super) boots: Boots,
    /// The file of calls.
    pub(super) calls: String,
    pub(super) is_full: bool,
}

impl Disk {
    pub(super) fn append(&mut self, device: DeviceId, moment: ReadingTime, value: u64) {
        let queue = self.queues.entry(device).or_default();
        if let ReadingTime::Wall(time) = moment {
            queue.latest = queue.latest.max(Some(time));
        }
        queue.waits += 1;
        queue.states.push(Stored { moment, value, fate: Fate::Waits });
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = (DeviceId, Waiting)> {
        self.queues.iter().map(|(device, queue)| {
            let last = queue.states.len() as u64;
            (*device, Waiting { states: queue.waits, bytes: queue.waits * 100, last })
        })
    }

    /// The oldest waiting states within a range of sequence numbers, with these.
    pub(super) fn peek(
        &self,
        device: DeviceId,
        (after, through): (u64, u64),
        states_max: usize,
    ) -> Vec<(u64, Stored)> {
        let queue = &self.queues[&device];
        let start = queue.settled.max(usize::try_from(after).unwrap());
        let numbered = (start as u64 + 1..=through).zip(&queue.states[start..]);
        let waits = numbered.filter(|(_, state)| state.fate == Fate::Waits);
        waits.take(states_max).map(|(number, state)| (number, *state)).collect()
    }

    pub(super) fn settle(&mut self, device: DeviceId, sequence: u64, fate: Fate) {
        let queue = self.queues.get_mut(&device).unwrap();
        let state = &mut queue.states[usize::try_from(sequence).unwrap() - 1];
        assert_eq!(state.fate, Fate::Waits, "{device} {sequence} was settled already");
        state.fate = fate;
        queue.waits -= 1;
        while queue.states.get(queue.settled).is_some_and(|state| state.fate != Fate::Waits) {
            queue.settled += 1;
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.queues.values().all(|queue| queue.waits == 0)
    }

    /// The time of day that each device had last.
    pub(super) fn latest(&self) -> BTreeMap<DeviceId, WallTime> {
        self.queues.iter().filter_map(|(device, queue)| Some((*device, queue.latest?))).collect()
    }
}
