//! Passes the sizes of the queues that changed to the machine.

use std::collections::BTreeMap;

use tidegate_delivery::reporter::Waiting;
use tidegate_model::DeviceId;
use tidegate_outbox::{Amount, Outbox, QueueSizes};

/// The sizes of the queues, as the machine knows them.
#[derive(Debug, Default)]
pub(super) struct WaitingStates {
    devices: BTreeMap<DeviceId, Waiting>,
    total: Amount,
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
        Self { devices: waiting(sizes).collect(), total: sizes.total }
    }

    /// Returns the queued states of all devices.
    pub(super) fn states(&self) -> u64 {
        self.total.states
    }

    /// Reports the queue of a device with the next update, also if it does not change.
    pub(super) fn report_again(&mut self, device: DeviceId) {
        self.devices.remove(&device);
    }

    /// Reads the sizes of the queues, and returns the queues that changed.
    pub(super) fn update(&mut self, outbox: &Outbox) -> Vec<ChangedQueue> {
        let sizes = outbox.queue_sizes();
        self.total = sizes.total;
        waiting(&sizes).filter_map(|(device, waiting)| self.change(device, waiting)).collect()
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

    #[test]
    fn only_changed_queues_are_reported() {
        let device = DeviceId::from([1; 12]);
        let mut states = WaitingStates::default();
        let queue = |states, last| Waiting { states, bytes: states, last };
        let mut change = |waiting| states.change(device, waiting).map(|changed| changed.is_shorter);
        assert_eq!(change(queue(5, 5)), Some(false), "new states");
        assert_eq!(change(queue(5, 5)), None);
        assert_eq!(change(queue(5, 8)), Some(true), "three arrived and three left");
        assert_eq!(change(queue(2, 8)), Some(true));
        assert_eq!(change(queue(2, 8)), None);
        states.report_again(device);
        assert!(states.change(device, queue(2, 8)).is_some());
    }
}
