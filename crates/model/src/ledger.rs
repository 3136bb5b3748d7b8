//! The ledger: counts the outcome of every reading, per bus, across restarts.
//!
//! For each bus `received + generated = outbox + stored + rejected + skipped + dropped + filtered`,
//! where `outbox` is the number of readings that wait in the outbox. One value of one attribute
//! counts as one reading. A message without a usable value counts as one reading, too.
//!
//! A mapping can ask for fewer values, for example for one mean a minute. Values that it does not
//! send are counted as filtered when they arrive. Values that the gateway makes from them, such as
//! the mean, are counted as generated when they are written to the outbox.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Name;

/// Lists the reasons why a reading was not sent.
///
/// The texts are stable: they are stored, and they are labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No sensor of this bus could decode the message.
    Malformed,
    /// A Sparkplug B message that needs a birth message, and none was received.
    NoBirth,
    /// A frame or payload exceeds the limit of the bus, a text exceeds Losant's, or a message has
    /// too many values.
    TooLong,
    /// The checksum of a frame is wrong.
    BadChecksum,
    /// The rest of a frame did not arrive.
    Incomplete,
    /// Bytes between frames that belong to no frame.
    Noise,
    /// The number is NaN or infinite.
    NotFinite,
    /// The channel holds a null, a list or an object.
    NotScalar,
    /// The message has none of the channels that the sensor maps.
    NoChannel,
    /// No sensor is configured for this topic.
    NoSensor,
    /// The topic or payload names a device that the configuration does not know.
    UnknownDevice,
    /// A name made from a template is not a valid attribute name.
    BadAttributeName,
    /// Another value of the message has the same attribute of the same device.
    DuplicateAttribute,
    /// The payload is empty, or the channel holds a null: there is no value now.
    NoValue,
    /// The number is outside of the range that its mapping accepts.
    OutOfRange,
    /// The number changed faster than its mapping accepts.
    TooFast,
    /// The mapping lists the accepted values, and this value is not listed.
    UnknownValue,
    /// The time in the message is invalid, more than 30 days old or more than a day ahead. Losant
    /// ignores such times.
    BadTime,
    /// An expression failed.
    BadExpression,
    /// The configuration of the sensor ignores messages like this.
    Ignored,
    /// The value is part of the mean, sum, … of a window.
    Aggregated,
    /// The value is the first one of a difference, a rate or a counter: later ones are compared
    /// with it.
    Baseline,
    /// The value is within the deadband around the last value sent.
    Unchanged,
    /// The value arrived before the mapping's shortest interval had passed.
    TooSoon,
    /// The change has not lasted for long enough.
    HeldOff,
    /// A retained MQTT message, whose age is unknown.
    Retained,
    /// The queue between a bus and the collector was full, for example because the disk stalled.
    QueueFull,
    /// The outbox was full and this reading was the oldest.
    OutboxFull,
    /// The cloud rejected this state permanently.
    RefusedByCloud,
    /// The cloud would silently ignore this state for its time, which is older than 30 days or more
    /// than a day ahead (rest-api/device, "Send State").
    TimeRefused,
    /// The device does not declare the attribute in Losant, which ignores its values
    /// (devices/state).
    Undeclared,
    /// The value does not fit the type that the device declares in Losant, which ignores it
    /// (devices/state).
    WrongType,
    /// The outbox could not read this record.
    Damaged,
    /// The reading waited for longer than the outbox keeps readings.
    TooOld,
    /// The operator removed the reading from the outbox.
    Purged,
    /// The operator exported the reading from the outbox to a file.
    Exported,
    /// The outbox was full, and the reading became part of a mean.
    Downsampled,
    /// The state could not be written as JSON.
    NotSerialisable,
}

impl Reason {
    /// Returns whether the reading has nothing that the configuration asks for.
    ///
    /// Such readings are normal traffic: they are counted as skipped, not as rejected.
    pub fn is_skip(self) -> bool {
        matches!(
            self,
            Self::Ignored | Self::NoChannel | Self::NoSensor | Self::NoValue | Self::Retained
        )
    }

    /// Returns the stable text: lower case with underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoBirth => "no_birth",
            Self::TooLong => "too_long",
            Self::BadChecksum => "bad_checksum",
            Self::Incomplete => "incomplete",
            Self::Noise => "noise",
            Self::NotFinite => "not_finite",
            Self::NotScalar => "not_scalar",
            Self::NoChannel => "no_channel",
            Self::NoSensor => "no_sensor",
            Self::UnknownDevice => "unknown_device",
            Self::BadAttributeName => "bad_attribute_name",
            Self::DuplicateAttribute => "duplicate_attribute",
            Self::NoValue => "no_value",
            Self::OutOfRange => "out_of_range",
            Self::TooFast => "too_fast",
            Self::UnknownValue => "unknown_value",
            Self::BadTime => "bad_time",
            Self::BadExpression => "bad_expression",
            Self::Ignored => "ignored",
            Self::Aggregated => "aggregated",
            Self::Baseline => "baseline",
            Self::Unchanged => "unchanged",
            Self::TooSoon => "too_soon",
            Self::HeldOff => "held_off",
            Self::Retained => "retained",
            Self::QueueFull => "queue_full",
            Self::OutboxFull => "outbox_full",
            Self::RefusedByCloud => "refused_by_cloud",
            Self::TimeRefused => "time_refused",
            Self::Undeclared => "undeclared",
            Self::WrongType => "wrong_type",
            Self::Damaged => "damaged",
            Self::TooOld => "too_old",
            Self::Purged => "purged",
            Self::Exported => "exported",
            Self::Downsampled => "downsampled",
            Self::NotSerialisable => "not_serialisable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Counts the readings of one bus by outcome. All counts are readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// All readings that arrived, with any outcome.
    pub received: u64,
    /// Written to the outbox.
    pub outbox_in: u64,
    /// Confirmed by the cloud.
    pub stored: u64,
    /// Invalid readings, by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// Readings that have nothing to send, by reason. See [`Reason::is_skip`].
    pub skipped: BTreeMap<Reason, u64>,
    /// Valid readings that were lost, by reason.
    pub dropped: BTreeMap<Reason, u64>,
    /// Valid readings that the configuration leaves out, by reason.
    pub filtered: BTreeMap<Reason, u64>,
    /// Readings that the gateway made and wrote to the outbox; not part of `received`.
    pub generated: u64,
    /// Readings that a broker delivered again; not part of `received`.
    pub duplicates: u64,
}

impl Account {
    /// Counts `readings` as received, and as rejected or skipped by the reason.
    pub fn reject(&mut self, reason: Reason, readings: u64) {
        self.received += readings;
        let counts = if reason.is_skip() { &mut self.skipped } else { &mut self.rejected };
        *counts.entry(reason).or_default() += readings;
    }

    /// Counts `readings` as received and dropped.
    pub fn drop(&mut self, reason: Reason, readings: u64) {
        self.received += readings;
        *self.dropped.entry(reason).or_default() += readings;
    }

    /// Counts `readings` as received and filtered.
    pub fn filter_out(&mut self, reason: Reason, readings: u64) {
        self.received += readings;
        *self.filtered.entry(reason).or_default() += readings;
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.outbox_in += other.outbox_in;
        self.stored += other.stored;
        self.generated += other.generated;
        self.duplicates += other.duplicates;
        for (sums, counts) in [
            (&mut self.rejected, &other.rejected),
            (&mut self.skipped, &other.skipped),
            (&mut self.dropped, &other.dropped),
            (&mut self.filtered, &other.filtered),
        ] {
            for (reason, readings) in counts {
                *sums.entry(*reason).or_default() += readings;
            }
        }
    }

    /// Returns the number of readings that must wait in the outbox if each loss was counted.
    pub fn waiting(&self) -> u64 {
        (self.received + self.generated).saturating_sub(self.finished())
    }

    /// Returns whether all readings are accounted for, with `waiting` of them in the outbox.
    pub fn is_balanced(&self, waiting: u64) -> bool {
        self.received + self.generated == waiting + self.finished()
    }

    /// Returns the number of readings that are stored, rejected, skipped, dropped or filtered.
    fn finished(&self) -> u64 {
        let counts = [&self.rejected, &self.skipped, &self.dropped, &self.filtered];
        self.stored + counts.into_iter().flat_map(BTreeMap::values).sum::<u64>()
    }
}

/// Maps the name of each bus to its [`Account`].
pub type Ledger = BTreeMap<Name, Account>;
