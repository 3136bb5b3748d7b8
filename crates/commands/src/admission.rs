//! Whether a command may run: known, allowed, well-formed, fresh, not too often, and not seen before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::actuator::{Actuator, Router, WriteError};
use crate::arguments::ArgumentError;
use crate::history::{AHEAD_MAX, History, Known, Record, digest};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{
    Command, DeviceId, Name, PAYLOAD_BYTES_MAX, ReadingTime, Source, Unread, Write,
};
use tidegate_timing::rate_limit::Window;

/// What the gate is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The oldest command from the stream that runs.
    pub age_max: Duration,
    /// The oldest command that runs although it was sent while there was no stream.
    pub catch_up_age_max: Duration,
    /// The member of the payload that is the command's id.
    pub id: Option<String>,
    /// The member of the payload by which a command to the gateway names another device.
    pub target: Option<String>,
}

/// What the gate says to a command.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Run it.
    Run {
        /// What takes it.
        actuator: Arc<Actuator>,
        /// What it writes.
        write: Write,
        /// How much longer it may wait for its actuator.
        fresh_for: Duration,
    },
    /// The same command came before.
    Duplicate,
    /// It does not run.
    Refused(Refusal),
}

/// Why a command does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No actuator takes this command.
    #[error("no actuator takes it")]
    Unknown,
    /// It names a device that is none of ours.
    #[error("\"{0}\" is no device of this gateway")]
    UnknownDevice(String),
    /// It is older than allowed: nobody wants yesterday's "open valve".
    #[error("it is {} s old", .0.as_secs())]
    Stale(Duration),
    /// It says that it was sent later than now, and not by a little.
    #[error("it is dated {} s ahead of the clock here", .0.as_secs())]
    Ahead(Duration),
    /// It says when it was sent, and the gateway does not know the time of day yet.
    #[error("the time of day is not known yet, so neither is its age")]
    NoTime,
    /// So much came after it that nobody can tell whether it ran.
    #[error("it is too old to tell whether it ran before")]
    Forgotten,
    /// Its payload is too large.
    #[error("its payload has more than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    /// Its payload is no JSON that can be read.
    #[error("its payload is nested too deeply, or has a text or a number that cannot be held")]
    Malformed,
    /// Its arguments are not those of the actuator.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// What it would write cannot be written.
    #[error(transparent)]
    Unwritable(#[from] WriteError),
    /// The actuator has run as often as it may.
    #[error("the actuator has run as often as it may for now")]
    TooOften,
    /// Too many commands wait for the actuator.
    #[error("too many commands wait for the actuator")]
    Busy,
}

impl Refusal {
    /// The stable text for logs, counts and labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::UnknownDevice(_) => "unknown_device",
            Self::Stale(_) => "stale",
            Self::Ahead(_) => "ahead",
            Self::NoTime => "no_time",
            Self::Forgotten => "forgotten",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Arguments(_) => "arguments",
            Self::Unwritable(_) => "unwritable",
            Self::TooOften => "too_often",
            Self::Busy => "busy",
        }
    }
}

/// Admits each command once.
#[derive(Debug)]
pub struct Admission {
    rules: Rules,
    router: Router,
    gateway: DeviceId,
    devices: BTreeMap<Name, DeviceId>,
    windows: BTreeMap<Name, Window>,
}

impl Admission {
    /// A gate in front of these actuators.
    pub fn new(
        rules: Rules,
        router: Router,
        gateway: DeviceId,
        devices: BTreeMap<Name, DeviceId>,
    ) -> Self {
        Self { rules, router, gateway, devices, windows: BTreeMap::new() }
    }

    /// Judges a command that arrived at `now` and `time`, and gives the record of it that is to be kept.
    ///
    /// A command without a time counts as sent now, and is never taken for a repeat unless it has an id.
    pub fn judge(
        &mut self,
        command: &Command,
        source: Source,
        history: &History,
        (now, time): (Instant, ReadingTime),
    ) -> (Decision, Record) {
        let id = self.rules.id.as_ref().and_then(|member| text_of(command.payload.get(member)?));
        let mut record = Record::of(command, source, id.as_deref(), time);
        let known = history.knows(command.device, command.time, digest(command, id.as_deref()));
        if known == Known::Yes {
            return (Decision::Duplicate, record);
        }
        let checked = if known == Known::Forgotten {
            Err(Refusal::Forgotten)
        } else {
            self.check(command, source, &mut record, (now, time))
        };
        match checked {
            Ok((actuator, write)) => {
                let fresh_for = self.age_max(source).saturating_sub(age(command, time));
                (Decision::Run { actuator, write, fresh_for }, record)
            }
            Err(refusal) => (Decision::Refused(refusal), record),
        }
    }

    /// What a command of these words would write, without regard to its age and to how often it came.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn rehearse(&self, command: &Command) -> Result<(Arc<Actuator>, Write), Refusal> {
        let target = self.target(command)?;
        let actuator = self.router.find(target, &command.name).ok_or(Refusal::Unknown)?;
        let others: Vec<&str> = [&self.rules.id, &self.rules.target]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        actuator.arguments.check(&command.payload, &others)?;
        let addressed = Command { device: target, ..command.clone() };
        Ok((Arc::clone(actuator), actuator.write_for(&addressed)?))
    }

    fn check(
        &mut self,
        command: &Command,
        source: Source,
        record: &mut Record,
        (now, time): (Instant, ReadingTime),
    ) -> Result<(Arc<Actuator>, Write), Refusal> {
        match command.unread {
            Some(Unread::TooLarge) => return Err(Refusal::TooLarge),
            Some(Unread::Malformed) => return Err(Refusal::Malformed),
            None => {}
        }
        record.target = self.target(command)?;
        if let Some(actuator) = self.router.find(record.target, &command.name) {
            record.actuator = Some(actuator.name.clone());
        }
        if command.time.is_some() && time.wall().is_none() {
            return Err(Refusal::NoTime);
        }
        let age = age(command, time);
        if age > self.age_max(source) && record.actuator.is_some() {
            return Err(Refusal::Stale(age));
        }
        let sent = command.time.zip(time.wall());
        let ahead = sent.map(|(sent, now)| sent.since(now)).unwrap_or_default();
        if ahead > AHEAD_MAX && record.actuator.is_some() {
            return Err(Refusal::Ahead(ahead));
        }
        let (actuator, write) = self.rehearse(command)?;
        let window = self.windows.entry(actuator.name.clone()).or_default();
        if window.admit(actuator.rate, now) {
            Ok((actuator, write))
        } else {
            Err(Refusal::TooOften)
        }
    }

    fn age_max(&self, source: Source) -> Duration {
        match source {
            Source::Live => self.rules.age_max,
            Source::CaughtUp => self.rules.catch_up_age_max,
        }
    }

    /// Whose command it is: the device's that it was sent to, or the one that it names.
    fn target(&self, command: &Command) -> Result<DeviceId, Refusal> {
        let named = self.rules.target.as_ref().and_then(|member| command.payload.get(member));
        let Some(named) = named.filter(|_| command.device == self.gateway) else {
            return Ok(command.device);
        };
        let named = text_of(named).unwrap_or_default();
        let by_name = self.devices.get(named.as_str()).copied();
        let by_id = || self.devices.values().find(|id| id.to_string() == named).copied();
        by_name.or_else(by_id).ok_or_else(|| Refusal::UnknownDevice(excerpt(named.as_bytes())))
    }
}

/// Zero without a time: such a command counts as sent now.
fn age(command: &Command, time: ReadingTime) -> Duration {
    command.time.zip(time.wall()).map(|(sent, now)| now.since(sent)).unwrap_or_default()
}

fn text_of(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
