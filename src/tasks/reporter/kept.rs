//! Keeps the batches of failed calls in memory, so that a retry does not read the outbox.
//!
//! A kept batch is used again only while a new read would give the same bytes: the range and the
//! limits of the call are the same, the declaration of the device is the same, and all states are
//! still queued. [`KeptBatches::forget`] is called for each device whose queue got shorter.

use std::collections::{BTreeMap, VecDeque};

use super::batch::Batch;
use crate::declarations::Declaration;
use tidegate_delivery::reporter::{Call, Lane, LaneId, Limits};
use tidegate_model::DeviceId;

/// The most bytes of all kept batches: those of 8 probing lanes with calls of 256 KiB. The oldest
/// batch is dropped first, and its states are read again.
pub(super) const KEPT_BYTES_MAX: usize = 2 << 20;

/// The batches of failed calls.
#[derive(Debug, Default)]
pub(super) struct KeptBatches {
    batches: BTreeMap<LaneId, Kept>,
    /// The lanes, the oldest batch first.
    order: VecDeque<LaneId>,
    bytes: usize,
}

/// A batch with everything that its content depends on.
#[derive(Debug)]
pub(super) struct Kept {
    call: Call,
    limits: Limits,
    pub(super) declaration: Option<Declaration>,
    pub(super) batch: Batch,
}

impl Kept {
    /// Keeps the batch that was loaded for a call.
    pub(super) fn new(
        call: Call,
        limits: Limits,
        declaration: Option<Declaration>,
        batch: Batch,
    ) -> Self {
        Self { call, limits, declaration, batch }
    }

    /// Returns whether a new read for `call` would find the same states.
    fn fits(&self, call: &Call, limits: &Limits) -> bool {
        // States that arrived later change the batch only if it had room for them.
        let is_closed = self.batch.last < self.call.through && self.batch.last <= call.through;
        self.call.after == call.after
            && self.call.states_max == call.states_max
            && (self.call.through == call.through || is_closed)
            && self.limits.batch_bytes_max == limits.batch_bytes_max
            && self.limits.backfill_meta == limits.backfill_meta
    }
}

impl KeptBatches {
    /// Keeps a batch, and drops the oldest ones beyond [`KEPT_BYTES_MAX`].
    pub(super) fn add(&mut self, kept: Kept) {
        let lane = kept.call.lane_id();
        self.remove(lane);
        self.bytes += kept.batch.bytes();
        self.batches.insert(lane, kept);
        self.order.push_back(lane);
        while self.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.order.front().copied()
        {
            self.remove(oldest);
        }
        debug_assert_eq!(self.order.len(), self.batches.len(), "each batch has one place");
    }

    /// Takes the batch of a call, if a new read would give the same.
    pub(super) fn take(&mut self, call: &Call, limits: &Limits) -> Option<Kept> {
        self.remove(call.lane_id()).filter(|kept| kept.fits(call, limits))
    }

    /// Drops the batches of a device, because states left its queue.
    pub(super) fn forget(&mut self, device: DeviceId) {
        for lane in [Lane::Live, Lane::Backlog] {
            self.remove(LaneId { device, lane });
        }
    }

    fn remove(&mut self, lane: LaneId) -> Option<Kept> {
        let kept = self.batches.remove(&lane)?;
        self.bytes -= kept.batch.bytes();
        self.order.retain(|other| *other != lane);
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;

    use super::*;
    use tidegate_delivery::reporter::{FinishedCall, Reporter, Waiting};
    use tidegate_delivery::response::ResponseClass;
    use tidegate_delivery::throttle::Throttle;
    use tidegate_timing::machine::Machine as _;

    fn limits() -> Limits {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(2));
        Limits {
            batch_states_max: 10,
            batch_bytes_max: 1_000,
            retry_min: min,
            retry_max: max,
            ..Limits::default()
        }
    }

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        Instant::now()
    }

    /// Returns two calls for a backlog: the first try, and the next one after a failure.
    fn calls(device: u8, states: u64) -> [Call; 2] {
        let mut now = now();
        let mut machine = Reporter::new(limits(), tidegate_runtime::random::seeded(), now);
        let waiting = Waiting { states, bytes: states, last: states };
        machine.resume(DeviceId::from([device; 12]), waiting, Throttle::default());
        let call = machine.poll_action().unwrap();
        let response = ResponseClass::ServerError(None);
        let finished = FinishedCall { states: 1, last: 1, response, may_count: true };
        machine.handle_result(&call, &finished, now);
        now += Duration::from_secs(60);
        machine.handle_timeout(now);
        [call, machine.poll_action().unwrap()]
    }

    fn batch(last: u64, bytes: usize) -> Batch {
        Batch::of(&[Bytes::from(vec![b'1'; bytes])], 1, last)
    }

    #[test]
    fn repeated_call_gets_its_batch_once() {
        let [first, again] = calls(1, 50);
        let mut kept = KeptBatches::default();
        kept.add(Kept::new(first, limits(), None, batch(10, 5)));
        assert_eq!(kept.take(&again, &limits()).map(|kept| kept.batch.last), Some(10));
        assert!(kept.take(&again, &limits()).is_none());
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn other_limits_or_a_shorter_queue_need_a_read() {
        let [first, again] = calls(1, 50);
        let mut kept = KeptBatches::default();
        let add = |kept: &mut KeptBatches| {
            kept.add(Kept::new(first, limits(), None, batch(10, 5)));
        };
        add(&mut kept);
        let mut halved = again;
        halved.states_max = 5;
        assert!(kept.take(&halved, &limits()).is_none());
        for limits in [
            Limits { batch_bytes_max: 500, ..limits() },
            Limits { backfill_meta: true, ..limits() },
        ] {
            add(&mut kept);
            assert!(kept.take(&again, &limits).is_none());
        }
        add(&mut kept);
        kept.forget(first.device);
        assert!(kept.take(&again, &limits()).is_none());
    }

    #[test]
    fn batch_with_room_is_read_again_after_new_states() {
        let [first, again] = calls(1, 5);
        let mut kept = KeptBatches::default();
        kept.add(Kept::new(first, limits(), None, batch(5, 5)));
        let mut longer = again;
        longer.through = 7;
        assert!(kept.take(&longer, &limits()).is_none());
        kept.add(Kept::new(first, limits(), None, batch(4, 5)));
        assert!(kept.take(&longer, &limits()).is_some(), "the batch was closed before");
    }

    #[test]
    fn oldest_batches_are_dropped_beyond_the_limit() {
        let mut kept = KeptBatches::default();
        let calls: Vec<_> = (1..=9).map(|device| calls(device, 50)).collect();
        for [first, _] in &calls {
            kept.add(Kept::new(*first, limits(), None, batch(10, KEPT_BYTES_MAX / 8)));
            assert!(kept.bytes <= KEPT_BYTES_MAX, "{}", kept.bytes);
        }
        let found = calls.iter().map(|[_, again]| kept.take(again, &limits()).is_some());
        let found: Vec<_> = found.collect();
        assert_eq!(found, [false, false, true, true, true, true, true, true, true]);
    }
}
