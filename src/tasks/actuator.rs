//! Executes the commands of one actuator in order, and its failsafe write when it is due.
//!
//! Each actuator has its own queue and task, so an actuator that hangs delays no other. When the
//! daemon stops, the running command and the queued ones end as interrupted, and the failsafe write
//! comes last. When a reload closes the queue, the task executes the queued commands first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::actuators::{Driver, DriverError};
use tidegate_commands::actuator::Actuator;
use tidegate_commands::admission::RefusalReason;
use tidegate_commands::failsafe::{FailsafeReason, FailsafeTimer};
use tidegate_model::{CommandResult, DeviceId, Write};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::sleep_until;
use tidegate_timing::machine::Machine as _;

/// The most commands in the queue of one actuator.
pub const JOBS_MAX: usize = 256;

/// A recorded command, ready to be executed.
#[derive(Debug)]
pub struct ActuatorJob {
    /// The number of its record in the history.
    pub number: u64,
    /// The write.
    pub write: Write,
    /// When the command becomes stale.
    pub fresh_until: Instant,
}

/// The end of a job.
#[derive(Debug)]
pub struct JobOutcome {
    /// The number of its record in the history.
    pub number: u64,
    /// Executed, failed, interrupted, or refused because the command became stale in the queue.
    pub result: CommandResult,
    /// The answer of the actuator, or the error.
    pub message: String,
    /// How long the write took.
    pub duration: Duration,
}

/// Whether the command stream of each device is open.
pub type StreamStates = BTreeMap<DeviceId, bool>;

/// The task of one actuator.
pub struct ActuatorTask {
    /// The actuator.
    pub actuator: Arc<Actuator>,
    /// Executes the writes.
    pub driver: Box<dyn Driver>,
    /// The state of the command streams.
    pub streams: watch::Receiver<StreamStates>,
    /// The queue of the dispatcher for outcomes.
    pub outcomes: mpsc::Sender<JobOutcome>,
    /// Stops the task.
    pub stop: CancellationToken,
}

/// The events of the task.
enum ActuatorEvent {
    Job(ActuatorJob),
    StreamsChanged,
    FailsafeTimeout,
    QueueClosed,
    Stop,
}

impl ActuatorTask {
    /// Runs until the daemon stops or a reload closes the queue.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<ActuatorJob>) {
        let mut failsafe = FailsafeTimer::new(self.actuator.failsafe.as_ref());
        loop {
            let streams = self.streams.borrow_and_update().clone();
            let is_online = streams.get(&self.actuator.device) == Some(&true);
            failsafe.handle_stream(is_online, now());
            match self.next_event(&mut jobs, failsafe.poll_timeout().map(Instant::from)).await {
                ActuatorEvent::StreamsChanged => {}
                ActuatorEvent::Job(job) => {
                    if self.execute(job).await {
                        failsafe.handle_command_run(now());
                    }
                }
                ActuatorEvent::FailsafeTimeout => failsafe.handle_timeout(now()),
                ActuatorEvent::QueueClosed | ActuatorEvent::Stop => break,
            }
            while let Some(reason) = failsafe.poll_action() {
                let is_success = self.write_failsafe(reason).await;
                failsafe.handle_written(is_success, now());
            }
        }
        jobs.close();
        while let Some(job) = jobs.recv().await {
            let message = "the daemon stopped before the command ran".to_owned();
            self.finish(job.number, CommandResult::Interrupted, message, Duration::ZERO).await;
        }
        failsafe.handle_stop();
        if let Some(reason) = failsafe.poll_action() {
            self.write_failsafe(reason).await;
        }
    }

    async fn next_event(
        &mut self,
        jobs: &mut mpsc::Receiver<ActuatorJob>,
        failsafe_due: Option<Instant>,
    ) -> ActuatorEvent {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => ActuatorEvent::Stop,
            () = sleep_until(failsafe_due) => ActuatorEvent::FailsafeTimeout,
            Ok(()) = self.streams.changed() => ActuatorEvent::StreamsChanged,
            job = jobs.recv() => job.map_or(ActuatorEvent::QueueClosed, ActuatorEvent::Job),
        }
    }

    /// Executes one command. Returns `false` if it became stale in the queue and did not run.
    async fn execute(&self, ActuatorJob { number, write, fresh_until }: ActuatorJob) -> bool {
        let started = Instant::now();
        if started > fresh_until {
            let reason = RefusalReason::STALE;
            let message = format!("{reason}: the command waited too long for the actuator");
            self.finish(number, CommandResult::Refused, message, Duration::ZERO).await;
            return false;
        }
        let (result, message) =
            match self.stop.run_until_cancelled(self.write(write, "a command")).await {
                Some(Ok(answer)) => (CommandResult::Executed, answer),
                Some(Err(error)) => (CommandResult::Failed, error.to_string()),
                None => {
                    let message = "the daemon stopped while the command ran".to_owned();
                    (CommandResult::Interrupted, message)
                }
            };
        self.finish(number, result, message, started.elapsed()).await;
        true
    }

    /// Executes a write within the timeout of the actuator.
    async fn write(&self, write: Write, work: &'static str) -> Result<String, ExecuteError> {
        let timeout = self.actuator.timeout;
        let executing = tokio::time::timeout(timeout, self.driver.execute(write));
        let executing = liveness::with_deadline(timeout + liveness::LATE_MAX, work, executing);
        match executing.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(ExecuteError::Timeout(timeout)),
        }
    }

    async fn finish(
        &self,
        number: u64,
        result: CommandResult,
        message: String,
        duration: Duration,
    ) {
        let outcome = JobOutcome { number, result, message, duration };
        // Without a dispatcher the record has no result and ends as interrupted at the next start.
        self.outcomes.send(outcome).await.unwrap_or_default();
    }

    /// Executes the failsafe write. Returns whether it succeeded.
    async fn write_failsafe(&self, reason: FailsafeReason) -> bool {
        let Some(failsafe) = &self.actuator.failsafe else { return true };
        let outcome = self.write(failsafe.write.clone(), "a failsafe write").await;
        let (actuator, reason) = (&self.actuator.name, reason.as_str());
        match &outcome {
            Ok(_) => info!(%actuator, reason, "failsafe write executed"),
            Err(error) => error!(%actuator, reason, %error, "failsafe write failed"),
        }
        outcome.is_ok()
    }
}

/// Why a write has no answer.
#[derive(Debug, thiserror::Error)]
enum ExecuteError {
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("no outcome within {0:?}")]
    Timeout(Duration),
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
