//! Brings what waits in the outbox to the cloud, and deletes what the cloud confirmed.
//!
//! It ends when no more will come and nothing more can be sent now, or when it is told to hurry.

mod batch;
mod calls;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::collector::Anchors;
use crate::status::StatusRegistry;
use batch::Batch;
use calls::CallFile;
use tidegate_delivery::reporter::{Call, Disposal, Ended, Limits, Reporter, Waiting};
use tidegate_delivery::response::{Asked, Outcome, ResponseClass};
use tidegate_losant::{Client, Success};
use tidegate_model::{DeviceId, WallTime};
use tidegate_outbox::{Backlog, Error, Outbox};
use tidegate_runtime::clock::{Clock as _, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_runtime::wait;
use tidegate_timing::clock_trust::Boots;
use tidegate_timing::machine::Machine as _;

/// How long states may wait without a call under way or a time to wait for, which never should be.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The reporter's task.
pub struct ReporterTask {
    /// To the cloud.
    pub client: Arc<Client>,
    /// Where the states wait.
    pub outbox: Arc<Outbox>,
    /// What waited there before anything came.
    pub found: Backlog,
    /// Raised with each commit; its end means that no more will come.
    pub committed: watch::Receiver<u64>,
    /// What the machine is set to, now and when it changes.
    pub limits: watch::Receiver<Limits>,
    /// Cancelled when a stop has no more time for a call that is under way.
    pub hurry: CancellationToken,
    /// Asks to send at once what waits.
    pub flush: Arc<Notify>,
    /// Where the outbox is; the file of calls is beside it.
    pub path: PathBuf,
    /// The time of day, which decides what Losant takes.
    pub clock: Arc<TrustedClock>,
    /// Nothing is sent before the time is known and these are there.
    pub anchors: Anchors,
    /// Told about batches.
    pub board: StatusRegistry,
}

/// A call that was made, and how it ended.
struct Sent {
    call: Call,
    batch: Batch,
    outcome: Outcome,
}

/// How the cloud answers, as far as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Unknown,
    Online,
    Offline,
    Unaccepted,
}

/// What the task waits for.
enum Event {
    Loaded(Call, Batch),
    Sent(Box<Sent>),
    Backlog,
    Timer,
    LinkUp,
    Limits,
    Flush,
    Closed,
}

impl ReporterTask {
    /// Runs until there is no more to come and nothing that can be sent now.
    pub async fn run(mut self) {
        let hurry = self.hurry.clone();
        hurry.run_until_cancelled(self.wait_and_report()).await;
        let left = self.outbox.backlog().total;
        info!(states = left.states, "reporter done; the rest waits in the outbox");
    }

    /// Without the time of day nothing can be sent: what waits has no time, or may be too old.
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
            let backlog = self.outbox.backlog();
            note_backlog(&mut machine, &backlog);
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
                idle =
                    Some(liveness::deadline(IDLE_MAX, "states wait, and nothing is done about it"));
            }
            if is_last_call && loading.is_empty() && under_way.is_empty() {
                break;
            }
            let event = tokio::select! {
                Some((call, batch)) = loading.next() => Event::Loaded(call, batch),
                Some(sent) = under_way.next() => Event::Sent(Box::new(sent)),
                changed = committed.changed(), if !is_last_call => {
                    if changed.is_ok() { Event::Backlog } else { Event::Closed }
                }
                () = self.client.recovered() => Event::LinkUp,
                // At a stop the other end is gone, and nothing changes any more.
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
                        self.tell_condition(&mut condition, &sent.outcome);
                    }
                    self.settle(&mut machine, *sent).await;
                }
                Event::Backlog | Event::Timer => {}
                Event::LinkUp => machine.handle_link_up(now()),
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

    /// What is there at the start is backlog; the calls of a daemon before count.
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

    /// Reads the states of a call, and notes that it begins.
    async fn load(&self, call: Call, boots: &Arc<Boots>, calls: &Calls) -> (Call, Batch) {
        let (device, limits) = (call.device, self.limits.borrow().clone());
        let (outbox, clock) = (Arc::clone(&self.outbox), Arc::clone(&self.clock));
        let (boots, noted) = (Arc::clone(boots), Arc::clone(calls));
        let loaded = blocking(move || {
            let batch = Batch::load(&outbox, &call, &limits, (&boots, &*clock))?;
            if !batch.entries.is_empty() {
                noted.lock().unwrap_or_else(PoisonError::into_inner).begin(device);
            }
            Ok::<_, Error>(batch)
        });
        let batch = loaded.await.unwrap_or_else(|error| {
            error!(%error, device_id = %device, "cannot read the outbox");
            Batch::default()
        });
        (call, batch)
    }

    /// Makes a call, and notes that it ended.
    async fn send(&self, call: Call, batch: Batch, calls: &Calls) -> Sent {
        let device = call.device;
        if batch.entries.is_empty() {
            let outcome = Outcome::NotMade { message: "nothing to send was found".to_owned() };
            return Sent { call, batch, outcome };
        }
        let sending = self.client.send_state(device, &*batch.states);
        let outcome = match liveness::with_deadline(
            liveness::CALL_MAX,
            "a call with states",
            sending,
        )
        .await
        {
            Ok(Success) => Outcome::Answer {
                status: 200,
                success: true,
                message: String::new(),
                retry_after: None,
            },
            Err(error) => error.outcome(),
        };
        let (noted, may_count) = (Arc::clone(calls), outcome.may_count());
        blocking(move || {
            noted.lock().unwrap_or_else(PoisonError::into_inner).end(device, may_count);
        })
        .await;
        Sent { call, batch, outcome }
    }

    /// Learns from a call, and does with its states what that means.
    async fn settle(&self, machine: &mut Reporter, sent: Sent) {
        let response = ResponseClass::of(Asked::Action, &sent.outcome);
        let ended = Ended {
            states: sent.batch.entries.len(),
            last: sent.batch.last(),
            response: response.clone(),
            may_count: sent.outcome.may_count(),
        };
        let disposal = machine.handle_result(&sent.call, &ended, now());
        Self::tell(&sent, &response);
        let (device, last) = (sent.call.device, ended.last);
        let outbox = Arc::clone(&self.outbox);
        let done = match (disposal, sent.batch.entries.first().map(|first| first.sequence)) {
            (Disposal::Delete, Some(first)) => {
                self.note_stored(&sent.batch);
                blocking(move || outbox.ack(device, first, last)).await.map(drop)
            }
            (Disposal::Reject, Some(first)) => {
                let time = self.clock.wall_time().unwrap_or(WallTime::EPOCH);
                let why = sent.outcome.words().to_owned();
                blocking(move || outbox.reject(device, first, &why, time)).await
            }
            (Disposal::Delete | Disposal::Keep | Disposal::Reject, _) => Ok(()),
        };
        match done {
            Ok(()) => {}
            Err(Error::TooManyRanges) => machine.handle_scattered(device, now()),
            Err(error) => {
                error!(%error, device_id = %device, "cannot update the outbox; these states will be sent again");
            }
        }
        self.board.link(machine.online(), sent.outcome.words());
        self.board.called(device, machine.throttle(device).cloned().unwrap_or_default());
    }

    fn note_stored(&self, batch: &Batch) {
        let readings = batch.entries.iter().map(|entry| u64::from(entry.readings)).sum();
        self.board.stored(batch.entries.len() as u64, readings);
    }

    /// Tells what becomes of a device or a batch.
    fn tell(sent: &Sent, response: &ResponseClass) {
        let (device, states, error) =
            (sent.call.device, sent.batch.entries.len(), sent.outcome.words());
        if states == 0 {
            return;
        }
        match response {
            ResponseClass::Stored => {
                debug!(device_id = %device, states, "states stored");
            }
            ResponseClass::Offline | ResponseClass::Unauthorized => {
                debug!(error, "nothing can be sent now");
            }
            ResponseClass::ServerError(_) => {
                warn!(device_id = %device, error, "the cloud has trouble with this device; trying again");
            }
            ResponseClass::Blocked => {
                warn!(device_id = %device, error, "the cloud refuses this device; readings are kept");
            }
            ResponseClass::RateLimited(_) => {
                warn!(device_id = %device, error, "too many calls; this device waits");
            }
            ResponseClass::TooLarge | ResponseClass::Malformed if states > 1 => {
                info!(device_id = %device, states, error, "a batch is refused; trying half of it");
            }
            ResponseClass::TooLarge | ResponseClass::Malformed => {
                warn!(device_id = %device, error, "a state is refused for good; it is among the rejects");
            }
        }
    }

    /// Tells a change of the link, once.
    fn tell_condition(&self, condition: &mut Condition, outcome: &Outcome) {
        let after = Condition::after(&ResponseClass::of(Asked::Action, outcome));
        if std::mem::replace(condition, after) == after {
            return;
        }
        let (error, backlog) = (outcome.words(), self.outbox.backlog().total.states);
        match after {
            Condition::Online => info!(backlog, "cloud online"),
            Condition::Offline => warn!(error, "cloud offline; readings are kept and sent later"),
            Condition::Unaccepted => {
                warn!(error, "the cloud does not accept us; readings are kept");
            }
            Condition::Unknown => {}
        }
    }
}

impl Condition {
    fn after(response: &ResponseClass) -> Self {
        match response {
            ResponseClass::Offline | ResponseClass::ServerError(_) => Self::Offline,
            ResponseClass::Unauthorized => Self::Unaccepted,
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::RateLimited(_)
            | ResponseClass::Blocked => Self::Online,
        }
    }
}

/// The file of calls, which those under way share.
type Calls = Arc<Mutex<CallFile>>;

fn waiting(backlog: &Backlog) -> impl Iterator<Item = (DeviceId, Waiting)> {
    backlog.devices.iter().map(|(device, amount)| {
        let last = backlog.last.get(device).copied().unwrap_or_default();
        (*device, Waiting { states: amount.states, bytes: amount.bytes, last })
    })
}

fn note_backlog(machine: &mut Reporter, backlog: &Backlog) {
    let now = now();
    waiting(backlog).for_each(|(device, waiting)| machine.handle_backlog(device, waiting, now));
}

/// Does what waits for the disk where that holds up no task.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    liveness::with_deadline(liveness::DISK_MAX, "waiting for the disk", wait::blocking(work)).await
}

/// tokio's clock, which tests can pause, as the value that `logic` takes.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
