//! The storage that outlives the daemon: a simple model of the outbox, and the throttle log.

use std::collections::BTreeMap;

use tidegate_delivery::reporter::Waiting;
use tidegate_model::{DeviceId, ReadingTime, WallTime};
use tidegate_timing::clock_trust::Boots;

/// A stored state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) moment: ReadingTime,
    pub(super) value: u64,
    pub(super) fate: Fate,
}

/// The result of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    Confirmed,
    Rejected,
    TimeRefused,
}

/// The states of one device. The sequence number of a state is its index plus 1.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) states: Vec<Stored>,
    waiting: u64,
    /// All states before this index are settled.
    settled: usize,
    latest: Option<WallTime>,
}

/// The disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) queues: BTreeMap<DeviceId, Queue>,
    pub(super) boots: Boots,
    /// The content of the throttle log.
    pub(super) calls: String,
    pub(super) is_full: bool,
}

impl Disk {
    pub(super) fn append(&mut self, device: DeviceId, moment: ReadingTime, value: u64) {
        let queue = self.queues.entry(device).or_default();
        if let ReadingTime::Wall(time) = moment {
            queue.latest = queue.latest.max(Some(time));
        }
        queue.waiting += 1;
        queue.states.push(Stored { moment, value, fate: Fate::Waiting });
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = (DeviceId, Waiting)> {
        self.queues.iter().map(|(device, queue)| {
            let last = queue.states.len() as u64;
            (*device, Waiting { states: queue.waiting, bytes: queue.waiting * 100, last })
        })
    }

    /// Returns the oldest waiting states with sequence numbers above `after`, up to `through`.
    pub(super) fn peek(
        &self,
        device: DeviceId,
        after: u64,
        through: u64,
        states_max: usize,
    ) -> Vec<(u64, Stored)> {
        let queue = &self.queues[&device];
        let start = queue.settled.max(usize::try_from(after).unwrap());
        let numbered = (start as u64 + 1..=through).zip(&queue.states[start..]);
        let waiting = numbered.filter(|(_, state)| state.fate == Fate::Waiting);
        waiting.take(states_max).map(|(number, state)| (number, *state)).collect()
    }

    pub(super) fn settle(&mut self, device: DeviceId, sequence: u64, fate: Fate) {
        let queue = self.queues.get_mut(&device).unwrap();
        let state = &mut queue.states[usize::try_from(sequence).unwrap() - 1];
        assert_eq!(state.fate, Fate::Waiting, "{device} {sequence} was settled already");
        state.fate = fate;
        queue.waiting -= 1;
        while queue.states.get(queue.settled).is_some_and(|state| state.fate != Fate::Waiting) {
            queue.settled += 1;
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.queues.values().all(|queue| queue.waiting == 0)
    }

    /// Returns the latest time of day of each device.
    pub(super) fn latest(&self) -> BTreeMap<DeviceId, WallTime> {
        self.queues.iter().filter_map(|(device, queue)| Some((*device, queue.latest?))).collect()
    }
}
