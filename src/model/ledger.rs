//! The ledger: what became of every reading, per bus, kept across restarts.
//!
//! For each bus `received = outbox + stored + rejected + dropped`, where `outbox` is what waits there. One value of one
//! attribute counts as one; a message from which no value could be taken counts as one, too.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Name;

/// Why a reading was not sent. The texts are stable: they are stored, and they are labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No sensor of this bus could decode the message.
    Malformed,
    /// A line over the bus's limit, or a text over Losant's.
    TooLong,
    /// A NaN or an infinity.
    NotFinite,
    /// The channel holds a null, a list or an object.
    NotScalar,
    /// The message has none of the channels that the sensor maps.
    NoChannel,
    /// No sensor is configured for this topic.
    NoSensor,
    /// The topic or payload names a device that the configuration does not know.
    UnknownDevice,
    /// A name made from a template is no attribute name.
    BadAttributeName,
    /// A retained MQTT message, whose age is unknown.
    Retained,
    /// The queue between a bus and the collector was full, as when the disk stalls.
    QueueFull,
    /// The outbox was full and this was the oldest.
    OutboxFull,
    /// The cloud refused this state for good.
    RefusedByCloud,
    /// The cloud would silently ignore this state for its time: older than 30 days, or more than a day ahead
    /// (rest-api/device, "Send State").
    TimeRefused,
    /// The outbox could not read this record back.
    Damaged,
}

impl Reason {
    /// The stable text: lower case with underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::NotFinite => "not_finite",
            Self::NotScalar => "not_scalar",
            Self::NoChannel => "no_channel",
            Self::NoSensor => "no_sensor",
            Self::UnknownDevice => "unknown_device",
            Self::BadAttributeName => "bad_attribute_name",
            Self::Retained => "retained",
            Self::QueueFull => "queue_full",
            Self::OutboxFull => "outbox_full",
            Self::RefusedByCloud => "refused_by_cloud",
            Self::TimeRefused => "time_refused",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What became of the readings of one bus. All counts are readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// All that came in, whatever became of it.
    pub received: u64,
    /// Written to the outbox.
    pub outbox_in: u64,
    /// Confirmed by the cloud.
    pub stored: u64,
    /// Not fit to be sent.
    pub rejected: BTreeMap<Reason, u64>,
    /// Fit to be sent, but lost.
    pub dropped: BTreeMap<Reason, u64>,
    /// Delivered again by a broker and known; not part of `received`.
    pub duplicates: u64,
}

impl Account {
    /// Counts `readings` as received and not fit to be sent.
    pub fn reject(&mut self, reason: Reason, readings: u64) {
        self.received += readings;
        *self.rejected.entry(reason).or_default() += readings;
    }

    /// Counts `readings` as received and lost.
    pub fn drop(&mut self, reason: Reason, readings: u64) {
        self.received += readings;
        *self.dropped.entry(reason).or_default() += readings;
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.outbox_in += other.outbox_in;
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        for (reason, readings) in &other.rejected {
            *self.rejected.entry(*reason).or_default() += readings;
        }
        for (reason, readings) in &other.dropped {
            *self.dropped.entry(*reason).or_default() += readings;
        }
    }

    /// How many readings must be waiting in the outbox if nothing was lost uncounted.
    pub fn waiting(&self) -> u64 {
        let gone =
            self.stored + self.rejected.values().sum::<u64>() + self.dropped.values().sum::<u64>();
        self.received.saturating_sub(gone)
    }
}

/// One [`Account`] for each bus, by its name.
pub type Ledger = BTreeMap<Name, Account>;
