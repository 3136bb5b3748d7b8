//! Runs the commands of one actuator, one after the other, and makes it safe when nobody is there to command.
//!
//! Each actuator has a queue and a task of its own, so one that hangs delays no other. It ends when the daemon stops: what
//! is under way then counts as interrupted, what waits too, and the safe write comes last. When a reload takes its queue away
//! it first does what waits there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::actuators::Driver;
use tidegate_commands::actuator::{Actuator, Failsafe};
use tidegate_model::{CommandResult, DeviceId, Write};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::sleep_until;

/// Commands that may wait for one actuator.
pub const ORDERS_MAX: usize = 256;

/// Between two tries of a safe write that did not succeed.
const SAFE_RETRY: Duration = Duration::from_secs(5);

/// A recorded command.
#[derive(Debug)]
pub struct Order {
    /// Its number in the history.
    pub number: u64,
    /// What it writes.
    pub write: Write,
    /// Until when it is fresh enough to run.
    pub until: Instant,
}

/// What became of an order.
#[derive(Debug)]
pub struct Finished {
    /// Its number in the history.
    pub number: u64,
    /// Executed, failed or interrupted; refused if it had to wait too long.
    pub result: CommandResult,
    /// What the actuator said, or what went wrong.
    pub message: String,
    /// How long it took.
    pub duration: Duration,
}

/// Whether each device has an open command stream.
pub type Links = BTreeMap<DeviceId, bool>;

/// The task of one actuator.
pub struct ActuatorTask {
    /// What it is.
    pub actuator: Arc<Actuator>,
    /// What moves it.
    pub hand: Driver,
    /// The command streams.
    pub links: watch::Receiver<Links>,
    /// To the dispatcher.
    pub finished: mpsc::Sender<Finished>,
    /// Ends the task.
    pub stop: CancellationToken,
}

/// Which safe writes are due, and when.
#[derive(Debug, Default)]
struct Due {
    /// The stream was lost, and nothing has been done about it.
    offline: Option<Instant>,
    /// A command was run that must not last.
    hold: Option<Instant>,
}

/// What the task waits for.
enum News {
    Order(Order),
    Links,
    Safe(&'static str),
    Drained,
    Stop,
}

impl ActuatorTask {
    /// Runs until the daemon stops.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut due = Due::default();
        let mut was_online = true;
        loop {
            let is_online =
                self.links.borrow_and_update().get(&self.actuator.device) == Some(&true);
            if std::mem::replace(&mut was_online, is_online) != is_online {
                let failsafe = self.actuator.safe.as_ref().and_then(|safe| safe.offline);
                due.offline = failsafe.filter(|_| !is_online).map(|after| Instant::now() + after);
            }
            match self.wait(&mut orders, &due).await {
                News::Links => {}
                News::Order(order) => {
                    if self.perform(order).await {
                        // Also after a failure: it may have been done all the same.
                        let max_on_time =
                            self.actuator.safe.as_ref().and_then(|safe| safe.max_on_time);
                        due.hold = max_on_time.map(|after| Instant::now() + after);
                    }
                }
                News::Safe(why) => {
                    let retry = (!self.make_safe(why).await).then(|| Instant::now() + SAFE_RETRY);
                    // One safe write answers both.
                    due = Due { offline: retry.filter(|_| !was_online), hold: retry };
                }
                News::Drained | News::Stop => break,
            }
        }
        orders.close();
        while let Some(order) = orders.recv().await {
            let message = "the daemon stopped before it ran".to_owned();
            self.tell(order.number, CommandResult::Interrupted, message, Duration::ZERO).await;
        }
        // What is held must not be held for ever by nobody.
        if self.actuator.safe.as_ref().is_some_and(|safe| safe.at_stop || due.hold.is_some()) {
            self.make_safe("it stops").await;
        }
    }

    async fn wait(&mut self, orders: &mut mpsc::Receiver<Order>, due: &Due) -> News {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => News::Stop,
            () = sleep_until(due.hold) => News::Safe("it was held long enough"),
            () = sleep_until(due.offline) => News::Safe("there is no command stream"),
            Ok(()) = self.links.changed() => News::Links,
            order = orders.recv() => order.map_or(News::Drained, News::Order),
        }
    }

    /// Runs one command; `false` if it came to its turn too late.
    async fn perform(&self, Order { number, write, until }: Order) -> bool {
        let started = Instant::now();
        if started > until {
            let message = "stale: it waited too long for the actuator".to_owned();
            self.tell(number, CommandResult::Refused, message, Duration::ZERO).await;
            return false;
        }
        let timeout = self.actuator.timeout;
        let acting = tokio::time::timeout(timeout, self.hand.act(write));
        let acting = liveness::with_deadline(timeout + liveness::LATE_MAX, "a command", acting);
        let (result, message) = match self.stop.run_until_cancelled(acting).await {
            Some(Ok(Ok(message))) => (CommandResult::Executed, message),
            Some(Ok(Err(message))) => (CommandResult::Failed, message),
            Some(Err(_)) => (CommandResult::Failed, format!("no outcome within {timeout:?}")),
            None => (CommandResult::Interrupted, "the daemon stopped while it ran".to_owned()),
        };
        self.tell(number, result, message, started.elapsed()).await;
        true
    }

    async fn tell(&self, number: u64, result: CommandResult, message: String, duration: Duration) {
        let finished = Finished { number, result, message, duration };
        // Without a dispatcher the record stays open, and counts as interrupted at the next start.
        self.finished.send(finished).await.unwrap_or_default();
    }

    /// Does the safe write. `false` if it must be tried again.
    async fn make_safe(&self, why: &'static str) -> bool {
        let Some(Failsafe { write, .. }) = &self.actuator.safe else { return true };
        let timeout = self.actuator.timeout;
        let acting = tokio::time::timeout(timeout, self.hand.act(write.clone()));
        let outcome =
            match liveness::with_deadline(timeout + liveness::LATE_MAX, "a safe write", acting)
                .await
            {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("no outcome within {timeout:?}")),
            };
        let actuator = &self.actuator.name;
        match &outcome {
            Ok(_) => info!(%actuator, why, "actuator made safe"),
            Err(error) => error!(%actuator, why, error, "actuator could not be made safe"),
        }
        outcome.is_ok()
    }
}
