//! Brings what waits in the outbox to the cloud, and deletes what the cloud confirmed.
//!
//! It ends when no more will come and nothing more can be sent now, or when it is told to hurry.

use std::sync::Arc;

use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::clock::SharedClock;
use crate::logic::reporter::{Disposal, Limits, Reporter, Step};
use crate::logic::verdict::{Asked, Outcome, Verdict};
use crate::losant::{Client, Success};
use crate::model::DeviceId;
use crate::outbox::{Entry, Error, Outbox};
use crate::random;
use crate::status::Board;

/// The reporter's task.
pub struct ReporterTask {
    /// To the cloud.
    pub client: Arc<Client>,
    /// Where the states wait.
    pub outbox: Arc<Outbox>,
    /// Raised with each commit; its end means that no more will come.
    pub committed: watch::Receiver<u64>,
    /// What the machine is set to, now and when it changes.
    pub limits: watch::Receiver<Limits>,
    /// Cancelled when a stop has no more time for a call that is under way.
    pub hurry: CancellationToken,
    /// Stamps rejects.
    pub clock: SharedClock,
    /// Told about batches.
    pub board: Board,
}

/// A call that was made, and how it ended.
struct Sent {
    device: DeviceId,
    batch: Vec<Entry>,
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
enum News {
    Backlog,
    Timer,
    LinkUp,
    Limits,
    NoMore,
}

impl ReporterTask {
    /// Runs until there is no more to come and nothing that can be sent now.
    pub async fn run(mut self) {
        let mut machine = Reporter::new(self.limits.borrow_and_update().clone());
        let mut rng = random::seeded();
        let (mut condition, mut is_last_call) = (Condition::Unknown, false);
        loop {
            self.note_backlog(&mut machine);
            match machine.poll(now()) {
                Step::Send { device, states_max } => {
                    let hurry = self.hurry.clone();
                    let sent = hurry.run_until_cancelled(self.send(device, states_max)).await;
                    let Some(sent) = sent else { break };
                    let now = Condition::after(&Verdict::of(Asked::Action, &sent.outcome));
                    if std::mem::replace(&mut condition, now) != now {
                        self.tell_condition(now, &sent.outcome);
                    }
                    self.settle(&mut machine, sent, &mut rng).await;
                }
                Step::WaitUntil(_) | Step::Idle if is_last_call => break,
                step @ (Step::WaitUntil(_) | Step::Idle) => match self.wait(step).await {
                    News::Backlog | News::Timer => {}
                    News::LinkUp => machine.link_is_up(),
                    News::Limits => machine.set_limits(self.limits.borrow_and_update().clone()),
                    News::NoMore => {
                        is_last_call = true;
                        machine.drain();
                    }
                },
            }
        }
        let left = self.outbox.backlog().total;
        info!(states = left.states, "reporter done; the rest waits in the outbox");
    }

    async fn wait(&mut self, step: Step) -> News {
        let timer = async {
            match step {
                Step::WaitUntil(until) => tokio::time::sleep_until(until.into()).await,
                Step::Send { .. } | Step::Idle => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.committed.changed() => {
                if changed.is_ok() { News::Backlog } else { News::NoMore }
            }
            () = self.client.recovered() => News::LinkUp,
            // At a stop the other end is gone, and nothing changes any more.
            Ok(()) = self.limits.changed() => News::Limits,
            () = timer => News::Timer,
        }
    }

    fn note_backlog(&self, machine: &mut Reporter) {
        let now = now();
        for (device, backlog) in self.outbox.backlog().devices {
            machine.note_backlog(device, backlog.states, now);
        }
    }

    async fn send(&self, device: DeviceId, states_max: usize) -> Sent {
        let bytes_max = self.limits.borrow().batch_bytes_max;
        let batch = match self
            .blocking(move |outbox| outbox.peek(device, 0, states_max, bytes_max))
            .await
        {
            Ok(batch) => batch,
            Err(error) => {
                error!(%error, device_id = %device, "cannot read the outbox");
                let outcome = Outcome::NoAnswer { message: error.to_string() };
                return Sent { device, batch: Vec::new(), outcome };
            }
        };
        let states: Vec<_> = batch.iter().map(|entry| entry.json.clone()).collect();
        let outcome = match self.client.send_state(device, &*states).await {
            Ok(Success) => Outcome::Answer {
                status: 200,
                success: true,
                message: String::new(),
                retry_after: None,
            },
            Err(error) => error.outcome(),
        };
        Sent { device, batch, outcome }
    }

    /// Learns from a call, and does with its states what that means.
    async fn settle(&self, machine: &mut Reporter, sent: Sent, rng: &mut StdRng) {
        let verdict = Verdict::of(Asked::Action, &sent.outcome);
        let disposal = machine.settle((sent.device, sent.batch.len()), &verdict, now(), rng);
        Self::tell(&sent, &verdict);
        let device = sent.device;
        let (first, last) = (sent.batch.first(), sent.batch.last());
        let done = match (disposal, first, last) {
            (Disposal::Delete, Some(first), Some(last)) => {
                self.note_stored(&sent.batch);
                let (first, through) = (first.sequence, last.sequence);
                self.blocking(move |outbox| outbox.ack(device, first, through)).await.map(drop)
            }
            (Disposal::Reject, Some(first), _) => {
                let (sequence, time) = (first.sequence, self.clock.now());
                let why = words(&sent.outcome).to_owned();
                self.blocking(move |outbox| outbox.reject(device, sequence, &why, time)).await
            }
            (Disposal::Delete | Disposal::Keep | Disposal::Reject, _, _) => Ok(()),
        };
        if let Err(error) = done {
            error!(%error, device_id = %device, "cannot update the outbox; these states will be sent again");
        }
        self.board.notes().cloud.online = machine.online();
    }

    fn note_stored(&self, batch: &[Entry]) {
        let mut notes = self.board.notes();
        notes.cloud.batches += 1;
        notes.cloud.states_stored += batch.len() as u64;
        notes.cloud.readings_stored +=
            batch.iter().map(|entry| u64::from(entry.readings)).sum::<u64>();
    }

    /// Tells what becomes of a device or a batch.
    fn tell(sent: &Sent, verdict: &Verdict) {
        let (device, states, error) = (sent.device, sent.batch.len(), words(&sent.outcome));
        match verdict {
            Verdict::Stored => {
                debug!(device_id = %device, states, "states stored");
            }
            Verdict::Offline | Verdict::Unauthorized => debug!(error, "nothing can be sent now"),
            Verdict::Parked => {
                warn!(device_id = %device, error, "the cloud refuses this device; readings are kept");
            }
            Verdict::Throttled(_) => {
                warn!(device_id = %device, error, "too many calls; this device waits");
            }
            Verdict::TooLarge | Verdict::Malformed if states > 1 => {
                info!(device_id = %device, states, error, "a batch is refused; trying half of it");
            }
            Verdict::TooLarge | Verdict::Malformed => {
                warn!(device_id = %device, error, "a state is refused for good; it is among the rejects");
            }
        }
    }

    /// Tells a change of the link, once.
    fn tell_condition(&self, condition: Condition, outcome: &Outcome) {
        let (error, backlog) = (words(outcome), self.outbox.backlog().total.states);
        match condition {
            Condition::Online => info!(backlog, "cloud online"),
            Condition::Offline => warn!(error, "cloud offline; readings are kept and sent later"),
            Condition::Unaccepted => {
                warn!(error, "the cloud does not accept us; readings are kept");
            }
            Condition::Unknown => {}
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Outbox) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let outbox = Arc::clone(&self.outbox);
        match tokio::task::spawn_blocking(move || work(&outbox)).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

impl Condition {
    fn after(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Offline => Self::Offline,
            Verdict::Unauthorized => Self::Unaccepted,
            Verdict::Stored
            | Verdict::TooLarge
            | Verdict::Malformed
            | Verdict::Throttled(_)
            | Verdict::Parked => Self::Online,
        }
    }
}

fn words(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Answer { message, .. } | Outcome::NoAnswer { message } => message,
    }
}

/// tokio's clock, which tests can pause, as the value that `logic` takes.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
