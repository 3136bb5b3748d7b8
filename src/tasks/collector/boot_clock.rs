//! Remembers the boots in which readings were taken without the time of day.
//!
//! All boots get their anchors as soon as the time of day is known. The anchors reach the disk
//! before the reporter receives them, so that no state is ever sent with two times.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{info, warn};

use tidegate_model::{BootId, BootTime, ReadingTime, WallTime};
use tidegate_outbox::{Error, Outbox, RowChange};
use tidegate_runtime::clock::{TrustedClock, uptime};
use tidegate_timing::clock_trust::{Boot, Boots};
use tidegate_timing::unique_timestamps::UniqueTimestamps;

/// The outbox table with the known boots.
pub(super) const TABLE: &str = "boots";

/// The anchors of all boots, once they are on disk. The reporter waits for them.
pub type Anchors = watch::Receiver<Option<Arc<Boots>>>;

/// Reads the boots from the outbox.
///
/// # Errors
/// When the outbox cannot be read.
pub fn stored_boots(outbox: &Outbox) -> Result<Boots, Error> {
    let boots = outbox.rows(TABLE)?.into_iter().filter_map(|(_, value)| {
        let boot = serde_json::from_slice::<Boot>(&value);
        boot.inspect_err(|error| warn!(%error, "ignoring a damaged record of a boot")).ok()
    });
    Ok(Boots::restored(boots.collect()))
}

/// Gives boots their anchors, and the outbox the changes of its records.
pub struct BootClock {
    clock: Arc<TrustedClock>,
    boots: Boots,
    /// The latest time of the states from before this boot.
    floor: WallTime,
    is_anchored: bool,
    changes: Vec<RowChange>,
    anchors: watch::Sender<Option<Arc<Boots>>>,
}

impl BootClock {
    /// Continues with the stored boots. The second value receives the anchors.
    pub fn new(clock: Arc<TrustedClock>, boots: Boots, outbox: &Outbox) -> (Self, Anchors) {
        let floor = outbox.latest().into_values().max().unwrap_or(WallTime::EPOCH);
        let (anchors, receiver) = watch::channel(None);
        let changes = Vec::new();
        (Self { clock, boots, floor, is_anchored: false, changes, anchors }, receiver)
    }

    /// Creates timestamps that continue after the states of earlier runs.
    pub(super) fn timestamps(&self, outbox: &Outbox) -> UniqueTimestamps {
        let boot = self.boots.get(self.boot());
        UniqueTimestamps::after(outbox.latest(), boot.map(Boot::last))
    }

    /// Watches the time of day at uptime 0, in milliseconds since the Unix epoch.
    pub(super) fn anchor(&self) -> watch::Receiver<Option<i64>> {
        self.clock.anchor()
    }

    /// Returns the current boot.
    pub(super) fn boot(&self) -> BootId {
        self.clock.boot()
    }

    /// Records the time of a state if it is a boot time of the current boot.
    pub(super) fn record(&mut self, time: ReadingTime) {
        if let ReadingTime::Boot(time) = time
            && time.boot == self.boot()
        {
            self.record_boot_time(time);
        }
    }

    fn record_boot_time(&mut self, time: BootTime) {
        let recorded = self.boots.record(time, self.floor);
        self.changes.extend(recorded.forgotten.map(|boot| (key(&boot), None)));
        self.changes.extend(recorded.changed.iter().map(change));
    }

    /// Takes the changes that the next commit writes.
    pub(super) fn take_changes(&mut self) -> Vec<RowChange> {
        let anchor_ms = *self.anchor().borrow();
        if let Some(anchor_ms) = anchor_ms.filter(|_| !self.is_anchored) {
            let boot = self.boot();
            self.record_boot_time(BootTime::new(boot, uptime()));
            self.changes.extend(self.boots.pin(boot, anchor_ms).iter().map(change));
            self.is_anchored = true;
        }
        std::mem::take(&mut self.changes)
    }

    /// Passes the anchors on to the reporter once a commit has written them.
    pub(super) fn committed(&self) {
        if self.is_anchored && self.anchors.borrow().is_none() {
            info!("clock synchronised; buffered readings have timestamps");
            self.anchors.send_replace(Some(Arc::new(self.boots.clone())));
        }
    }
}

fn key(boot: &Boot) -> Vec<u8> {
    boot.id.0.to_be_bytes().to_vec()
}

fn change(boot: &Boot) -> RowChange {
    (key(boot), Some(serde_json::to_vec(boot).unwrap_or_default()))
}
