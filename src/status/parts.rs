//! What is told of the single parts: buses, sensors, actuators, the disk.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use tidegate_commands::history::Record;
use tidegate_ingest::sensor_stats::Vitals;
use tidegate_model::{CommandResult, Name, Value};
use tidegate_timing::forecast::payloads_a_month;

/// The troubles of one bus that are told; the log has all.
const TROUBLES_MAX: usize = 16;

/// Since when something is so. Told as its age in seconds, which needs no trust in the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Since(Instant);

impl Since {
    /// Since now.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago that was.
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

/// How a bus is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BusStatus {
    /// Whether its line or session is there; null before the first try, and for a bus that has none to lose.
    pub connected: Option<bool>,
    /// Since when that is so.
    #[serde(rename = "since_s")]
    pub since: Option<Since>,
    /// Why it is not there; empty while it is.
    pub error: String,
    /// How often it was lost.
    pub losses: u64,
    /// What is wrong, by the subject, such as a unit or a file: sixteen of them at most.
    pub troubles: BTreeMap<String, String>,
}

impl BusStatus {
    pub(super) fn connect(&mut self) {
        *self = Self { connected: Some(true), since: Some(Since::now()), ..std::mem::take(self) };
        self.error.clear();
    }

    pub(super) fn lose(&mut self, error: &str) {
        if self.connected != Some(false) {
            self.losses += u64::from(self.connected == Some(true));
            (self.connected, self.since) = (Some(false), Some(Since::now()));
        }
        error.clone_into(&mut self.error);
    }

    pub(super) fn trouble(&mut self, subject: &str, trouble: Option<&str>) {
        match trouble {
            None => drop(self.troubles.remove(subject)),
            Some(trouble) => {
                if self.troubles.len() < TROUBLES_MAX || self.troubles.contains_key(subject) {
                    self.troubles.insert(subject.to_owned(), trouble.to_owned());
                }
            }
        }
    }
}

/// How a sensor is.
#[derive(Debug, Clone, Serialize)]
pub struct SensorStatus {
    /// Its bus.
    pub bus: Name,
    /// The attribute of the last value.
    pub attribute: Option<String>,
    /// The last value; a text is cut at 64 bytes.
    pub value: Option<Value>,
    /// Seconds since the last message; null before the first.
    #[serde(rename = "age_s")]
    pub age: Option<Since>,
    /// Messages a minute, averaged over the last minutes.
    pub per_minute: f64,
    /// States that it began, each a payload that Losant counts, since the start or since a reload changed the bus.
    pub payloads: u64,
    /// Those of 30 days, if all goes on as it did; null in the first minute.
    pub payloads_a_month: Option<u64>,
    /// Messages that were of use, since the start or since a reload changed the bus.
    pub messages: u64,
    /// Messages and values that were not.
    pub errors: u64,
    /// The last of these.
    pub error: Option<String>,
    /// Seconds since then.
    #[serde(rename = "error_age_s")]
    pub error_age: Option<Since>,
    /// Whether it has been silent for too long; null where the configuration does not say what is too long.
    pub stale: Option<bool>,
}

impl SensorStatus {
    pub(super) fn of(bus: &Name, vitals: &Vitals) -> Self {
        let (attribute, value) = vitals.value.clone().unzip();
        let (error_age, error) = vitals.error.clone().unzip();
        let per_minute = vitals.frequency.per_second(Instant::now().into_std()) * 60.0;
        Self {
            bus: bus.clone(),
            attribute: attribute.map(|attribute| attribute.to_string()),
            value,
            age: vitals.heard.map(Since::from),
            per_minute: (per_minute * 100.0).round() / 100.0,
            payloads: vitals.payloads,
            payloads_a_month: vitals
                .began
                .and_then(|began| payloads_a_month(vitals.payloads, Since::from(began).elapsed())),
            messages: vitals.messages,
            errors: vitals.errors,
            error,
            error_age: error_age.map(Since::from),
            stale: vitals.is_stale,
        }
    }
}

/// How an actuator is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ActuatorStatus {
    /// The last command for it; null before the first.
    pub command: Option<String>,
    /// What became of it.
    pub result: Option<CommandResult>,
    /// The reason, or what the actuator said.
    pub message: String,
    /// When it came, in milliseconds since the Unix epoch.
    pub received_ms: Option<i64>,
    /// When it was done with.
    pub finished_ms: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<u64>,
}

impl ActuatorStatus {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            command: Some(record.name.clone()),
            result: Some(record.result),
            message: record.message.clone(),
            received_ms: Some(record.received_ms),
            finished_ms: record.finished_ms,
            duration_ms: record.duration_ms,
        }
    }
}

/// How the disk takes what is written to the outbox.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DiskStatus {
    /// Since when it has refused; null while it takes what comes.
    #[serde(rename = "refusing_s")]
    pub refusing: Option<Since>,
    /// Why.
    pub error: String,
    /// What is left for the daemon where the outbox is, in bytes; null where nobody can tell.
    pub free_bytes: Option<u64>,
}
