//! Sends the queued states of the outbox to Losant, and deletes the confirmed ones.
//!
//! The task ends once the collector has ended and no more states can be sent, or when `hurry` is
//! cancelled.

mod batch;
mod calls;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::audit::AuditRecorder;
use super::collector::Anchors;
use super::timekeeper::cloud_date;
use crate::declarations::DeclarationReader;
use crate::status::{DeviceRefusal, StatusRegistry};
use batch::{Batch, Checks};
use calls::CallFile;
use tidegate_delivery::reporter::{Call, Disposal, FinishedCall, Limits, Reporter, Waiting};
use tidegate_delivery::response::{CallOutcome, RequestKind, ResponseClass};
use tidegate_losant::{Client, Success};
use tidegate_model::{DeviceId, WallTime};
use tidegate_outbox::{Error, Outbox, QueueSizes};
use tidegate_runtime::clock::{Clock as _, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_runtime::wait;
use tidegate_timing::clock_trust::Boots;
use tidegate_timing::machine::Machine as _;

/// How long queued states may wait without a call in flight or a timer. Longer is a defect.
const IDLE_MAX: Duration = Duration::from_secs(60);

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

/// A call that ended, and its outcome.
struct Sent {
    call: Call,
    batch: Batch,
    outcome: CallOutcome,
    /// Whether Losant may count the call in its throttle.
    may_count: bool,
}

/// The state of the link that was logged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Unknown,
    Online,
    Offline,
    Unauthorized,
}

/// The events of the task.
enum Event {
    Loaded(Call, Batch),
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
        let (calls, mut machine) = self.resume().await;
        let (mut condition, mut is_last_call) = (Condition::Unknown, false);
        let (mut loading, mut under_way) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut limits = self.limits.clone();
        let mut idle = None;
        loop {
            let backlog = self.outbox.queue_sizes();
            update_waiting(&mut machine, &backlog);
            machine.handle_timeout(now());
            if let Some(call) = machine.poll_action() {
                loading.push(self.load(call, boots, &calls));
                continue;
            }
            let timeout = machine.poll_timeout();
            let is_idle = timeout.is_none() && loading.is_empty() && under_way.is_empty();
            if !is_idle || backlog.total.states == 0 {
                idle = None;
            } else if idle.is_none() {
                idle = Some(liveness::deadline(IDLE_MAX, "states wait without a call or a timer"));
            }
            if is_last_call && loading.is_empty() && under_way.is_empty() {
                break;
            }
            let event = tokio::select! {
                Some((call, batch)) = loading.next() => Event::Loaded(call, batch),
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
                Event::Loaded(call, batch) => {
                    machine.handle_loaded(&call, batch.entries.len(), batch.last(), now());
                    under_way.push(self.send(call, batch, &calls));
                }
                Event::Sent(sent) => {
                    if !sent.batch.entries.is_empty() {
                        self.log_condition(&mut condition, &sent.outcome);
                    }
                    self.settle(&mut machine, *sent).await;
                }
                Event::Committed | Event::Timer => {}
                Event::LinkUp => machine.handle_link_up(now()),
                Event::Unblocked => machine.handle_unblocked(now()),
                Event::Limits => {
                    let limits = limits.borrow_and_update().clone();
                    machine.handle_limits(limits, now());
                }
                Event::Flush => machine.handle_flush(now()),
                Event::Closed => {
                    is_last_call = true;
                    machine.handle_drain(now());
                }
            }
        }
    }

    /// Creates the machine with the backlog at the start and the calls of earlier runs.
    async fn resume(&self) -> (Calls, Reporter) {
        let (path, boot) = (self.path.clone(), self.clock.boot());
        let opened = blocking(move || CallFile::open(&path, boot)).await;
        let (calls, remembered) = opened;
        let mut machine = Reporter::new(self.limits.borrow().clone(), random::seeded(), now());
        for (device, waiting) in waiting(&self.found) {
            machine.resume(device, waiting, remembered.pace(device));
        }
        (Arc::new(Mutex::new(calls)), machine)
    }

    /// Reads the states of a call, and records its start in the file of calls.
    async fn load(&self, call: Call, boots: &Arc<Boots>, calls: &Calls) -> (Call, Batch) {
        let (device, limits) = (call.device, self.limits.borrow().clone());
        let prepared = self.prepare(device).await;
        let declaration = self.reader.declaration(device);
        let (outbox, clock) = (Arc::clone(&self.outbox), Arc::clone(&self.clock));
        let (boots, calls) = (Arc::clone(boots), Arc::clone(calls));
        let loaded = blocking(move || {
            let checks =
                Checks { boots: &boots, clock: &*clock, declaration: declaration.as_ref() };
            let mut batch = Batch::load(&outbox, &call, &limits, &checks)?;
            batch.failure = prepared.err();
            if batch.failure.is_some() {
                return Ok(batch);
            }
            if !batch.entries.is_empty() {
                calls.lock().unwrap_or_else(PoisonError::into_inner).begin(device);
            }
            Ok::<_, Error>(batch)
        });
        let batch = loaded.await.unwrap_or_else(|error| {
            error!(%error, device_id = %device, "cannot read the outbox");
            Batch::default()
        });
        (call, batch)
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

    /// Makes a call, and records its end in the file of calls.
    async fn send(&self, call: Call, mut batch: Batch, calls: &Calls) -> Sent {
        let device = call.device;
        if batch.entries.is_empty() {
            let outcome = CallOutcome::NotMade { message: "no states to send".to_owned() };
            return Sent { call, batch, outcome, may_count: false };
        }
        if let Some(outcome) = batch.failure.take() {
            return Sent { call, batch, outcome, may_count: false };
        }
        let sending = self.client.send_state(device, &*batch.states);
        let outcome =
            match liveness::with_deadline(liveness::CALL_MAX, "sending states", sending).await {
                Ok(Success) => CallOutcome::Answer {
                    status: 200,
                    success: true,
                    message: String::new(),
                    retry_after: None,
                },
                Err(error) => error.outcome(),
            };
        let (calls, may_count) = (Arc::clone(calls), outcome.may_count());
        blocking(move || {
            calls.lock().unwrap_or_else(PoisonError::into_inner).end(device, may_count);
        })
        .await;
        Sent { call, batch, outcome, may_count }
    }

    /// Passes the result of a call to the machine, and deletes, keeps or rejects its states.
    async fn settle(&self, machine: &mut Reporter, sent: Sent) {
        let response = ResponseClass::of(RequestKind::Action, &sent.outcome);
        let finished = FinishedCall {
            states: sent.batch.entries.len(),
            last: sent.batch.last(),
            response: response.clone(),
            may_count: sent.may_count,
        };
        let disposal = machine.handle_result(&sent.call, &finished, now());
        Self::log_result(&sent, &response);
        let (device, last) = (sent.call.device, finished.last);
        let outbox = Arc::clone(&self.outbox);
        let done = match (disposal, sent.batch.entries.first().map(|first| first.sequence)) {
            (Disposal::Delete, Some(first)) => {
                self.count_stored(&sent.batch);
                self.audit.record(device, &sent.batch.states, &*self.clock);
                let ignored = sent.batch.ignored;
                blocking(move || outbox.ack_except(device, first, last, &ignored)).await.map(drop)
            }
            (Disposal::Reject, Some(first)) => {
                let time = self.clock.wall_time().unwrap_or(WallTime::EPOCH);
                let why = sent.outcome.message().to_owned();
                blocking(move || outbox.reject(device, first, &why, time)).await
            }
            (Disposal::Delete | Disposal::Keep | Disposal::Reject, _) => Ok(()),
        };
        match done {
            Ok(()) => {}
            Err(Error::TooManyRanges) => machine.handle_scattered(device, now()),
            Err(error) => {
                error!(%error, device_id = %device, "cannot update the outbox; these states are \
                    sent again");
            }
        }
        self.record_refusal(device, &response, &sent.outcome);
        if !sent.batch.entries.is_empty() {
            self.status.set_cloud_link(machine.online(), sent.outcome.message());
        }
        self.status.record_throttle(device, machine.throttle(device).cloned().unwrap_or_default());
    }

    /// Records whether Losant refuses a device.
    fn record_refusal(&self, device: DeviceId, response: &ResponseClass, outcome: &CallOutcome) {
        let refusal = match response {
            ResponseClass::Blocked => {
                let status = match outcome {
                    CallOutcome::Answer { status, .. } => Some(*status),
                    CallOutcome::NoAnswer { .. } | CallOutcome::NotMade { .. } => None,
                };
                Some(DeviceRefusal { status, message: outcome.message().to_owned() })
            }
            ResponseClass::Stored | ResponseClass::TooLarge | ResponseClass::Malformed => None,
            ResponseClass::Throttled(_)
            | ResponseClass::Unauthorized
            | ResponseClass::ServerError(_)
            | ResponseClass::Offline => return,
        };
        self.status.set_device_refusal(device, refusal);
    }

    fn count_stored(&self, batch: &Batch) {
        let readings: u64 = batch.entries.iter().map(|entry| u64::from(entry.readings)).sum();
        let ignored: u64 = batch.ignored.values().flat_map(BTreeMap::values).sum();
        let readings = readings.saturating_sub(ignored);
        self.status.record_delivery(batch.entries.len() as u64, readings);
    }

    /// Logs the result of a call and its consequence.
    fn log_result(sent: &Sent, response: &ResponseClass) {
        let (device, states, error) =
            (sent.call.device, sent.batch.entries.len(), sent.outcome.message());
        if states == 0 {
            return;
        }
        match response {
            ResponseClass::Stored => {
                debug!(device_id = %device, states, "states stored");
            }
            ResponseClass::Offline | ResponseClass::Unauthorized => {
                debug!(error, "cannot send states; retrying");
            }
            ResponseClass::ServerError(_) => {
                warn!(device_id = %device, error, "server error for this device; retrying");
            }
            ResponseClass::Blocked => {
                warn!(device_id = %device, error, "cloud refuses this device; keeping its \
                    readings");
            }
            ResponseClass::Throttled(_) => {
                warn!(device_id = %device, error, "too many calls; pausing this device");
            }
            ResponseClass::TooLarge | ResponseClass::Malformed if states > 1 => {
                info!(device_id = %device, states, error, "batch refused; retrying with half of \
                    it");
            }
            ResponseClass::TooLarge | ResponseClass::Malformed => {
                warn!(device_id = %device, error, "state refused; moved to the rejects");
            }
        }
    }

    /// Logs each change of the link once.
    fn log_condition(&self, condition: &mut Condition, outcome: &CallOutcome) {
        let after = Condition::after(&ResponseClass::of(RequestKind::Action, outcome));
        if std::mem::replace(condition, after) == after {
            return;
        }
        let (error, backlog) = (outcome.message(), self.outbox.queue_sizes().total.states);
        match after {
            Condition::Online => info!(backlog, "cloud online"),
            Condition::Offline => warn!(error, "cloud offline; queueing readings"),
            Condition::Unauthorized => {
                warn!(error, "cloud rejects the credentials; queueing readings");
            }
            Condition::Unknown => {}
        }
    }
}

impl Condition {
    fn after(response: &ResponseClass) -> Self {
        match response {
            ResponseClass::Offline | ResponseClass::ServerError(_) => Self::Offline,
            ResponseClass::Unauthorized => Self::Unauthorized,
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::Throttled(_)
            | ResponseClass::Blocked => Self::Online,
        }
    }
}

/// The file of calls, shared by the calls in flight.
type Calls = Arc<Mutex<CallFile>>;

fn waiting(sizes: &QueueSizes) -> impl Iterator<Item = (DeviceId, Waiting)> {
    sizes.devices.iter().map(|(device, amount)| {
        let last = sizes.last.get(device).copied().unwrap_or_default();
        (*device, Waiting { states: amount.states, bytes: amount.bytes, last })
    })
}

fn update_waiting(machine: &mut Reporter, sizes: &QueueSizes) {
    let now = now();
    waiting(sizes).for_each(|(device, waiting)| machine.handle_waiting(device, waiting, now));
}

/// Runs work that blocks on the disk in another thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    liveness::with_deadline(liveness::DISK_MAX, "waiting for the disk", wait::blocking(work)).await
}

/// Returns the time of tokio's clock, which tests can pause, as the machine expects it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
