//! A cloud that checks its calls and stores states, and that answers with errors at random.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use tidegate_delivery::response::CallOutcome;
use tidegate_model::{DeviceId, WallTime};

/// Losant's throttle: calls of a device in [`WINDOW`].
const CALLS_MAX: usize = 30;
const WINDOW: Duration = Duration::from_secs(15);

/// The cloud refuses one of this number of values.
const BAD_EVERY: u64 = 497;

/// A state that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) sequence: u64,
    pub(super) time: WallTime,
    pub(super) value: u64,
}

/// The moment at which a call arrives, and the cloud's faults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    pub(super) now: Duration,
    /// The true time of day at `now`.
    pub(super) day: WallTime,
    /// The probability of an error.
    pub(super) error_chance: f64,
}

#[derive(Debug, Default)]
pub(super) struct Cloud {
    calls: BTreeMap<DeviceId, VecDeque<Duration>>,
    /// The value of each time of each device.
    pub(super) stored: BTreeMap<DeviceId, BTreeMap<WallTime, u64>>,
    refusals: BTreeMap<DeviceId, Refusal>,
    /// Whether the cloud refuses bad values.
    refuses_bad_values: bool,
    pub(super) repeats: u64,
    pub(super) calls_made: u64,
    /// The cloud answers all calls with 503 until then.
    pub(super) unavailable_until: Duration,
    pub(super) unavailable: u64,
    /// The cloud answers all calls of this device with 500.
    pub(super) broken: Option<DeviceId>,
    /// When the first state of each device was stored.
    pub(super) first_stored: BTreeMap<DeviceId, Duration>,
}

/// The cloud answers all calls of a device with this status for some time.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    until: Duration,
    status: u16,
}

pub(super) fn is_bad(value: u64) -> bool {
    value % BAD_EVERY == BAD_EVERY - 1
}

impl Cloud {
    pub(super) fn new(refuses_bad_values: bool) -> Self {
        Self { refuses_bad_values, ..Self::default() }
    }

    /// Handles a call, and checks that it keeps to the throttle and to acceptable times.
    pub(super) fn handle_call(
        &mut self,
        device: DeviceId,
        batch: &[Sent],
        conditions: Conditions,
        rng: &mut StdRng,
    ) -> CallOutcome {
        let Conditions { now, day, error_chance } = conditions;
        self.calls_made += 1;
        let calls = self.calls.entry(device).or_default();
        calls.retain(|call| now.saturating_sub(*call) < WINDOW);
        calls.push_back(now);
        assert!(calls.len() <= CALLS_MAX, "{device} made {} calls in 15 s", calls.len());
        for sent in batch {
            let month = Duration::from_secs(30 * 86_400);
            let is_taken = sent.time > day.minus(month) && sent.time < day.plus(month / 30);
            assert!(is_taken, "{device} sent {}, which is ignored at {day}", sent.time);
        }
        if self.unavailable_until > now {
            self.unavailable += 1;
            let retry_after = rng.random_bool(0.1).then(|| Duration::from_secs(7));
            return answer(503, retry_after);
        }
        if self.broken == Some(device) {
            return answer(500, None);
        }
        if let Some(refusal) = self.refusals.get(&device).filter(|refusal| refusal.until > now) {
            return answer(refusal.status, None);
        }
        if rng.random_bool(error_chance) {
            let status =
                [401, 403, 404, 408, 413, 425, 429, 500, 502, 503, 301, 307, 200, 405, 418]
                    [rng.random_range(0..15)];
            if matches!(status, 403 | 404 | 503) {
                let until = now + Duration::from_secs(rng.random_range(0..120));
                self.refusals.insert(device, Refusal { until, status });
            }
            let retry_after =
                rng.random_bool(0.3).then(|| Duration::from_secs(rng.next_u64() % 40));
            if status == 413 && batch.len() < 20 {
                return answer(500, retry_after);
            }
            return answer(status, retry_after);
        }
        if self.refuses_bad_values && batch.iter().any(|sent| is_bad(sent.value)) {
            return answer(400, None);
        }
        self.first_stored.entry(device).or_insert(now);
        let stored = self.stored.entry(device).or_default();
        for sent in batch {
            let before = stored.insert(sent.time, sent.value);
            assert!(
                before.is_none_or(|before| before == sent.value),
                "{device} sent {} and {before:?} for {}",
                sent.value,
                sent.time
            );
            self.repeats += u64::from(before.is_some());
        }
        CallOutcome::Answer {
            status: 200,
            success: true,
            message: String::new(),
            retry_after: None,
        }
    }
}

fn answer(status: u16, retry_after: Option<Duration>) -> CallOutcome {
    CallOutcome::Answer { status, success: false, message: String::new(), retry_after }
}
