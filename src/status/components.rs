//! The status of single components: buses, sensors, actuators, the disk.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::Names;
use tidegate_commands::history::Record;
use tidegate_ingest::mapping::AttributeProblem;
use tidegate_ingest::sensor_stats::{SensorStats, WithoutValue};
use tidegate_model::{
    AttributeName, CommandResult, Misfit, Name, ReadingTime, Reason, Value, WallTime,
};
use tidegate_timing::forecast::payloads_a_month;

/// The most problems of one bus in the status document; the log has all.
const PROBLEMS_MAX: usize = 16;

/// The instant at which a condition began; serialised as its age in seconds, which needs no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since(Instant);

impl Since {
    /// Returns the current instant.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since then.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl From<std::time::Instant> for Since {
    fn from(instant: std::time::Instant) -> Self {
        Self(instant.into())
    }
}

impl Serialize for Since {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.elapsed().as_secs())
    }
}

/// The status of a bus.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BusStatus {
    /// Whether its line or session is open; null before the first attempt, and for a bus without a
    /// connection.
    pub connected: Option<bool>,
    /// The age of this condition.
    #[serde(rename = "since_s")]
    pub since: Option<Since>,
    /// Why it is closed; empty while it is open.
    pub error: String,
    /// The number of disconnections since the start.
    pub disconnects: u64,
    /// The problems by subject, such as a unit or a file; 16 at most.
    pub problems: BTreeMap<String, String>,
    /// The subscriptions that the broker refuses, each with its reason; 16 at most.
    pub refused_subscriptions: BTreeMap<String, String>,
    /// How it shows that another MQTT client has the client id of this bus.
    pub session_conflict: Option<String>,
}

impl BusStatus {
    pub(super) fn set_connected(&mut self) {
        *self = Self { connected: Some(true), since: Some(Since::now()), ..std::mem::take(self) };
        self.error.clear();
    }

    pub(super) fn set_disconnected(&mut self, error: &str) {
        if self.connected != Some(false) {
            self.disconnects += u64::from(self.connected == Some(true));
            (self.connected, self.since) = (Some(false), Some(Since::now()));
        }
        error.clone_into(&mut self.error);
    }

    pub(super) fn set_problem(&mut self, subject: &str, problem: Option<&str>) {
        set_bounded(&mut self.problems, subject, problem);
    }

    pub(super) fn set_refused_subscription(&mut self, filter: &str, why: Option<&str>) {
        set_bounded(&mut self.refused_subscriptions, filter, why);
    }
}

/// Sets or removes a problem. Further ones are left out.
fn set_bounded(problems: &mut BTreeMap<String, String>, subject: &str, problem: Option<&str>) {
    match problem {
        None => drop(problems.remove(subject)),
        Some(problem) => {
            if problems.len() < PROBLEMS_MAX || problems.contains_key(subject) {
                problems.insert(subject.to_owned(), problem.to_owned());
            }
        }
    }
}

/// The status of a sensor.
#[derive(Debug, Clone, Serialize)]
pub struct SensorStatus {
    /// Its bus.
    pub bus: Name,
    /// The attribute of the last value.
    pub attribute: Option<String>,
    /// The last value; a text is cut off at 64 bytes.
    pub value: Option<Value>,
    /// Seconds since the last message; null before the first.
    #[serde(rename = "age_s")]
    pub age: Option<Since>,
    /// Messages per minute, averaged over the last minutes.
    pub per_minute: f64,
    /// States since the start, or since a reload changed the bus; Losant counts each as a payload.
    pub payloads: u64,
    /// The forecast of payloads in 30 days; null in the first minute.
    pub payloads_per_month: Option<u64>,
    /// Decoded messages since the start, or since a reload changed the bus.
    pub messages: u64,
    /// Messages and values that could not be decoded or mapped.
    pub errors: u64,
    /// The last of these errors.
    pub error: Option<String>,
    /// The reason of the last error, as in the ledger.
    pub error_reason: Option<Reason>,
    /// Messages and values that have nothing to send: ignored, empty, null, or without a mapped
    /// channel.
    pub skipped: u64,
    /// Why the last of these was skipped.
    pub skip: Option<String>,
    /// The reason of the last of these, as in the ledger.
    pub skip_reason: Option<Reason>,
    /// Seconds since the last of these.
    #[serde(rename = "skip_age_s")]
    pub skip_age: Option<Since>,
    /// Values that were mapped, before any filter.
    pub values: u64,
    /// The attributes whose last value Losant would have ignored, each with the reason.
    #[serde(serialize_with = "as_texts")]
    pub misfits: BTreeMap<AttributeName, Misfit>,
    /// Seconds since the last error.
    #[serde(rename = "error_age_s")]
    pub error_age: Option<Since>,
    /// Whether it has been silent for too long; null without the option `stale`.
    pub stale: Option<bool>,
    /// The devices that have been silent for too long, and for how long; 8 at most.
    #[serde(rename = "silent_s")]
    pub silent: BTreeMap<String, Since>,
    /// The last value whose attribute another value of its message already had.
    #[serde(skip)]
    pub duplicate: Option<DuplicateStatus>,
    /// The messages since the last value.
    #[serde(skip)]
    pub without_value: WithoutValue,
}

/// A value that was rejected because its message already had a value of its attribute.
#[derive(Debug, Clone)]
pub struct DuplicateStatus {
    /// The error.
    pub detail: String,
    /// The time of the message.
    pub at: Since,
    /// The number of messages of the sensor at that time.
    pub messages: u64,
}

/// Serialises misfits as sentences.
fn as_texts<S: Serializer>(
    misfits: &BTreeMap<AttributeName, Misfit>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(misfits.iter().map(|(name, misfit)| (name, misfit.to_string())))
}

impl SensorStatus {
    pub(super) fn of(bus: &Name, stats: &SensorStats, names: &Names) -> Self {
        let (attribute, value) = stats.last_value.clone().unzip();
        let error = stats.last_error.as_ref();
        let skip = stats.last_skip.as_ref();
        let silent = stats.silent.iter().map(|one| (names.device(one.device), one.since.into()));
        let duplicate = stats.last_duplicate.as_ref().map(|duplicate| DuplicateStatus {
            detail: duplicate.error.detail.clone(),
            at: duplicate.error.at.into(),
            messages: duplicate.messages,
        });
        let per_minute = stats.rate.per_second(Instant::now().into_std()) * 60.0;
        Self {
            bus: bus.clone(),
            attribute: attribute.map(|attribute| attribute.to_string()),
            value,
            age: stats.last_message_at.map(Since::from),
            per_minute: (per_minute * 100.0).round() / 100.0,
            payloads: stats.payloads,
            payloads_per_month: stats
                .first_message_at
                .and_then(|first| payloads_a_month(stats.payloads, Since::from(first).elapsed())),
            messages: stats.messages,
            errors: stats.errors,
            error: error.map(|error| error.detail.clone()),
            error_age: error.map(|error| error.at.into()),
            error_reason: error.map(|error| error.reason),
            skipped: stats.skipped,
            skip: skip.map(|skip| skip.detail.clone()),
            skip_reason: skip.map(|skip| skip.reason),
            skip_age: skip.map(|skip| skip.at.into()),
            values: stats.values,
            misfits: stats.misfits.clone(),
            stale: stats.is_stale,
            silent: silent.collect(),
            duplicate,
            without_value: stats.without_value,
        }
    }
}

/// What does not fit between the configuration and a device in Losant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceProblems {
    /// A sentence for each attribute that the device does not declare, or with another type.
    #[serde(serialize_with = "as_sentences")]
    pub attributes: Vec<AttributeProblem>,
    /// Why Losant does not show the device.
    pub error: Option<DeviceRefusal>,
    /// Why Losant refuses the states of the device.
    pub refusal: Option<DeviceRefusal>,
    /// The states of the device that wait.
    pub states_waiting: u64,
}

/// A refusal of Losant; serialised as its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRefusal {
    /// The status code of the answer.
    pub status: Option<u16>,
    /// The error.
    pub message: String,
}

impl Serialize for DeviceRefusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.message)
    }
}

/// Serialises attribute problems as sentences.
fn as_sentences<S: Serializer>(
    problems: &[AttributeProblem],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(problems.iter().map(ToString::to_string))
}

/// The status of an actuator.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ActuatorStatus {
    /// The last command for it; null before the first.
    pub command: Option<String>,
    /// The result of that command.
    pub result: Option<CommandResult>,
    /// The reason of a refusal, or the answer of the actuator.
    pub message: String,
    /// The time of receipt, in milliseconds since 1970.
    pub received_ms: Option<i64>,
    /// The time of completion, in milliseconds since 1970.
    pub finished_ms: Option<i64>,
    /// The duration of the write, in milliseconds.
    pub duration_ms: Option<u64>,
}

impl ActuatorStatus {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            command: Some(record.name.clone()),
            result: Some(record.result),
            message: record.message.clone(),
            received_ms: record.received.wall().map(WallTime::as_millis),
            finished_ms: record.finished.and_then(ReadingTime::wall).map(WallTime::as_millis),
            duration_ms: record.duration_ms,
        }
    }
}

/// The status of the disk that holds the outbox.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DiskStatus {
    /// How long writes have been failing; null while they succeed.
    #[serde(rename = "write_failing_s")]
    pub write_failing: Option<Since>,
    /// Why writes fail.
    pub error: String,
    /// Free bytes on the file system of the outbox; null if unknown.
    pub free_bytes: Option<u64>,
}
