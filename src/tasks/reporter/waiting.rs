//! Passes the sizes of the queues that changed to the machine.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_delivery::reporter::Waiting;
use tidegate_model::DeviceId;
use tidegate_outbox::{Outbox, QueueChange, QueueSizes};

/// The sizes of the queues, as the machine knows them.
#[derive(Debug, Default)]
pub(super) struct WaitingStates {
    devices: BTreeMap<DeviceId, Waiting>,
    /// The version of these sizes in the outbox.
    version: u64,
    /// The queued states of all devices.
    states: u64,
    /// The devices whose queues the next update reports even if they did not change.
    again: BTreeSet<DeviceId>,
}

/// A queue that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChangedQueue {
    pub(super) device: DeviceId,
    pub(super) waiting: Waiting,
    /// Whether states left the queue.
    pub(super) is_shorter: bool,
}

impl WaitingStates {
    /// Starts with the sizes that the machine was created with.
    pub(super) fn new(sizes: &QueueSizes) -> Self {
        let (devices, states) = (waiting(sizes).collect(), sizes.total.states);
        Self { devices, version: 0, states, again: BTreeSet::new() }
    }

    /// Returns the queued states of all devices.
    pub(super) fn states(&self) -> u64 {
        self.states
    }

    /// Reports the queue of a device with the next update, also if it does not change.
    pub(super) fn report_again(&mut self, device: DeviceId) {
        self.again.insert(device);
    }

    /// Returns the queues that changed. Takes time in proportion to them, not to all queues.
    pub(super) fn update(&mut self, outbox: &Outbox) -> Vec<ChangedQueue> {
        let changes = outbox.queue_changes(self.version);
        (self.version, self.states) = (changes.version, changes.total.states);
        let changed =
            changes.queues.into_iter().filter_map(|QueueChange { device, amount, last }| {
                let waiting = Waiting { states: amount.states, bytes: amount.bytes, last };
                self.change(device, waiting)
            });
        let mut changed: Vec<_> = changed.collect();
        for device in std::mem::take(&mut self.again) {
            let waiting = self.devices.get(&device).copied().unwrap_or_default();
            changed.push(ChangedQueue { device, waiting, is_shorter: false });
        }
        changed
    }

    fn change(&mut self, device: DeviceId, waiting: Waiting) -> Option<ChangedQueue> {
        let before = self.devices.insert(device, waiting).unwrap_or_default();
        let expected = before.states + waiting.last.saturating_sub(before.last);
        let is_shorter = waiting.states < expected;
        (before != waiting).then_some(ChangedQueue { device, waiting, is_shorter })
    }
}

/// Returns the waiting states of each device.
pub(super) fn waiting(sizes: &QueueSizes) -> impl Iterator<Item = (DeviceId, Waiting)> {
    sizes.devices.iter().map(|(device, amount)| {
        let last = sizes.last.get(device).copied().unwrap_or_default();
        (*device, Waiting { states: amount.states, bytes: amount.bytes, last })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tidegate_model::{Account, Priority, WallTime};
    use tidegate_outbox::{Commit, NewState, Options};

    fn device(number: u8) -> DeviceId {
        DeviceId::from([number; 12])
    }

    fn append(outbox: &Outbox, number: u8) {
        let state = NewState {
            device: device(number),
            bus: "probe".parse().unwrap(),
            moment: WallTime::from_millis(1_777_629_600_000).into(),
            priority: Priority::default(),
            readings: 1,
            json: Bytes::from_static(b"{}"),
        };
        let account = Account { received: 1, outbox_in: 1, ..Account::default() };
        let ledger = [("probe".parse().unwrap(), account)].into();
        outbox.append(&Commit { states: vec![state], ledger, ..Commit::default() }).unwrap();
    }

    #[test]
    fn only_changed_queues_are_reported() {
        let directory = tempfile::TempDir::new().unwrap();
        let outbox = Outbox::open(directory.path(), Options::default()).unwrap();
        (1..=3).for_each(|number| append(&outbox, number));
        let mut states = WaitingStates::new(&outbox.queue_sizes());
        assert_eq!(states.update(&outbox), []);
        append(&outbox, 2);
        let waiting = Waiting { states: 2, bytes: 4, last: 2 };
        let longer = ChangedQueue { device: device(2), waiting, is_shorter: false };
        assert_eq!(states.update(&outbox), [longer]);
        assert_eq!((states.update(&outbox), states.states()), (vec![], 4));
        append(&outbox, 2);
        outbox.ack(device(2), 1, 1).unwrap();
        let waiting = Waiting { states: 2, bytes: 4, last: 3 };
        let shorter = ChangedQueue { device: device(2), waiting, is_shorter: true };
        assert_eq!(states.update(&outbox), [shorter], "one arrived and one left");
        states.report_again(device(2));
        assert_eq!(states.update(&outbox), [ChangedQueue { is_shorter: false, ..shorter }]);
        assert_eq!(states.update(&outbox), []);
    }
}
