//! Modbus, RTU on a serial line or TCP: units that are asked for their registers, one after the other on one line.
//!
//! Each unit has its own interval, and its registers make one message, a JSON object, with its name as topic. A unit that does
//! not answer is asked less and less often, so that it does not slow the others. After a silence or a damaged answer the line
//! is opened again: only then does no late answer of one unit pass for another's.

mod line;

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

use super::troubles::Troubles;
use super::{Feed, RECONNECT_WAIT, WriteError, WriteRequest};
use crate::config::{ModbusBus, ModbusUnit};
use crate::logic::backoff::Backoff;
use crate::logic::modbus::{Request, plan, read};
use crate::random;
use line::{Line, LineError};

/// The longest wait before a silent unit is asked again, unless its interval is longer.
const SILENT_WAIT_MAX: Duration = Duration::from_secs(60);

/// How often one request is made before its unit counts as silent. One that is known to be silent is asked once.
const TRIES_MAX: u32 = 3;

/// The task that owns one Modbus line.
pub struct ModbusTask {
    /// The line and its units.
    pub settings: ModbusBus,
    /// To the collector.
    pub feed: Feed,
    /// From the actuators.
    pub writes: mpsc::Receiver<WriteRequest>,
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
    /// Runs until it is stopped. An absent line is no fault: it is waited for.
    pub async fn run(mut self) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_WAIT.0, RECONNECT_WAIT.1);
        let mut troubles = self.feed.troubles();
        let mut polls: Vec<_> = self.settings.units.iter().map(Poll::new).collect();
        let mut is_told = false;
        loop {
            match Line::open(&self.settings).await {
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
                    backoff.reset();
                    continue;
                }
                Err(trouble) => {
                    self.feed.lost(&trouble);
                    troubles.begin("line", &trouble);
                }
            }
            is_told = false;
            if !self.pause(Instant::now() + backoff.next_delay(&mut rng)).await {
                return;
            }
        }
    }

    /// Asks the units in the order in which they are due. `true` at the stop, `false` when the line must be opened again.
    async fn poll(&mut self, line: &mut Line, polls: &mut [Poll], troubles: &mut Troubles) -> bool {
        loop {
            let Some(poll) = polls.iter_mut().min_by_key(|poll| poll.due) else {
                self.feed.stopped().await;
                return true;
            };
            if !self.pause(poll.due).await {
                return true;
            }
            // A request under way is not broken off: half an answer would be left on the line.
            let asked = poll.ask(line).await;
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

    /// Waits until then; `false` when the daemon stops.
    async fn pause(&mut self, until: Instant) -> bool {
        loop {
            tokio::select! {
                () = self.feed.stopped() => return false,
                () = tokio::time::sleep_until(until) => return true,
                Some(request) = self.writes.recv() => request.finish(Err(WriteError::WrongKind)),
            }
        }
    }
}

impl Poll {
    fn new(unit: &ModbusUnit) -> Self {
        let requests = plan(&unit.registers, unit.join_gap);
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

    /// Asks for all registers that are still to come. A refusal concerns only its own; after a silence the rest is not asked.
    async fn ask(&mut self, line: &mut Line) -> Result<(), LineError> {
        while let Some(request) = self.requests.get(self.round.next) {
            match line.ask(&self.unit, request).await? {
                Ok(answer) => {
                    let members =
                        request.members.iter().filter_map(|at| self.unit.registers.get(*at));
                    for register in members {
                        if let Some(value) = read(register, request, &answer) {
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
        }
        Ok(())
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
