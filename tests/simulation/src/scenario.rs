//! The faults that a simulated world may have, and the figures of a run.

use std::time::Duration;

/// The size and the faults of a simulated world.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) devices: u8,
    /// Number of states that wait for each device at the start.
    pub(super) backlog: u64,
    /// Typical time of the cloud's answers.
    pub(super) answer_time: Duration,
    /// Duration of the part with faults.
    pub(super) length: Duration,
    pub(super) has_faults: bool,
    /// The faults are mainly kills and short reboots, so that they happen at full throughput.
    pub(super) is_busy: bool,
    /// The cloud answers all calls with 503 until then.
    pub(super) unavailable_until: Duration,
    /// The cloud answers each call of the first device with 500, while there are faults or always
    /// in a world without faults.
    pub(super) has_broken_device: bool,
}

impl Scenario {
    pub(super) fn without_faults() -> Self {
        Self {
            devices: 1,
            backlog: 0,
            answer_time: Duration::from_millis(100),
            length: Duration::ZERO,
            has_faults: false,
            is_busy: false,
            unavailable_until: Duration::ZERO,
            has_broken_device: false,
        }
    }

    pub(super) fn busy() -> Self {
        let length = Duration::from_secs(400);
        Self { backlog: 20_000, length, is_busy: true, ..Self::with_faults() }
    }

    pub(super) fn with_faults() -> Self {
        let length = Duration::from_secs(1_800);
        Self { devices: 3, backlog: 300, length, has_faults: true, ..Self::without_faults() }
    }
}

/// The figures of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) readings: u64,
    pub(super) calls: u64,
    pub(super) repeats: u64,
    pub(super) rejected: u64,
    pub(super) time_refused: u64,
    pub(super) kills: u64,
    pub(super) boots: u64,
    pub(super) boots_without_time: u64,
    pub(super) throttle_use: f64,
    pub(super) live_delay_max: Duration,
    /// Calls that were answered 503 because the whole cloud was unavailable.
    pub(super) unavailable: u64,
    /// The time between the first and the last of the devices' first stored states.
    pub(super) first_stored_spread: Duration,
}

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        self.readings += other.readings;
        self.calls += other.calls;
        self.repeats += other.repeats;
        self.rejected += other.rejected;
        self.time_refused += other.time_refused;
        self.kills += other.kills;
        self.boots += other.boots;
        self.boots_without_time += other.boots_without_time;
        self.unavailable += other.unavailable;
    }

    /// Returns whether each kind of event happened.
    pub(super) fn is_eventful(&self) -> bool {
        let least = [
            self.repeats,
            self.rejected,
            self.time_refused,
            self.kills,
            self.boots,
            self.unavailable,
        ];
        self.boots_without_time > 0 && least.iter().all(|count| *count > 10)
    }
}
