//! Decides whether a command may run: known, allowed, valid, fresh, not too often, not seen before.

mod refusal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::actuator::{Actuator, Router};
use crate::history::{AHEAD_MAX, DuplicateCheck, History, Record, command_digest};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Command, DeviceId, Name, ReadingTime, Source, Unread, Write};
use tidegate_timing::rate_limit::RecentRuns;

pub use refusal::RefusalReason;

/// Limits and payload members that apply to all commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The maximum age of a command from the stream.
    pub age_max: Duration,
    /// The maximum age of a command that was sent while no stream was open.
    pub catch_up_age_max: Duration,
    /// The payload member that holds the id of the command.
    pub id: Option<String>,
    /// The payload member by which a command to the gateway names another device.
    pub target: Option<String>,
}

/// The current time of both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// The monotonic clock, for rate limits.
    pub now: Instant,
    /// The time of day if it is known, for the age of a command.
    pub time: ReadingTime,
}

/// The result of the admission check.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The command may run.
    Run {
        /// The actuator that executes the write.
        actuator: Arc<Actuator>,
        /// The write.
        write: Write,
        /// How long the command may wait in the queue of its actuator.
        fresh_for: Duration,
    },
    /// The same command arrived before.
    Duplicate,
    /// The command does not run.
    Refused(RefusalReason),
}

/// A decision and the record that the history keeps of it.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The decision.
    pub decision: Decision,
    /// The record, without a result.
    pub record: Record,
}

/// The write of a command and the actuator that executes it.
#[derive(Debug, Clone)]
pub struct PreparedWrite {
    /// The actuator.
    pub actuator: Arc<Actuator>,
    /// The write.
    pub write: Write,
}

/// Checks each command against the rules, the actuators and the history.
#[derive(Debug)]
pub struct Admission {
    rules: Rules,
    router: Router,
    gateway: DeviceId,
    devices: BTreeMap<Name, DeviceId>,
    recent_runs: BTreeMap<Name, RecentRuns>,
}

impl Admission {
    /// Creates the check for the actuators in `router`.
    pub fn new(
        rules: Rules,
        router: Router,
        gateway: DeviceId,
        devices: BTreeMap<Name, DeviceId>,
    ) -> Self {
        Self { rules, router, gateway, devices, recent_runs: BTreeMap::new() }
    }

    /// Decides whether a command runs.
    ///
    /// A command without a time counts as sent now. It is a duplicate only if it has an id.
    pub fn handle_command(
        &mut self,
        command: &Command,
        source: Source,
        history: &History,
        clocks: Clocks,
    ) -> Judgement {
        let id =
            self.rules.id.as_ref().and_then(|member| scalar_text(command.payload.get(member)?));
        let mut record = Record::new(command, source, id.as_deref(), clocks.time);
        let digest = command_digest(command, id.as_deref());
        let decision = match history.check_duplicate(command.device, command.time, digest) {
            DuplicateCheck::Duplicate => Decision::Duplicate,
            DuplicateCheck::Forgotten => Decision::Refused(RefusalReason::Forgotten),
            DuplicateCheck::New => match self.check(command, source, &mut record, clocks) {
                Ok(PreparedWrite { actuator, write }) => {
                    let age = age(command, clocks.time);
                    let fresh_for = self.age_max(source).saturating_sub(age);
                    Decision::Run { actuator, write, fresh_for }
                }
                Err(reason) => Decision::Refused(reason),
            },
        };
        Judgement { decision, record }
    }

    /// Returns the write that a command would cause. Ignores its age, the history and rate limits.
    ///
    /// # Errors
    /// Returns the reason for which the command would be refused.
    pub fn prepare(&self, command: &Command) -> Result<PreparedWrite, RefusalReason> {
        let target = self.target(command)?;
        let actuator = self.router.find(target, &command.name).ok_or(RefusalReason::Unknown)?;
        let reserved: Vec<&str> = [&self.rules.id, &self.rules.target]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        actuator.arguments.check(&command.payload, &reserved)?;
        let addressed = Command { device: target, ..command.clone() };
        let write = actuator.write_for(&addressed)?;
        Ok(PreparedWrite { actuator: Arc::clone(actuator), write })
    }

    fn check(
        &mut self,
        command: &Command,
        source: Source,
        record: &mut Record,
        clocks: Clocks,
    ) -> Result<PreparedWrite, RefusalReason> {
        match command.unread {
            Some(Unread::TooLarge) => return Err(RefusalReason::TooLarge),
            Some(Unread::Malformed) => return Err(RefusalReason::Malformed),
            None => {}
        }
        record.target = self.target(command)?;
        if let Some(actuator) = self.router.find(record.target, &command.name) {
            record.actuator = Some(actuator.name.clone());
        }
        if command.time.is_some() && clocks.time.wall().is_none() {
            return Err(RefusalReason::NoTime);
        }
        let age = age(command, clocks.time);
        if age > self.age_max(source) && record.actuator.is_some() {
            return Err(RefusalReason::Stale(age));
        }
        let sent = command.time.zip(clocks.time.wall());
        let ahead = sent.map(|(sent, now)| sent.since(now)).unwrap_or_default();
        if ahead > AHEAD_MAX && record.actuator.is_some() {
            return Err(RefusalReason::Ahead(ahead));
        }
        let prepared = self.prepare(command)?;
        let runs = self.recent_runs.entry(prepared.actuator.name.clone()).or_default();
        if runs.admit(prepared.actuator.rate, clocks.now) {
            Ok(prepared)
        } else {
            Err(RefusalReason::TooOften)
        }
    }

    fn age_max(&self, source: Source) -> Duration {
        match source {
            Source::Live => self.rules.age_max,
            Source::CaughtUp => self.rules.catch_up_age_max,
        }
    }

    /// Returns the device that a command is for.
    ///
    /// That is the device that Losant sent it to. A command to the gateway may name another one.
    fn target(&self, command: &Command) -> Result<DeviceId, RefusalReason> {
        let named = self.rules.target.as_ref().and_then(|member| command.payload.get(member));
        let Some(named) = named.filter(|_| command.device == self.gateway) else {
            return Ok(command.device);
        };
        let named = scalar_text(named).unwrap_or_default();
        let by_name = self.devices.get(named.as_str()).copied();
        let by_id = || self.devices.values().find(|id| id.to_string() == named).copied();
        by_name
            .or_else(by_id)
            .ok_or_else(|| RefusalReason::UnknownDevice(excerpt(named.as_bytes())))
    }
}

/// Returns the age of a command; zero if it has no time or if the time of day is unknown.
fn age(command: &Command, time: ReadingTime) -> Duration {
    command.time.zip(time.wall()).map(|(sent, now)| now.since(sent)).unwrap_or_default()
}

/// Returns the text of a JSON string or number.
fn scalar_text(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
