//! Judges each command, records it on the disk, hands it to its actuator, and tells what became of it.
//!
//! One task owns the gate and the history, so there is one order: recorded, synced, then acted on. What waits is recorded
//! together, so that a flood costs one sync for many commands. It ends when all listeners and then all actuators have let
//! go of its queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::actuator::{Finished, Order};
use crate::status::StatusRegistry;
use tidegate_bus::{BusEvent, Report};
use tidegate_commands::admission::{Admission, Decision, Refusal};
use tidegate_commands::history::{Ending, History, TABLE};
use tidegate_commands::report::ReportRules;
use tidegate_model::{Command, CommandResult, DeviceId, Name, Source, WallTime};
use tidegate_outbox::Outbox;
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::liveness;
use tidegate_runtime::wait::blocking;
use tidegate_timing::log_limit::LogLimit;
use tidegate_timing::rate_limit::{RateLimit, Window};

/// What may wait for the dispatcher, from all listeners together.
pub const INBOUND_MAX: usize = 64;

/// What is recorded with one sync.
const BATCH_MAX: usize = 64;

/// How long the end waits for the collector to take the last results.
const TOLD_TIMEOUT: Duration = Duration::from_secs(2);

/// How many refusals are told to the cloud: in a flood the rest is only counted, and in the history.
const REFUSALS_TOLD: RateLimit = RateLimit { runs_max: 100, window: Duration::from_secs(60) };

/// What a listener says.
#[derive(Debug)]
pub enum Inbound {
    /// A command came.
    Command(Command, Source),
    /// Nothing was missed on the stream of a device until then.
    Heard {
        /// Which device.
        device: DeviceId,
        /// Until when.
        until: WallTime,
    },
    /// From here on other rules hold.
    Routes(Box<Routes>),
}

/// Where commands go, and by which rules.
#[derive(Debug)]
pub struct Routes {
    /// Judges.
    pub admission: Admission,
    /// The queues of the actuators.
    pub orders: BTreeMap<Name, mpsc::Sender<Order>>,
    /// What is told to the cloud.
    pub report: ReportRules,
    /// How many devices share the history.
    pub lanes: usize,
}

/// The dispatcher's task.
pub struct DispatcherTask {
    /// Where commands go.
    pub routes: Routes,
    /// Remembers.
    pub history: History,
    /// Keeps the history.
    pub outbox: Arc<Outbox>,
    /// To the collector.
    pub arrivals: mpsc::Sender<BusEvent>,
    /// The wall clock.
    pub clock: SharedClock,
    /// Told about outcomes.
    pub board: StatusRegistry,
    /// Limits the warnings about refusals to one a minute for each reason.
    pub refusal_log: LogLimit<&'static str>,
}

/// A command that is recorded and then acted on.
type Ready = (OwnedPermit<Order>, Order);

/// What the task waits for.
enum News {
    Inbound(Vec<Inbound>),
    Finished(Vec<Finished>),
    Told(Vec<u64>),
}

/// The queues that it reads.
struct Queues {
    inbound: mpsc::Receiver<Inbound>,
    finished: mpsc::Receiver<Finished>,
    told: mpsc::Receiver<u64>,
    is_inbound_open: bool,
}

impl Queues {
    /// Waits. `None` when the listeners and the actuators are gone.
    async fn next(&mut self) -> Option<News> {
        let (mut finished, mut inbound, mut told) = (Vec::new(), Vec::new(), Vec::new());
        tokio::select! {
            // Results first: they make room.
            biased;
            count = self.finished.recv_many(&mut finished, BATCH_MAX) => {
                (count > 0).then_some(News::Finished(finished))
            }
            count = self.inbound.recv_many(&mut inbound, BATCH_MAX), if self.is_inbound_open => {
                self.is_inbound_open = count > 0;
                Some(News::Inbound(inbound))
            }
            _ = self.told.recv_many(&mut told, BATCH_MAX) => Some(News::Told(told)),
        }
    }
}

impl DispatcherTask {
    /// Runs until the listeners have let go of `inbound` and the actuators of `finished`.
    pub async fn run(
        mut self,
        inbound: mpsc::Receiver<Inbound>,
        finished: mpsc::Receiver<Finished>,
    ) {
        let (teller, told) = mpsc::channel(BATCH_MAX);
        let mut queues = Queues { inbound, finished, told, is_inbound_open: true };
        let mut refusals = Window::default();
        self.begin(&teller).await;
        while let Some(news) = queues.next().await {
            match news {
                News::Inbound(batch) if batch.is_empty() => self.routes.orders.clear(),
                News::Inbound(batch) => self.take(batch, &mut refusals, &teller).await,
                News::Finished(batch) => self.settle(batch, &teller).await,
                News::Told(numbers) => numbers.into_iter().for_each(|one| self.history.tell(one)),
            }
        }
        // With these the collector makes its last commit, and says so.
        drop((self.arrivals, teller));
        let told = async {
            while let Some(number) = queues.told.recv().await {
                self.history.tell(number);
            }
        };
        if tokio::time::timeout(TOLD_TIMEOUT, told).await.is_err() {
            warn!(
                "the last results of commands were not taken in time; they are told at the next start"
            );
        }
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            error!(%error, "cannot record what was told of commands");
        }
    }

    /// Tells what an earlier run did not get to tell.
    async fn begin(&mut self, teller: &mpsc::Sender<u64>) {
        self.history.records().for_each(|record| self.board.acted(record));
        let is_untold =
            |number: &u64| self.history.record(*number).is_some_and(|record| !record.is_told);
        let numbers: Vec<u64> = self.history.records().map(|record| record.number).collect();
        let untold: Vec<u64> = numbers.into_iter().filter(is_untold).collect();
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            return error!(%error, "cannot record which commands were interrupted");
        }
        for number in untold {
            if self.is_result(number, CommandResult::Interrupted) {
                self.board.data().commands.interrupted += 1;
                warn!(
                    number,
                    "a command was interrupted when the daemon ended; it is not run again"
                );
            }
            self.report(number, teller).await;
        }
        self.show();
    }

    async fn take(
        &mut self,
        batch: Vec<Inbound>,
        refusals: &mut Window,
        teller: &mpsc::Sender<u64>,
    ) {
        let (mut ready, mut refused) = (Vec::new(), Vec::new());
        for inbound in batch {
            match inbound {
                Inbound::Heard { device, until } => self.history.hear(device, until),
                Inbound::Routes(routes) => {
                    self.history.share(routes.lanes);
                    self.routes = *routes;
                }
                Inbound::Command(command, source) => {
                    self.judge(&command, source, &mut ready, &mut refused);
                }
            }
        }
        // The one rule: recorded and on the disk, then run.
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            error!(%error, commands = ready.len(), "cannot record commands, so they do not run");
            for (_, order) in ready {
                let message = "it could not be recorded";
                let result = CommandResult::Failed;
                self.finish(order.number, Ending { result, message, duration_ms: None });
            }
            return;
        }
        for (permit, order) in ready {
            permit.send(order);
        }
        let now = Instant::now().into_std();
        for number in refused {
            if refusals.admit(REFUSALS_TOLD, now) {
                self.report(number, teller).await;
            } else {
                self.history.tell(number);
            }
        }
        self.show();
    }

    fn judge(
        &mut self,
        command: &Command,
        source: Source,
        ready: &mut Vec<Ready>,
        refused: &mut Vec<u64>,
    ) {
        let now = (Instant::now().into_std(), self.clock.now());
        let (admission, record) = self.routes.admission.judge(command, source, &self.history, now);
        let refusal = match admission {
            Decision::Duplicate => {
                // The history is read with some overlap, so this is nothing to tell anybody.
                debug!(command = command.name, device_id = %command.device, "command known already");
                self.board.data().commands.duplicates += 1;
                return;
            }
            Decision::Run { actuator, write, fresh_for } => {
                match self.permit(&actuator.name, command.device) {
                    Some(permit) => {
                        self.board.data().commands.received += 1;
                        let number = self.history.begin(record);
                        let until = Instant::now() + fresh_for;
                        return ready.push((permit, Order { number, write, until }));
                    }
                    None => Refusal::Busy,
                }
            }
            Decision::Refused(refusal) => refusal,
        };
        let reason = refusal.as_str();
        // What is told of one that may have run long ago would stand over what was told then.
        let number = (refusal != Refusal::Forgotten).then(|| self.history.begin(record));
        self.explain(number, command, &refusal);
        {
            let mut notes = self.board.data();
            notes.commands.received += 1;
            *notes.commands.refused.entry(reason).or_default() += 1;
        }
        let Some(number) = number else { return };
        let message = format!("{reason}: {refusal}");
        let result = CommandResult::Refused;
        self.finish(number, Ending { result, message: &message, duration_ms: None });
        refused.push(number);
    }

    /// Explains a refusal: one a minute for each reason to the operator, all of them at debug level and in the history.
    fn explain(&mut self, number: Option<u64>, command: &Command, refusal: &Refusal) {
        let (name, device_id, reason) = (&command.name, command.device, refusal.as_str());
        if self.refusal_log.admit(reason, Instant::now().into_std()) {
            warn!(number, command = name, %device_id, reason, detail = %refusal, "command refused");
        } else {
            debug!(number, command = name, %device_id, reason, detail = %refusal, "command refused");
        }
    }

    /// A place in the queue of an actuator; `None` if it is full, or if too many commands of the device wait in all queues.
    fn permit(&self, actuator: &Name, device: DeviceId) -> Option<OwnedPermit<Order>> {
        let queue = self.routes.orders.get(actuator).filter(|_| self.history.has_room(device))?;
        queue.clone().try_reserve_owned().ok()
    }

    async fn settle(&mut self, batch: Vec<Finished>, teller: &mpsc::Sender<u64>) {
        let numbers: Vec<u64> = batch.iter().map(|finished| finished.number).collect();
        for Finished { number, result, message, duration } in batch {
            let duration_ms = u64::try_from(duration.as_millis()).ok();
            self.finish(number, Ending { result, message: &message, duration_ms });
            let mut notes = self.board.data();
            match result {
                CommandResult::Executed => notes.commands.executed += 1,
                CommandResult::Interrupted => notes.commands.interrupted += 1,
                CommandResult::Refused => {
                    *notes.commands.refused.entry("stale").or_default() += 1;
                }
                CommandResult::Failed | CommandResult::Started => {
                    notes.commands.failed += 1;
                }
            }
        }
        if let Err(error) = record(&self.outbox, &mut self.history).await {
            error!(%error, "cannot record the results of commands; they will count as interrupted");
        }
        for number in numbers {
            self.report(number, teller).await;
        }
        self.show();
    }

    fn finish(&mut self, number: u64, ending: Ending<'_>) {
        self.history.finish(number, ending, self.clock.now());
        let Ending { result, message, duration_ms } = ending;
        let Some(record) = self.history.record(number) else { return };
        self.board.acted(record);
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

    /// Sends the result to the outbox, as a state.
    async fn report(&mut self, number: u64, teller: &mpsc::Sender<u64>) {
        let Some(record) = self.history.record(number) else { return };
        match self.routes.report.report(record) {
            Some((device, state)) => {
                let told = Some((number, teller.clone()));
                let arrival = BusEvent::Report(Report { device, state, told });
                // A collector that is gone has broken the outbox and ends the daemon: the next start tells it.
                self.arrivals.send(arrival).await.unwrap_or_default();
            }
            None => self.history.tell(number),
        }
    }

    /// Shows the last commands on the board.
    fn show(&self) {
        self.board.data().recent = StatusRegistry::recent(self.history.records());
    }
}

/// Brings the changes of the history to the disk. What could not be written stays due.
async fn record(outbox: &Arc<Outbox>, history: &mut History) -> Result<(), tidegate_outbox::Error> {
    let changes = history.take_changes();
    if changes.is_empty() {
        return Ok(());
    }
    let outbox = Arc::clone(outbox);
    let writing = blocking(move || {
        let written = outbox.note(TABLE, &changes);
        (written, changes)
    });
    let writing = liveness::with_deadline(liveness::DISK_MAX, "recording commands", writing);
    let (written, changes) = writing.await;
    written.inspect_err(|_| history.put_back(changes))
}
