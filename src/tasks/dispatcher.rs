//! Checks each command, records it on disk, queues it for its actuator, and reports its result.
//!
//! One task owns the admission check and the history, so there is one order: record, sync, execute.
//! All queued commands are recorded together, so that a flood costs one sync for many commands. The
//! task ends after all listeners and then all actuators have closed their queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::actuator::{ActuatorJob, JobOutcome};
use crate::status::StatusRegistry;
use tidegate_bus::{BusEvent, EventSender, Report};
use tidegate_commands::admission::{Admission, Clocks, Decision, Judgement, RefusalReason};
use tidegate_commands::history::{CommandEnd, History, TABLE};
use tidegate_commands::report::ReportRules;
use tidegate_model::{Command, CommandResult, DeviceId, Name, Source, WallTime};
use tidegate_outbox::Outbox;
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::liveness;
use tidegate_runtime::wait::blocking;
use tidegate_timing::log_limit::LogLimit;
use tidegate_timing::rate_limit::{RateLimit, RecentRuns};

/// The most items in the queue of the dispatcher, from all listeners together.
pub const INPUTS_MAX: usize = 64;

/// The most items that are recorded with one sync.
const BATCH_MAX: usize = 64;

/// How long the task waits at its end until the collector has stored the last reports.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many refusals are reported to Losant. More are counted and recorded in the history.
const REFUSALS_REPORTED: RateLimit = RateLimit { runs_max: 100, window: Duration::from_secs(60) };

/// The inputs of the dispatcher.
#[derive(Debug)]
pub enum DispatcherInput {
    /// A command arrived.
    Command(Command, Source),
    /// All commands of a device were received until then.
    Coverage {
        /// The device.
        device: DeviceId,
        /// The end of the period.
        until: WallTime,
    },
    /// A reload replaced the routes.
    Routes(Box<Routes>),
}

/// The rules and destinations of commands.
#[derive(Debug)]
pub struct Routes {
    /// The admission check.
    pub admission: Admission,
    /// The queues of the actuators.
    pub jobs: BTreeMap<Name, mpsc::Sender<ActuatorJob>>,
    /// The attributes of reports.
    pub report: ReportRules,
    /// The number of devices that share the history.
    pub devices: usize,
}

/// The task of the dispatcher.
pub struct DispatcherTask {
    /// The rules and destinations of commands.
    pub routes: Routes,
    /// The history of commands.
    pub history: History,
    /// Stores the history.
    pub outbox: Arc<Outbox>,
    /// The queue of the collector.
    pub events: EventSender,
    /// The wall clock.
    pub clock: SharedClock,
    /// Receives counts and results.
    pub status: StatusRegistry,
    /// Limits the warnings about refusals to one a minute for each reason.
    pub refusal_log: LogLimit<&'static str>,
}

/// An admitted command with its place in the queue of its actuator.
struct AdmittedJob {
    permit: OwnedPermit<ActuatorJob>,
    job: ActuatorJob,
}

/// The events of the task.
enum DispatcherEvent {
    Inputs(Vec<DispatcherInput>),
    Outcomes(Vec<JobOutcome>),
    Reported(Vec<u64>),
}

/// The queues that the task reads.
struct Queues {
    inputs: mpsc::Receiver<DispatcherInput>,
    outcomes: mpsc::Receiver<JobOutcome>,
    reported: mpsc::Receiver<u64>,
    is_input_open: bool,
}

impl Queues {
    /// Waits for the next event. Returns `None` after listeners and actuators have ended.
    async fn next(&mut self) -> Option<DispatcherEvent> {
        let (mut outcomes, mut inputs, mut reported) = (Vec::new(), Vec::new(), Vec::new());
        tokio::select! {
            // Outcomes come first, because they make room for commands.
            biased;
            count = self.outcomes.recv_many(&mut outcomes, BATCH_MAX) => {
                (count > 0).then_some(DispatcherEvent::Outcomes(outcomes))
            }
            count = self.inputs.recv_many(&mut inputs, BATCH_MAX), if self.is_input_open => {
                self.is_input_open = count > 0;
                Some(DispatcherEvent::Inputs(inputs))
            }
            _ = self.reported.recv_many(&mut reported, BATCH_MAX) => {
                Some(DispatcherEvent::Reported(reported))
            }
        }
    }
}

impl DispatcherTask {
    /// Runs until the listeners have closed `inputs` and the actuators have closed `outcomes`.
    pub async fn run(
        mut self,
        inputs: mpsc::Receiver<DispatcherInput>,
        outcomes: mpsc::Receiver<JobOutcome>,
    ) {
        let (stored, reported) = mpsc::channel(BATCH_MAX);
        let mut queues = Queues { inputs, outcomes, reported, is_input_open: true };
        let mut refusals = RecentRuns::default();
        self.begin(&stored).await;
        while let Some(event) = queues.next().await {
            match event {
                DispatcherEvent::Inputs(batch) if batch.is_empty() => self.routes.jobs.clear(),
                DispatcherEvent::Inputs(batch) => {
                    self.process(batch, &mut refusals, &stored).await;
                }
                DispatcherEvent::Outcomes(batch) => self.settle(batch, &stored).await,
                DispatcherEvent::Reported(numbers) => {
                    for number in numbers {
                        self.history.mark_reported(number);
                    }
                }
            }
        }
        // Without these senders the collector makes its last commit and closes the queue.
        drop((self.events, stored));
        let last_reports = async {
            while let Some(number) = queues.reported.recv().await {
                self.history.mark_reported(number);
            }
        };
        if tokio::time::timeout(REPORT_TIMEOUT, last_reports).await.is_err() {
            warn!("the last command results were not stored in time; reporting them at next start");
        }
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            error!(%error, "cannot record which command results were reported");
        }
    }

    /// Reports the results that an earlier run did not report.
    async fn begin(&mut self, stored: &mpsc::Sender<u64>) {
        self.history.records().for_each(|record| self.status.record_command(record));
        let unreported: Vec<u64> = self
            .history
            .records()
            .filter(|record| !record.is_reported)
            .map(|record| record.number)
            .collect();
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            return error!(%error, "cannot record which commands were interrupted");
        }
        for number in unreported {
            if self.is_result(number, CommandResult::Interrupted) {
                self.status.data().commands.interrupted += 1;
                warn!(number, "command was interrupted by the end of the daemon; not run again");
            }
            self.report(number, stored).await;
        }
        self.publish();
    }

    async fn process(
        &mut self,
        batch: Vec<DispatcherInput>,
        refusals: &mut RecentRuns,
        stored: &mpsc::Sender<u64>,
    ) {
        let (mut admitted, mut refused) = (Vec::new(), Vec::new());
        for input in batch {
            match input {
                DispatcherInput::Coverage { device, until } => {
                    self.history.extend_coverage(device, until);
                }
                DispatcherInput::Routes(routes) => {
                    self.history.set_device_count(routes.devices);
                    self.routes = *routes;
                }
                DispatcherInput::Command(command, source) => {
                    self.admit(&command, source, &mut admitted, &mut refused);
                }
            }
        }
        // A command runs only after its record is on disk.
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            error!(%error, commands = admitted.len(), "cannot record commands; not running them");
            for AdmittedJob { job, .. } in admitted {
                let message = "the command could not be recorded";
                let result = CommandResult::Failed;
                self.finish(job.number, CommandEnd { result, message, duration_ms: None });
            }
            return;
        }
        for AdmittedJob { permit, job } in admitted {
            permit.send(job);
        }
        let now = Instant::now().into_std();
        for number in refused {
            if refusals.admit(REFUSALS_REPORTED, now) {
                self.report(number, stored).await;
            } else {
                self.history.mark_reported(number);
            }
        }
        self.publish();
    }

    /// Checks a command. Adds it to `admitted`, or its number to `refused`.
    fn admit(
        &mut self,
        command: &Command,
        source: Source,
        admitted: &mut Vec<AdmittedJob>,
        refused: &mut Vec<u64>,
    ) {
        let clocks = Clocks { now: Instant::now().into_std(), time: self.clock.now() };
        let Judgement { decision, record } =
            self.routes.admission.handle_command(command, source, &self.history, clocks);
        let reason = match decision {
            Decision::Duplicate => {
                // Normal: the command history is read with an overlap.
                debug!(command = command.name, device_id = %command.device, "duplicate command");
                self.status.data().commands.duplicates += 1;
                return;
            }
            Decision::Run { actuator, write, fresh_for } => {
                match self.reserve(&actuator.name, command.device) {
                    Some(permit) => {
                        self.status.data().commands.received += 1;
                        let number = self.history.add(record);
                        let fresh_until = Instant::now() + fresh_for;
                        let job = ActuatorJob { number, write, fresh_until };
                        return admitted.push(AdmittedJob { permit, job });
                    }
                    None => RefusalReason::Busy,
                }
            }
            Decision::Refused(reason) => reason,
        };
        // A forgotten command may have run and been reported; a report now would contradict that.
        let is_reported = reason != RefusalReason::Forgotten;
        let number = is_reported.then(|| self.history.add(record));
        self.warn_refused(number, command, &reason);
        {
            let mut status = self.status.data();
            status.commands.received += 1;
            *status.commands.refused.entry(reason.as_str()).or_default() += 1;
        }
        let Some(number) = number else { return };
        let message = format!("{}: {reason}", reason.as_str());
        let result = CommandResult::Refused;
        self.finish(number, CommandEnd { result, message: &message, duration_ms: None });
        refused.push(number);
    }

    /// Logs a refusal: one a minute for each reason as a warning, all others at debug level.
    fn warn_refused(&mut self, number: Option<u64>, command: &Command, reason: &RefusalReason) {
        let (name, device_id, detail) = (&command.name, command.device, reason);
        let reason = reason.as_str();
        if self.refusal_log.admit(reason, Instant::now().into_std()) {
            warn!(number, command = name, %device_id, reason, %detail, "command refused");
        } else {
            debug!(number, command = name, %device_id, reason, %detail, "command refused");
        }
    }

    /// Reserves a place in the queue of an actuator.
    ///
    /// Returns `None` if the queue is full, or if the device has too many commands in all queues.
    fn reserve(&self, actuator: &Name, device: DeviceId) -> Option<OwnedPermit<ActuatorJob>> {
        let queue = self.routes.jobs.get(actuator).filter(|_| self.history.has_room(device))?;
        queue.clone().try_reserve_owned().ok()
    }

    /// Records and reports the results of commands.
    async fn settle(&mut self, batch: Vec<JobOutcome>, stored: &mpsc::Sender<u64>) {
        for JobOutcome { number, result, message, duration } in &batch {
            let duration_ms = u64::try_from(duration.as_millis()).ok();
            self.finish(*number, CommandEnd { result: *result, message, duration_ms });
        }
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            error!(%error, "cannot record command results; they would be interrupted at a restart");
        }
        for outcome in &batch {
            self.report(outcome.number, stored).await;
        }
        self.publish();
        // Counted last: a reader of the counts finds the results in the list of commands.
        for outcome in &batch {
            self.count(outcome.result);
        }
    }

    fn count(&self, result: CommandResult) {
        let commands = &mut self.status.data().commands;
        match result {
            CommandResult::Executed => commands.executed += 1,
            CommandResult::Interrupted => commands.interrupted += 1,
            CommandResult::Refused => {
                *commands.refused.entry(RefusalReason::STALE).or_default() += 1;
            }
            CommandResult::Failed | CommandResult::Started => commands.failed += 1,
        }
    }

    /// Adds a result to the history, the status and the log.
    fn finish(&mut self, number: u64, outcome: CommandEnd<'_>) {
        self.history.finish(number, outcome, self.clock.now());
        let CommandEnd { result, message, duration_ms } = outcome;
        let Some(record) = self.history.record(number) else { return };
        self.status.record_command(record);
        let (command, actuator) = (&record.name, record.actuator.as_deref());
        match result {
            CommandResult::Executed => {
                info!(number, command, actuator, message, duration_ms, "command executed");
            }
            CommandResult::Failed => {
                warn!(number, command, actuator, message, duration_ms, "command failed");
            }
            CommandResult::Interrupted => {
                warn!(number, command, actuator, message, "command interrupted");
            }
            CommandResult::Started | CommandResult::Refused => {}
        }
    }

    fn is_result(&self, number: u64, result: CommandResult) -> bool {
        self.history.record(number).is_some_and(|record| record.result == result)
    }

    /// Sends the report of a result to the collector, which stores it in the outbox.
    async fn report(&mut self, number: u64, stored: &mpsc::Sender<u64>) {
        let Some(record) = self.history.record(number) else { return };
        match self.routes.report.report(record) {
            Some((device, state)) => {
                let receipt = Some((number, stored.clone()));
                let event = BusEvent::Report(Report { device, state, receipt });
                // A missing collector ends the daemon. The next start reports the result.
                self.events.send(event).await.unwrap_or_default();
            }
            None => self.history.mark_reported(number),
        }
    }

    /// Publishes the last commands in the status.
    fn publish(&self) {
        self.status.set_recent_commands(self.history.records());
    }
}

/// Writes the changes of the history to disk. Changes that cannot be written stay pending.
async fn record(outbox: &Arc<Outbox>, history: &mut History) -> Result<(), tidegate_outbox::Error> {
    let changes = history.take_changes();
    if changes.is_empty() {
        return Ok(());
    }
    let outbox = Arc::clone(outbox);
    let writing = blocking(move || {
        let written = outbox.write_rows(TABLE, &changes);
        (written, changes)
    });
    let writing = liveness::with_deadline(liveness::DISK_MAX, "recording commands", writing);
    let (written, changes) = writing.await;
    written.inspect_err(|_| history.restore_changes(changes))
}
