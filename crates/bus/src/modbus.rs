//! Modbus, RTU on a serial line or TCP: units that are asked for their registers, one after the other on one line.
//!
//! Each unit has its own interval, and its registers make one message, a JSON object, with its name as topic. A unit that does
//! not answer is asked less and less often, so that it does not slow the others. After a silence or a damaged answer the line
//! is opened again: only then does no late answer of one unit pass for another's. A unit that answers when it is asked again may
//! answer twice, so the line is left alone then for twice its timeout. Writes go between two requests, ahead of what
//! is due to be asked, but never two in a row while something is due.

mod line;
mod write;

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

use super::problem_log::ProblemLog;
use super::{Feed, RECONNECT_WAIT, WriteError, WriteRequest, sleep_until};
use line::{Line, LineError};
use tidegate_config::{ModbusBus, ModbusUnit};
use tidegate_modbus::{Request, decode, plan_requests};
use tidegate_model::Write;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;
use write::{Unconfirmed, write};

/// The longest wait before a silent unit is asked again, unless its interval is longer.
const SILENT_WAIT_MAX: Duration = Duration::from_secs(60);

/// How often one request is made before its unit counts as silent. One that is known to be silent is asked once. Also how
/// often a unit is asked whether it holds what was written.
const TRIES_MAX: u32 = 3;

/// The task that owns one Modbus line.
pub struct ModbusTask {
    settings: ModbusBus,
    feed: Feed,
    writes: mpsc::Receiver<WriteRequest>,
    /// A write whose answer did not come before the line was lost.
    unconfirmed: Option<Unconfirmed>,
}

/// What ended a wait.
enum Waited {
    /// It is time to ask.
    Due,
    /// The daemon stops.
    Stopped,
    /// The line must be opened again.
    Lost,
}

/// A unit and when it is asked.
struct Poll {
    unit: ModbusUnit,
    requests: Vec<Request>,
    due: Instant,
    backoff: Backoff,
    round: Round,
    /// Whether it was asked in vain, and has said nothing since.
    is_silent: bool,
}

/// What a unit has said since it was last done with.
#[derive(Default)]
struct Round {
    channels: Map<String, Value>,
    refusals: Vec<String>,
    /// The next request.
    next: usize,
    /// How often that was asked in vain.
    tries: u32,
}

impl ModbusTask {
    /// One for the line of `settings`, with the way to the collector and the queue from the actuators.
    pub fn new(settings: ModbusBus, feed: Feed, writes: mpsc::Receiver<WriteRequest>) -> Self {
        Self { settings, feed, writes, unconfirmed: None }
    }

    /// Runs until it is stopped. An absent line is no fault: it is waited for.
    pub async fn run(mut self) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_WAIT.0, RECONNECT_WAIT.1);
        let mut troubles = self.feed.troubles();
        let units = self.settings.units.iter().filter(|unit| !unit.registers.is_empty());
        let mut polls: Vec<_> = units.map(Poll::new).collect();
        let (mut is_told, mut unanswered) = (false, None);
        loop {
            match Line::open(&self.settings, unanswered).await {
                Ok(mut line) => {
                    if !std::mem::replace(&mut is_told, true) {
                        info!(bus = %self.feed.bus(), line = %self.settings.line, "modbus line open");
                    }
                    self.feed.connected();
                    troubles.end("line");
                    let is_stopped = self.poll(&mut line, &mut polls, &mut troubles).await;
                    if is_stopped {
                        return;
                    }
                    unanswered = line.unanswered();
                    backoff.reset();
                    continue;
                }
                Err(trouble) => {
                    self.feed.lost(&trouble);
                    troubles.begin("line", &trouble);
                    if let Some(unconfirmed) = self.unconfirmed.take() {
                        unconfirmed.give_up(&trouble);
                    }
                }
            }
            is_told = false;
            if !self.pause(Instant::now() + backoff.next_delay(&mut rng)).await {
                return;
            }
        }
    }

    /// Asks the units in the order in which they are due. `true` at the stop, `false` when the line must be opened again.
    async fn poll(
        &mut self,
        line: &mut Line,
        polls: &mut [Poll],
        troubles: &mut ProblemLog,
    ) -> bool {
        loop {
            let next = polls.iter_mut().min_by_key(|poll| poll.due);
            match self.wait(line, next.as_ref().map(|poll| poll.due)).await {
                Waited::Due => {}
                Waited::Stopped => return true,
                Waited::Lost => return false,
            }
            let Some(poll) = next else { continue };
            // A request under way is not broken off: half an answer would be left on the line.
            let asked = poll.ask_next(line).await;
            if asked.is_ok() && !poll.is_through() {
                continue;
            }
            let unit = poll.unit.name.to_string();
            let trouble = match &asked {
                Ok(()) => poll.round.refusals.join("; "),
                Err(error) => {
                    debug!(bus = %self.feed.bus(), unit, %error, "no good answer");
                    if poll.may_try_again() {
                        return false;
                    }
                    error.to_string()
                }
            };
            if trouble.is_empty() {
                troubles.end(&unit);
            } else {
                troubles.begin(&unit, &trouble);
            }
            let Round { channels, .. } = std::mem::take(&mut poll.round);
            if !channels.is_empty() {
                self.feed.offer(&unit, Value::Object(channels).to_string().into());
            }
            if asked.is_err() {
                poll.fall_silent();
                return false;
            }
            poll.finish();
        }
    }

    /// Waits until then, or for ever, and writes what there is to write.
    async fn wait(&mut self, line: &mut Line, until: Option<Instant>) -> Waited {
        if let Some(unconfirmed) = self.unconfirmed.take() {
            self.unconfirmed = unconfirmed.read_back(line).await;
        }
        loop {
            if self.unconfirmed.is_some() || line.is_lost() {
                return Waited::Lost;
            }
            tokio::select! {
                biased;
                () = self.feed.stopped() => return Waited::Stopped,
                Some(request) = self.writes.recv() => {
                    self.unconfirmed = self.write(line, request).await;
                    if until.is_some_and(|until| until <= Instant::now()) && !line.is_lost() {
                        return Waited::Due;
                    }
                }
                () = sleep_until(until) => return Waited::Due,
            }
        }
    }

    /// Waits without a line, so that all writes fail; `false` when the daemon stops.
    async fn pause(&mut self, until: Instant) -> bool {
        loop {
            tokio::select! {
                () = self.feed.stopped() => return false,
                () = tokio::time::sleep_until(until) => return true,
                Some(request) = self.writes.recv() => request.finish(Err(WriteError::NotConnected)),
            }
        }
    }

    /// Does one write, unless it is none for a unit of ours, or nobody waits for it any more.
    async fn write(&self, line: &mut Line, request: WriteRequest) -> Option<Unconfirmed> {
        let Write::Modbus(order) = &request.write else {
            request.finish(Err(WriteError::WrongKind));
            return None;
        };
        let Some(unit) = self.settings.units.iter().find(|unit| unit.name == order.unit) else {
            let unit = order.unit.clone();
            request.finish(Err(WriteError::Unknown(unit)));
            return None;
        };
        if request.is_given_up() {
            return None;
        }
        if let Err(trouble) = line.refresh(&self.settings).await {
            request.finish(Err(WriteError::Broken(trouble)));
            return None;
        }
        write(line, unit.clone(), request).await
    }
}

impl Poll {
    fn new(unit: &ModbusUnit) -> Self {
        let requests = plan_requests(&unit.registers, unit.merge_gap_max);
        let backoff = Backoff::new(unit.interval, unit.interval.max(SILENT_WAIT_MAX));
        Self {
            unit: unit.clone(),
            requests,
            due: Instant::now(),
            backoff,
            round: Round::default(),
            is_silent: true,
        }
    }

    /// Asks for the registers of the next request. A refusal concerns only its own.
    async fn ask_next(&mut self, line: &mut Line) -> Result<(), LineError> {
        let Some(request) = self.requests.get(self.round.next) else { return Ok(()) };
        match line.ask(&self.unit, request).await? {
            Ok(answer) => {
                let registers =
                    request.registers.iter().filter_map(|at| self.unit.registers.get(*at));
                for register in registers {
                    if let Some(value) = decode(register, request, &answer) {
                        self.round.channels.insert(register.channel.clone(), value);
                    }
                }
            }
            Err(exception) => {
                let Request { table, address, .. } = request;
                let refusal = format!("it refuses {table:?} from {address}: {exception}");
                self.round.refusals.push(refusal);
            }
        }
        self.round.next += 1;
        self.round.tries = 0;
        self.is_silent = false;
        Ok(())
    }

    /// Whether all has been asked for.
    fn is_through(&self) -> bool {
        self.round.next >= self.requests.len()
    }

    /// After a request in vain: whether it is to be made again, at once.
    fn may_try_again(&mut self) -> bool {
        self.round.tries += 1;
        !self.is_silent && self.round.tries < TRIES_MAX
    }

    fn finish(&mut self) {
        self.backoff.reset();
        // After a pause, as of a dead line, what was missed is not made up for.
        self.due = (self.due + self.unit.interval).max(Instant::now());
    }

    fn fall_silent(&mut self) {
        self.is_silent = true;
        self.due = Instant::now() + self.backoff.next_delay(&mut random::seeded());
    }
}
