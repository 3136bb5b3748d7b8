//! When readings were taken: the moments of states, and what the outbox remembers of boots without a time of day.
//!
//! The moment that the time becomes known, all boots get their anchors. These are brought to the disk before the reporter
//! hears of them, so that no state is ever sent with two times.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{info, warn};

use tidegate_model::{BootId, BootTime, ReadingTime, WallTime};
use tidegate_outbox::{Error, NoteChange, Outbox};
use tidegate_runtime::clock::{TrustedClock, uptime};
use tidegate_timing::clock_trust::{Boot, Boots};
use tidegate_timing::unique_timestamps::UniqueTimestamps;

/// The table of notes that remembers the boots.
pub(super) const TABLE: &str = "boots";

/// The anchors of all boots, once they are on the disk; the reporter waits for them.
pub type Anchors = watch::Receiver<Option<Arc<Boots>>>;

/// The boots that the outbox remembers.
///
/// # Errors
/// When the outbox cannot be read.
pub fn remembered(outbox: &Outbox) -> Result<Boots, Error> {
    let boots = outbox.notes(TABLE)?.into_iter().filter_map(|(_, value)| {
        let boot = serde_json::from_slice::<Boot>(&value);
        boot.inspect_err(|error| warn!(%error, "a boot cannot be understood; it is left out")).ok()
    });
    Ok(Boots::restored(boots.collect()))
}

/// What the collector knows of time.
pub struct BootClock {
    clock: Arc<TrustedClock>,
    boots: Boots,
    /// The latest time of what was stored before this boot.
    floor: WallTime,
    is_pinned: bool,
    changes: Vec<NoteChange>,
    anchors: watch::Sender<Option<Arc<Boots>>>,
}

impl BootClock {
    /// Goes on with the boots that are remembered. What is known of the time is told to the second.
    pub fn new(clock: Arc<TrustedClock>, boots: Boots, outbox: &Outbox) -> (Self, Anchors) {
        let floor = outbox.latest().into_values().max();
        let floor = floor.unwrap_or(WallTime::EPOCH);
        let (anchors, told) = watch::channel(None);
        let changes = Vec::new();
        (Self { clock, boots, floor, is_pinned: false, changes, anchors }, told)
    }

    /// Creates timestamps that continue after the states of earlier runs.
    pub(super) fn stamps(&self, outbox: &Outbox) -> UniqueTimestamps {
        let boot = self.boots.get(self.clock.boot());
        UniqueTimestamps::after(outbox.latest(), boot.map(Boot::last))
    }

    /// The time of day at uptime 0 as it was first known; `None` until it is.
    pub(super) fn learned(&self) -> watch::Receiver<Option<i64>> {
        self.clock.learned()
    }

    /// Returns the boot of this run.
    pub(super) fn boot(&self) -> BootId {
        self.clock.boot()
    }

    /// Remembers the time of a state if it is a boot time of this boot.
    pub(super) fn record(&mut self, time: ReadingTime) {
        if let ReadingTime::Boot(time) = time
            && time.boot == self.clock.boot()
        {
            self.note(time);
        }
    }

    fn note(&mut self, time: BootTime) {
        let (changed, gone) = self.boots.note(time, self.floor);
        self.changes.extend(gone.map(|boot| (key(&boot), None)));
        self.changes.extend(changed.iter().map(change));
    }

    /// What the next commit has to write of it.
    pub(super) fn changes(&mut self) -> Vec<NoteChange> {
        let learned = *self.clock.learned().borrow();
        if let Some(anchor_ms) = learned.filter(|_| !self.is_pinned) {
            let boot = self.clock.boot();
            self.note(BootTime::new(boot, uptime()));
            self.changes.extend(self.boots.pin(boot, anchor_ms).iter().map(change));
            self.is_pinned = true;
        }
        std::mem::take(&mut self.changes)
    }

    /// A commit is on the disk.
    pub(super) fn committed(&self) {
        if self.is_pinned && self.anchors.borrow().is_none() {
            info!("readings without a time have one now, if there were any; states may be sent");
            self.anchors.send_replace(Some(Arc::new(self.boots.clone())));
        }
    }
}

fn key(boot: &Boot) -> Vec<u8> {
    boot.id.0.to_be_bytes().to_vec()
}

fn change(boot: &Boot) -> NoteChange {
    (key(boot), Some(serde_json::to_vec(boot).unwrap_or_default()))
}
