//! Sends the queued states of the outbox to Losant, and deletes the confirmed ones.
//!
//! A call is one future: it is sent, and then its states are deleted, kept or rejected, so the loop
//! of the task never waits for the disk. The machine counts the call as in flight until both are
//! done, so no state is read while it is being deleted.
//!
//! The task ends once the collector has ended and no more states can be sent, or when `hurry` is
//! cancelled.

mod batch;
mod calls;
mod kept;
mod log;
mod sending;
mod waiting;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::audit::AuditRecorder;
use super::collector::Anchors;
use super::timekeeper::cloud_date;
use crate::declarations::{Declaration, DeclarationReader};
use crate::status::StatusRegistry;
use batch::{Batch, Checks};
use calls::CallFile;
use kept::{Kept, KeptBatches};
use log::{Condition, log_result};
use tidegate_delivery::reporter::{Call, FinishedCall, Limits, Reporter};
use tidegate_delivery::response::CallOutcome;
use tidegate_losant::Client;
use tidegate_model::DeviceId;
use tidegate_outbox::{Error, Outbox, QueueSizes};
use tidegate_runtime::clock::{Clock as _, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_runtime::wait;
use tidegate_timing::clock_trust::Boots;
use tidegate_timing::machine::Machine as _;
use waiting::{ChangedQueue, WaitingStates};

/// How long queued states may wait without a call in flight or a timer. Longer is a defect.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The most threads that read and write for the reporter. The outbox has one lock, so more would
/// only wait.
const DISK_THREADS_MAX: usize = 2;

/// The reporter's task.
pub struct ReporterTask {
    /// The connection to Losant.
    pub client: Arc<Client>,
    /// Holds the queued states.
    pub outbox: Arc<Outbox>,
    /// The backlog at the start of the daemon.
    pub found: QueueSizes,
    /// Counts the commits. It closes when the collector has ended.
    pub committed: watch::Receiver<u64>,
    /// Notified when Losant has confirmed states and they have left the outbox.
    pub confirmed: Arc<Notify>,
    /// The settings of the machine. A reload changes them.
    pub limits: watch::Receiver<Limits>,
    /// Cancelled when a stop has no more time for calls in flight.
    pub hurry: CancellationToken,
    /// Requests that all waiting states are sent at once.
    pub flush: Arc<Notify>,
    /// The path of the outbox. The file of calls is beside it.
    pub path: PathBuf,
    /// The time of day. Losant ignores states that are too old or too far ahead.
    pub clock: Arc<TrustedClock>,
    /// The anchors of all boots. The reporter waits for them before its first call.
    pub anchors: Anchors,
    /// Reads the attributes that devices declare.
    pub reader: Arc<DeclarationReader>,
    /// Receives the confirmed states.
    pub audit: AuditRecorder,
    /// Receives the results of batches.
    pub status: StatusRegistry,
}

/// What all calls share.
struct Shared {
    boots: Arc<Boots>,
    /// The file of calls.
    calls: Arc<Mutex<CallFile>>,
    disk: Disk,
}

/// Runs work that blocks on the disk in other threads, [`DISK_THREADS_MAX`] at a time.
struct Disk {
    threads: Semaphore,
}

/// The memory of the task.
struct Progress {
    machine: Reporter,
    waiting: WaitingStates,
    kept: KeptBatches,
    condition: Condition,
}

/// A call whose states are loaded.
struct Loaded {
    call: Call,
    batch: Batch,
    /// What the states were checked against.
    declaration: Option<Declaration>,
    limits: Limits,
}

/// A call that ended, and its outcome.
struct Sent {
    call: Call,
    outcome: CallOutcome,
    finished: FinishedCall,
    /// The batch, if its states stay queued.
    kept: Option<Kept>,
    /// Whether the outbox deleted or rejected the states, where it had to.
    done: Result<(), Error>,
}

/// The events of the task.
enum Event {
    Loaded(Box<Loaded>),
    Sent(Box<Sent>),
    Committed,
    Timer,
    LinkUp,
    Unblocked,
    Limits,
    Flush,
    Closed,
}

impl ReporterTask {
    /// Runs until the collector has ended and no more states can be sent.
    pub async fn run(mut self) {
        let hurry = self.hurry.clone();
        hurry.run_until_cancelled(self.wait_and_report()).await;
        let left = self.outbox.queue_sizes().total;
        info!(states = left.states, "reporter stopped; the remaining states stay in the outbox");
    }

    /// Waits for the time of day, and then reports.
    ///
    /// Without it a queued state has no time, or may be too old for Losant.
    async fn wait_and_report(&mut self) {
        let (mut anchors, mut committed) = (self.anchors.clone(), self.committed.clone());
        let known = loop {
            tokio::select! {
                known = anchors.wait_for(Option::is_some) => break known,
                changed = committed.changed() => if changed.is_err() { return },
            }
        };
        let Some(boots) = known.ok().and_then(|known| known.clone()) else { return };
        drop(anchors);
        self.report(&boots, committed).await;
    }

    async fn report(&self, boots: &Arc<Boots>, mut committed: watch::Receiver<u64>) {
        let (shared, mut progress) = self.resume(boots).await;
        let (mut loading, mut under_way) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut limits = self.limits.clone();
        let (mut idle, mut is_last_call) = (None, false);
        loop {
            progress.update(&self.outbox);
            let Progress { machine, waiting, kept, .. } = &mut progress;
            machine.handle_timeout(now());
            if let Some(call) = machine.poll_action() {
                let batch = kept.take(&call, &self.limits.borrow());
                loading.push(self.load(call, batch, &shared));
                continue;
            }
            let timeout = machine.poll_timeout();
            let is_idle = timeout.is_none() && loading.is_empty() && under_way.is_empty();
            if !is_idle || waiting.states() == 0 {
                idle = None;
            } else if idle.is_none() {
                idle = Some(liveness::deadline(IDLE_MAX, "states wait without a call or a timer"));
            }
            if is_last_call && loading.is_empty() && under_way.is_empty() {
                break;
            }
            let event = tokio::select! {
                Some(loaded) = loading.next() => Event::Loaded(Box::new(loaded)),
                Some(sent) = under_way.next() => Event::Sent(Box::new(sent)),
                changed = committed.changed(), if !is_last_call => {
                    if changed.is_ok() { Event::Committed } else { Event::Closed }
                }
                () = self.client.recovered() => Event::LinkUp,
                () = self.reader.shown_again() => Event::Unblocked,
                // At a stop the sender is dropped, and the limits no longer change.
                Ok(()) = limits.changed() => Event::Limits,
                () = self.flush.notified() => Event::Flush,
                () = wait::sleep_until(timeout.map(Instant::from_std)) => Event::Timer,
            };
            match event {
                Event::Loaded(loaded) => {
                    progress.handle_loaded(&loaded);
                    under_way.push(self.send(*loaded, &shared));
                }
                Event::Sent(sent) => {
                    self.handle_sent(&mut progress.machine, &sent);
                    progress.handle_sent(*sent);
                }
                Event::Committed | Event::Timer => {}
                Event::LinkUp => progress.machine.handle_link_up(now()),
                Event::Unblocked => progress.machine.handle_unblocked(now()),
                Event::Limits => {
                    let limits = limits.borrow_and_update().clone();
                    progress.machine.handle_limits(limits, now());
                }
                Event::Flush => progress.machine.handle_flush(now()),
                Event::Closed => {
                    is_last_call = true;
                    progress.machine.handle_drain(now());
                }
            }
        }
    }

    /// Creates the machine with the backlog at the start and the calls of earlier runs.
    async fn resume(&self, boots: &Arc<Boots>) -> (Shared, Progress) {
        let (path, boot) = (self.path.clone(), self.clock.boot());
        let disk = Disk { threads: Semaphore::new(DISK_THREADS_MAX) };
        let (calls, remembered) = disk.run(move || CallFile::open(&path, boot)).await;
        let mut machine = Reporter::new(self.limits.borrow().clone(), random::seeded(), now());
        for (device, waiting) in waiting::waiting(&self.found) {
            machine.resume(device, waiting, remembered.pace(device));
        }
        let (boots, calls) = (Arc::clone(boots), Arc::new(Mutex::new(calls)));
        let progress = Progress {
            machine,
            waiting: WaitingStates::new(&self.found),
            kept: KeptBatches::default(),
            condition: Condition::Unknown,
        };
        (Shared { boots, calls, disk }, progress)
    }

    /// Reads the states of a call unless they are `kept`, and records its start in the file of
    /// calls.
    async fn load(&self, call: Call, kept: Option<Kept>, shared: &Shared) -> Loaded {
        let (device, limits) = (call.device, self.limits.borrow().clone());
        let prepared = self.prepare(device).await;
        let declaration = self.reader.declaration(device);
        let kept = kept.filter(|kept| kept.declaration == declaration).map(|kept| kept.batch);
        let (outbox, clock) = (Arc::clone(&self.outbox), Arc::clone(&self.clock));
        let (boots, calls) = (Arc::clone(&shared.boots), Arc::clone(&shared.calls));
        let loaded = shared.disk.run(move || {
            let checks =
                Checks { boots: &boots, clock: &*clock, declaration: declaration.as_ref() };
            let batch = match kept.filter(|kept| kept.is_taken(&checks)) {
                Some(batch) => Ok(batch),
                None => Batch::load(&outbox, &call, &limits, &checks),
            };
            let batch = batch.map(|mut batch| {
                batch.failure = prepared.err();
                batch
            });
            if batch.as_ref().is_ok_and(|batch| batch.failure.is_none() && batch.states > 0) {
                calls.lock().unwrap_or_else(PoisonError::into_inner).begin(device);
            }
            (batch, declaration, limits)
        });
        let (batch, declaration, limits) = loaded.await;
        let batch = batch.unwrap_or_else(|error| {
            error!(%error, device_id = %device, "cannot read the outbox");
            Batch::default()
        });
        Loaded { call, batch, declaration, limits }
    }

    /// Finds out what the states of a device are checked against: the date of Losant, and the
    /// attributes of the device.
    ///
    /// # Errors
    /// The outcome of the call, if Losant cannot be reached.
    async fn prepare(&self, device: DeviceId) -> Result<(), CallOutcome> {
        if self.clock.cloud_time().is_none() {
            // The answer to the token request has the date.
            let token = self.client.application();
            let token = liveness::with_deadline(liveness::CALL_MAX, "authenticating", token);
            token.await.map_err(|error| error.outcome())?;
            if let Some(date) = *self.client.dates().borrow() {
                self.clock.add_cloud_date(cloud_date(&date));
            }
        }
        self.reader.ensure(device).await
    }
}

impl Progress {
    /// Passes the queues that changed to the machine.
    fn update(&mut self, outbox: &Outbox) {
        for ChangedQueue { device, waiting, is_shorter } in self.waiting.update(outbox) {
            self.machine.handle_waiting(device, waiting, now());
            if is_shorter {
                self.kept.forget(device);
            }
        }
    }

    fn handle_loaded(&mut self, loaded: &Loaded) {
        let Batch { states, last, .. } = loaded.batch;
        self.machine.handle_loaded(&loaded.call, states, last, now());
    }

    fn handle_sent(&mut self, sent: Sent) {
        if sent.finished.states > 0 {
            self.condition.update(&self.machine, &sent, self.waiting.states());
            log_result(&self.machine, &sent);
        }
        if let Some(kept) = sent.kept {
            self.kept.add(kept);
        } else {
            // The machine expects that the states have left the queue.
            self.waiting.report_again(sent.call.device);
        }
    }
}

impl Disk {
    /// Runs work in another thread.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let work = async {
            let permit = self.threads.acquire().await;
            let result = wait::blocking(work).await;
            drop(permit);
            result
        };
        liveness::with_deadline(liveness::DISK_MAX, "waiting for the disk", work).await
    }
}

/// Returns the time of tokio's clock, which tests can pause, as the machine expects it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
