//! Maps messages to states and commits them to the outbox in groups.
//!
//! While one commit is written and synced, the collector takes in what arrives; that is the next
//! commit. `schedule` decides when, `committer` uses the disk, `intake` maps.
//!
//! The collector ends after a last commit, once all buses have closed its queue.

mod boot_clock;
mod committer;
mod counters;
mod group;
mod intake;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{debug, info};

use crate::declarations::{self, Declaration, DeclarationUpdates, Declarations};
use crate::status::StatusRegistry;
pub use boot_clock::{Anchors, BootClock, stored_boots};
use committer::{Committer, Finished};
use intake::{Intake, IntakeContext};
use schedule::{Intervals, Situation, Step};
use tidegate_bus::{EventReceiver, Handles, LossCounters, QueuedEvent};
use tidegate_delivery::reporter::Limits;
use tidegate_ingest::mapping::Pipeline;
use tidegate_model::Name;
use tidegate_outbox::{Commit, Outbox};
use tidegate_runtime::wait::sleep_until;

/// The most events that are taken from the queue at once.
const EVENTS_AT_ONCE: usize = 64;

/// The shortest time between two updates of the statistics of sensors in the status. Commits may
/// come more often.
const STATISTICS_INTERVAL: Duration = Duration::from_millis(20);

/// What a collector needs.
pub struct CollectorContext {
    /// The pipeline of each bus.
    pub pipelines: BTreeMap<Name, Pipeline>,
    /// The outbox to which states are appended.
    pub outbox: Arc<Outbox>,
    /// The boots in which the time of day was unknown.
    pub boot_clock: BootClock,
    /// The losses that the buses count.
    pub losses: LossCounters,
    /// The longest time that a reading waits until it is written.
    pub commit_interval: Duration,
    /// The longest time that a reading waits until it is synced, unless Losant has it before.
    ///
    /// Up to the commit interval, each commit is synced.
    pub sync_interval: Duration,
    /// Has the window in which readings of a device are merged.
    pub limits: watch::Receiver<Limits>,
    /// The buses, for requests to Sparkplug B nodes.
    pub handles: watch::Receiver<Handles>,
    /// Counts the commits.
    pub committed: watch::Sender<u64>,
    /// Notified when Losant has confirmed states.
    pub confirmed: Arc<Notify>,
    /// The status to update with each commit.
    pub status: StatusRegistry,
    /// The attributes that devices declare in Losant.
    pub declarations: DeclarationUpdates,
}

/// Maps messages and commits states.
pub struct Collector {
    outbox: Arc<Outbox>,
    intervals: Intervals,
    confirmed: Arc<Notify>,
    status: StatusRegistry,
    declarations: DeclarationUpdates,
    intake: Intake,
    committer: Committer,
    /// The time of the last update of the statistics.
    statistics_at: Instant,
    /// The time of the next one; `None` if nothing has changed.
    statistics_due: Option<Instant>,
}

impl Collector {
    /// Creates a collector that continues with the content of the outbox.
    pub fn new(context: CollectorContext) -> Self {
        let CollectorContext { pipelines, outbox, boot_clock, losses, limits, handles, .. } =
            context;
        let CollectorContext { committed, confirmed, status, declarations, .. } = context;
        let (commit, sync) = (context.commit_interval, context.sync_interval);
        status.set_loss_window(sync.max(commit));
        // A change that was read before this start is not marked as seen: it is enforced, and
        // published, by the loop.
        let declared = Arc::new(declarations.read.borrow().clone());
        let context = IntakeContext {
            pipelines,
            boot_clock,
            losses,
            limits,
            handles,
            declared,
            status: status.clone(),
        };
        let intake = Intake::new(context, &outbox, now());
        let committer = Committer::new(Arc::clone(&outbox), status.clone(), committed);
        let intervals = Intervals { commit, sync };
        Self {
            outbox,
            intervals,
            confirmed,
            status,
            declarations,
            intake,
            committer,
            statistics_at: Instant::now(),
            statistics_due: None,
        }
    }

    /// Runs until the queue ends.
    pub async fn run(mut self, mut events: EventReceiver) {
        let mut anchor = self.intake.boot_clock.anchor();
        anchor.mark_changed();
        let confirmed = Arc::clone(&self.confirmed);
        let mut arrived = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            let wake = self.use_disk();
            // A full group waits for the disk, and the queue for the group.
            let has_room = !(self.committer.is_busy() && self.intake.group().is_full());
            let timeout = self.intake.poll_timeout().map(Instant::from_std);
            tokio::select! {
                count = events.recv_many(&mut arrived, EVENTS_AT_ONCE), if has_room => {
                    if count == 0 {
                        break;
                    }
                    self.apply(&mut arrived);
                }
                finished = self.committer.finish() => self.handle_finished(finished),
                () = confirmed.notified() => {}
                () = sleep_until(wake) => {}
                () = sleep_until(timeout) => self.handle_timeout(),
                () = sleep_until(self.statistics_due) => self.update_sensor_status(),
                Ok(()) = self.declarations.read.changed() => self.enforce_declarations().await,
                Ok(()) = anchor.changed() => {
                    if let Some(anchor_ms) = *anchor.borrow_and_update() {
                        self.intake.handle_anchor(anchor_ms, now());
                    }
                }
            }
        }
        self.finish().await;
    }

    fn apply(&mut self, arrived: &mut Vec<QueuedEvent>) {
        for queued in arrived.drain(..) {
            self.intake.apply(queued.event, now());
        }
        self.schedule_statistics();
    }

    fn handle_timeout(&mut self) {
        self.intake.handle_timeout(now());
        self.schedule_statistics();
    }

    fn schedule_statistics(&mut self) {
        let due = self.statistics_at + STATISTICS_INTERVAL;
        self.statistics_due.get_or_insert_with(|| due.max(Instant::now()));
    }

    /// Sends what is safe, and starts the next use of the disk. Returns when to look again.
    fn use_disk(&mut self) -> Option<Instant> {
        self.send_safe();
        if self.committer.is_busy() {
            return None;
        }
        let group = self.intake.group();
        let situation = Situation {
            group_since: group.since(),
            is_full: group.is_full(),
            is_awaited: group.is_awaited(),
            unsynced_since: self.committer.unsafe_since(),
            session_due: self.intake.session_due(self.is_patient()),
            retry_at: self.committer.retry_at(),
        };
        match self.intervals.next(situation, now()) {
            Step::Commit { is_synced } => self.start_commit(is_synced),
            Step::Sync => self.committer.start_sync(),
            Step::Wait(until) => return until.map(Instant::from_std),
        }
        None
    }

    fn start_commit(&mut self, is_synced: bool) {
        let (commit, notices, has_anchors) = self.intake.take_commit();
        self.committer.start_commit(commit, notices, is_synced || has_anchors);
    }

    /// Returns whether Losant probably confirms readings before their sync is due.
    fn is_patient(&self) -> bool {
        self.intervals.delay_syncs() && self.status.is_online()
    }

    /// Commits everything that has arrived, and syncs it.
    async fn commit_all(&mut self) {
        while self.committer.is_busy() {
            self.finish_disk_use().await;
        }
        self.start_commit(true);
        self.finish_disk_use().await;
    }

    fn handle_finished(&self, finished: Finished) {
        if finished == Finished::Commit {
            self.intake.boot_clock.committed();
        }
    }

    /// Waits for the write or sync under way, and sends what is safe then.
    async fn finish_disk_use(&mut self) {
        let finished = self.committer.finish().await;
        self.handle_finished(finished);
        self.send_safe();
    }

    /// Sends the notices of the commits whose states are safe.
    fn send_safe(&mut self) {
        for notices in self.committer.take_safe() {
            self.intake.release(notices, now());
        }
    }

    async fn finish(mut self) {
        self.intake.handle_stop(now());
        self.commit_all().await;
        // Acknowledgements of messages without states may still wait for the sync of earlier ones.
        self.committer.start_sync();
        self.finish_disk_use().await;
        // Connected brokers receive the acknowledgements now and redeliver none of the messages.
        self.intake.handle_acknowledged_all(now());
        self.commit_all().await;
        self.update_sensor_status();
        info!("collector stopped");
    }

    /// Checks new values against the attributes that were read from Losant. States that were queued
    /// before are checked when they are sent.
    async fn enforce_declarations(&mut self) {
        self.commit_all().await;
        let read = self.declarations.read.borrow_and_update().clone();
        let last = self.outbox.queue_sizes().last;
        let enforced = Arc::clone(&self.declarations.enforced.borrow());
        let mut changed = Declarations::new();
        for (device, attributes) in &read {
            if enforced.get(device).is_none_or(|one| one.attributes != *attributes) {
                let unchecked_through = last.get(device).copied().unwrap_or_default();
                let attributes = Arc::clone(attributes);
                changed.insert(*device, Declaration { attributes, unchecked_through });
            }
        }
        let rows = changed.iter().map(|(device, one)| declarations::row(*device, one)).collect();
        let rows = [(declarations::TABLE, rows)].into();
        // A row that a power cut takes is read again, so it needs no sync of its own.
        if let Err(error) = self.committer.write_rows(Commit { rows, ..Commit::default() }).await {
            debug!(%error, "cannot keep the attributes of devices; reading them at the next start");
        }
        self.intake.handle_declared(Arc::new(read));
        for (device, Declaration { attributes, .. }) in &changed {
            let attributes = attributes.len();
            debug!(device_id = %device, attributes, "values are checked against the attributes");
        }
        let enforced = &self.declarations.enforced;
        enforced.send_modify(|enforced| Arc::make_mut(enforced).extend(changed));
        // A misfit may be over without a further message.
        self.update_sensor_status();
    }

    /// Copies the statistics of the sensors that have changed into the status.
    fn update_sensor_status(&mut self) {
        (self.statistics_at, self.statistics_due) = (Instant::now(), None);
        for (bus, pipeline) in &mut self.intake.pipelines {
            self.status.update_sensors(bus, pipeline.take_changed_stats());
        }
    }
}

/// Returns the time of tokio's clock, which tests can pause, as the machines expect it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
