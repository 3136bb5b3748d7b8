//! What may go wrong in a world, and what did.

use std::time::Duration;

/// What may go wrong.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) devices: u8,
    /// How many states wait for each device at the start.
    pub(super) backlog: u64,
    /// How long an answer takes, about.
    pub(super) answer_time: Duration,
    /// How long the rough part is.
    pub(super) length: Duration,
    pub(super) is_rough: bool,
    /// Little goes wrong but kills and short reboots, so that these come while all calls are used.
    pub(super) is_busy: bool,
}

impl Weather {
    pub(super) fn calm() -> Self {
        Self {
            devices: 1,
            backlog: 0,
            answer_time: Duration::from_millis(100),
            length: Duration::ZERO,
            is_rough: false,
            is_busy: false,
        }
    }

    pub(super) fn busy() -> Self {
        let length = Duration::from_secs(400);
        Self { backlog: 20_000, length, is_busy: true, ..Self::rough() }
    }

    pub(super) fn rough() -> Self {
        let length = Duration::from_secs(1_800);
        Self { devices: 3, backlog: 300, length, is_rough: true, ..Self::calm() }
    }
}

/// What happened.
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
    pub(super) use_while_draining: f64,
    pub(super) live_delay_max: Duration,
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
    }

    /// Whether there was some of everything.
    pub(super) fn is_eventful(&self) -> bool {
        let least = [self.repeats, self.rejected, self.time_refused, self.kills, self.boots];
        self.boots_without_time > 0 && least.iter().all(|count| *count > 10)
    }
}
