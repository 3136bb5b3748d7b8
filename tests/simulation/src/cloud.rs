//! A cloud that counts and remembers, and that answers as badly as the weather says.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use tidegate_delivery::response::Outcome;
use tidegate_model::{DeviceId, WallTime};

/// Losant's throttle, exactly.
const CALLS_MAX: usize = 30;
const WINDOW: Duration = Duration::from_secs(15);

/// Every so many values there is one that the cloud refuses.
const BAD_EVERY: u64 = 497;

/// A state as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) sequence: u64,
    pub(super) time: WallTime,
    pub(super) value: u64,
}

#[derive(Debug, Default)]
pub(super) struct Cloud {
    calls: BTreeMap<DeviceId, VecDeque<Duration>>,
    /// For each device and time, the value.
    pub(super) stored: BTreeMap<DeviceId, BTreeMap<WallTime, u64>>,
    /// Until when a device is refused, and with what.
    refused: BTreeMap<DeviceId, (Duration, u16)>,
    /// Whether it refuses bad values.
    is_picky: bool,
    pub(super) repeats: u64,
    pub(super) calls_made: u64,
}

pub(super) fn is_bad(value: u64) -> bool {
    value % BAD_EVERY == BAD_EVERY - 1
}

impl Cloud {
    pub(super) fn new(is_picky: bool) -> Self {
        Self { is_picky, ..Self::default() }
    }

    /// A call arrives at `now`, which by the true time of day is `day`.
    pub(super) fn take(
        &mut self,
        device: DeviceId,
        batch: &[Sent],
        (now, day): (Duration, WallTime),
        (trouble, rng): (f64, &mut StdRng),
    ) -> Outcome {
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
        if let Some((_, status)) = self.refused.get(&device).filter(|(until, _)| *until > now) {
            return answer(*status, None);
        }
        if rng.random_bool(trouble) {
            let status =
                [401, 403, 404, 408, 413, 425, 429, 500, 502, 503, 301, 307, 200, 405, 418]
                    [rng.random_range(0..15)];
            if matches!(status, 403 | 404 | 503) {
                let until = now + Duration::from_secs(rng.random_range(0..120));
                self.refused.insert(device, (until, status));
            }
            let retry_after =
                rng.random_bool(0.3).then(|| Duration::from_secs(rng.next_u64() % 40));
            if status == 413 && batch.len() < 20 {
                return answer(500, retry_after);
            }
            return answer(status, retry_after);
        }
        if self.is_picky && batch.iter().any(|sent| is_bad(sent.value)) {
            return answer(400, None);
        }
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
        Outcome::Answer { status: 200, success: true, message: String::new(), retry_after: None }
    }
}

fn answer(status: u16, retry_after: Option<Duration>) -> Outcome {
    Outcome::Answer { status, success: false, message: String::new(), retry_after }
}
