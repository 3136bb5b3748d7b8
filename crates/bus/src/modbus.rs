//! Modbus, RTU on a serial line or TCP: polls the registers of units, one unit after the other.
//!
//! Each unit has an interval of its own. Its registers make one message, a JSON object, with the
//! name of the unit as its topic. A unit that does not answer is polled less and less often, so
//! that it does not delay the others.
//!
//! Not now is not never: a busy unit is asked again soon, and a unit that a gateway cannot reach
//! counts as silent, while the line stays open for the others.
//!
//! After a timeout or a damaged answer the line is opened again, so that a late answer of one unit
//! cannot pass for the answer of another. A unit that answers the second request may still answer
//! the first, so the line then stays idle for twice its timeout. Writes happen between two
//! requests, before the next poll, but never two in a row while a poll is due.

mod line;
mod write;

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_modbus::ExceptionCode;
use tracing::{debug, info};

use crate::problem_log::ProblemLog;
use crate::{
    BusContext, BusDriver, BusTask, RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN, WriteError,
    WriteQueue, WriteRequest,
};
use line::{CallError, Line};
use tidegate_config::{ModbusBus, ModbusUnit};
use tidegate_modbus::{Request, decode, plan_requests};
use tidegate_model::Write;
use tidegate_runtime::random;
use tidegate_runtime::wait::sleep_until;
use tidegate_timing::backoff::Backoff;
use write::{Unconfirmed, write};

/// The longest delay before a silent unit is polled again, unless its interval is longer.
const SILENT_DELAY_MAX: Duration = Duration::from_secs(60);

/// The tries of one request before its unit counts as silent. A silent unit gets one try. Also the
/// tries of reading back a write.
const TRIES_MAX: u32 = 3;

/// The pause before a busy unit is asked again.
const BUSY_DELAY: Duration = Duration::from_millis(500);

/// How often a busy unit is asked again before the next round.
const BUSY_TRIES_MAX: u32 = 3;

/// The subject of problems with the line.
const LINE: &str = "line";

impl BusDriver for ModbusBus {
    fn describe(&self) -> String {
        let unit = |unit: &ModbusUnit| format!("{} ({})", unit.name, unit.id);
        let units: Vec<_> = self.units.iter().map(unit).collect();
        format!("Modbus {}, units {}", self.line, units.join(", "))
    }

    fn task(&self, context: BusContext, writes: WriteQueue) -> BusTask {
        Box::pin(Driver { settings: self.clone(), context, writes, unconfirmed: None }.run())
    }
}

struct Driver {
    settings: ModbusBus,
    context: BusContext,
    writes: WriteQueue,
    /// A write whose answer did not arrive before the line was lost.
    unconfirmed: Option<Unconfirmed>,
}

/// What ended a wait.
enum Event {
    /// A poll is due.
    PollDue,
    Stopped,
    /// The line must be opened again.
    Lost,
}

/// A unit and its polls.
struct Poll {
    unit: ModbusUnit,
    requests: Vec<Request>,
    due: Instant,
    backoff: Backoff,
    round: Round,
    /// Whether a request failed and none has succeeded since.
    is_silent: bool,
}

/// The results of one round of requests to a unit.
#[derive(Default)]
struct Round {
    channels: Map<String, Value>,
    exceptions: Vec<String>,
    /// The index of the next request.
    next: usize,
    /// The failed tries of that request.
    tries: u32,
    /// Whether that request was tried on a fresh connection, because the old one had ended.
    is_reconnected: bool,
    /// How often the unit was busy.
    busy: u32,
    /// When a busy unit is asked again.
    resumes_at: Option<Instant>,
}

/// What a request brought.
enum Progress {
    /// The next request may follow.
    Done,
    /// The unit is busy.
    Later,
    /// A gateway cannot reach the unit.
    Unreachable(ExceptionCode),
}

impl Driver {
    async fn run(mut self) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_DELAY_MIN, RECONNECT_DELAY_MAX);
        let mut problems = self.context.problems();
        let units = self.settings.units.iter().filter(|unit| !unit.registers.is_empty());
        let mut polls: Vec<_> = units.map(Poll::new).collect();
        let (mut is_logged, mut unanswered) = (false, None);
        loop {
            match Line::open(&self.settings, unanswered).await {
                Ok(mut line) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        let (bus, line) = (&self.context.bus, &self.settings.line);
                        info!(%bus, %line, "modbus line open");
                    }
                    self.context.report_connected();
                    problems.end(LINE);
                    let is_stopped = self.serve(&mut line, &mut polls, &mut problems).await;
                    if is_stopped {
                        return;
                    }
                    unanswered = line.unanswered();
                    backoff.reset();
                    continue;
                }
                Err(error) => {
                    let error = error.to_string();
                    self.context.report_disconnected(&error);
                    problems.begin(LINE, &error);
                    if let Some(unconfirmed) = self.unconfirmed.take() {
                        unconfirmed.give_up(&error);
                    }
                }
            }
            is_logged = false;
            let delay = backoff.next_delay(&mut rng);
            if !self.writes.reject_for(delay, &self.context).await {
                return;
            }
        }
    }

    /// Polls the units in the order in which they are due. Returns whether the bus is stopped;
    /// otherwise the line must be opened again.
    async fn serve(
        &mut self,
        line: &mut Line,
        polls: &mut [Poll],
        problems: &mut ProblemLog,
    ) -> bool {
        loop {
            let next = polls.iter_mut().min_by_key(|poll| poll.next_due());
            match self.wait(line, next.as_ref().map(|poll| poll.next_due())).await {
                Event::PollDue => {}
                Event::Stopped => return true,
                Event::Lost => return false,
            }
            let Some(poll) = next else { continue };
            if line.refresh(&self.settings).await.is_err() {
                return false;
            }
            // A stop waits for the request: half an answer would stay on the line.
            match poll.request_next(line).await {
                Ok(Progress::Later) => {}
                Ok(Progress::Done) if !poll.is_complete() => {}
                Ok(Progress::Done) => {
                    let problem = poll.round.exceptions.join("; ");
                    self.end_round(poll, &problem, problems);
                    poll.schedule_next();
                }
                Ok(Progress::Unreachable(exception)) => {
                    self.end_round(poll, &exception.to_string(), problems);
                    poll.delay_silent();
                }
                Err(error) => {
                    let (bus, unit) = (&self.context.bus, &poll.unit.name);
                    debug!(%bus, %unit, %error, "modbus request failed");
                    if !poll.may_try_again(&error, line.is_reused()) {
                        self.end_round(poll, &error.to_string(), problems);
                        poll.delay_silent();
                    }
                    return false;
                }
            }
        }
    }

    /// Reports the problem of a round, if it had one, and passes on what was read.
    fn end_round(&self, poll: &mut Poll, problem: &str, problems: &mut ProblemLog) {
        let unit = poll.unit.name.to_string();
        if problem.is_empty() {
            problems.end(&unit);
        } else {
            problems.begin(&unit, problem);
        }
        let Round { channels, .. } = std::mem::take(&mut poll.round);
        if !channels.is_empty() {
            self.context.offer(&unit, Value::Object(channels).to_string().into());
        }
    }

    /// Waits until this time, or for ever, and writes meanwhile.
    async fn wait(&mut self, line: &mut Line, until: Option<Instant>) -> Event {
        if let Some(unconfirmed) = self.unconfirmed.take() {
            self.unconfirmed = unconfirmed.read_back(line).await;
        }
        loop {
            if self.unconfirmed.is_some() || line.is_lost() {
                return Event::Lost;
            }
            tokio::select! {
                biased;
                () = self.context.stopped() => return Event::Stopped,
                Some(request) = self.writes.recv() => {
                    self.unconfirmed = self.write(line, request).await;
                    if until.is_some_and(|until| until <= Instant::now()) && !line.is_lost() {
                        return Event::PollDue;
                    }
                }
                () = sleep_until(until) => return Event::PollDue,
            }
        }
    }

    /// Does one write. Returns it if it must be read back on a new line.
    async fn write(&self, line: &mut Line, request: WriteRequest) -> Option<Unconfirmed> {
        let Write::Modbus(write_data) = &request.write else {
            request.finish(Err(WriteError::WrongKind));
            return None;
        };
        let Some(unit) = self.settings.units.iter().find(|unit| unit.name == write_data.unit)
        else {
            let unit = write_data.unit.clone();
            request.finish(Err(WriteError::Unknown(unit)));
            return None;
        };
        if request.is_given_up() {
            return None;
        }
        if let Err(error) = line.refresh(&self.settings).await {
            request.finish(Err(WriteError::Broken(error.to_string())));
            return None;
        }
        write(line, unit.clone(), request).await
    }
}

impl Poll {
    fn new(unit: &ModbusUnit) -> Self {
        let requests = plan_requests(&unit.registers, unit.merge_gap_max);
        let backoff = Backoff::new(unit.interval, unit.interval.max(SILENT_DELAY_MAX));
        Self {
            unit: unit.clone(),
            requests,
            due: Instant::now(),
            backoff,
            round: Round::default(),
            is_silent: true,
        }
    }

    /// Returns the time of the next request.
    fn next_due(&self) -> Instant {
        self.round.resumes_at.unwrap_or(self.due)
    }

    /// Sends the next request. An exception concerns only the registers of this request, unless it
    /// concerns the whole unit.
    async fn request_next(&mut self, line: &mut Line) -> Result<Progress, CallError> {
        self.round.resumes_at = None;
        let Some(request) = self.requests.get(self.round.next) else { return Ok(Progress::Done) };
        match line.read(&self.unit, request).await? {
            Ok(answer) => {
                let registers =
                    request.registers.iter().filter_map(|at| self.unit.registers.get(*at));
                for register in registers {
                    if let Some(value) = decode(register, request, &answer) {
                        self.round.channels.insert(register.channel.clone(), value);
                    }
                }
            }
            Err(ExceptionCode::Acknowledge | ExceptionCode::ServerDeviceBusy)
                if self.round.busy < BUSY_TRIES_MAX =>
            {
                self.round.busy += 1;
                self.round.resumes_at = Some(Instant::now() + BUSY_DELAY);
                return Ok(Progress::Later);
            }
            Err(
                exception @ (ExceptionCode::GatewayPathUnavailable
                | ExceptionCode::GatewayTargetDevice),
            ) => return Ok(Progress::Unreachable(exception)),
            Err(exception) => {
                let Request { table, address, .. } = request;
                let text = format!("it refuses {table:?} from {address}: {exception}");
                self.round.exceptions.push(text);
            }
        }
        self.round.next += 1;
        (self.round.tries, self.round.is_reconnected) = (0, false);
        self.is_silent = false;
        Ok(Progress::Done)
    }

    fn is_complete(&self) -> bool {
        self.round.next >= self.requests.len()
    }

    /// Counts a failed request. Returns whether to try it again at once. A connection that ended
    /// since the request before says nothing about the unit: a fresh one does.
    fn may_try_again(&mut self, error: &CallError, is_reused: bool) -> bool {
        let has_ended = matches!(error, CallError::Connection(_)) && is_reused;
        if has_ended && !std::mem::replace(&mut self.round.is_reconnected, true) {
            return true;
        }
        self.round.tries += 1;
        !self.is_silent && self.round.tries < TRIES_MAX
    }

    fn schedule_next(&mut self) {
        self.backoff.reset();
        // Polls that were missed while the line was lost are skipped.
        self.due = (self.due + self.unit.interval).max(Instant::now());
    }

    fn delay_silent(&mut self) {
        self.is_silent = true;
        self.due = Instant::now() + self.backoff.next_delay(&mut random::seeded());
    }
}
