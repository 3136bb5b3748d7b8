//! The ledger: what became of every reading, per bus, kept across restarts.
//!
//! For each bus `received + generated = outbox + stored + rejected + dropped + filtered`, where `outbox` is what waits
//! there. One value of one attribute counts as one; a message from which no value could be taken counts as one, too.
//! A value that is not sent itself because its mapping asks for less, as for one mean a minute, is filtered when it comes
//! in; what the gateway makes later, as that mean, is generated when it goes into the outbox.

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
    /// A Sparkplug B message that only a birth explains, and none was heard.
    NoBirth,
    /// A frame or payload over the bus's limit, or a text over Losant's.
    TooLong,
    /// The checksum of a frame is wrong.
    BadChecksum,
    /// The rest of a frame did not come.
    Incomplete,
    /// Bytes between frames that belong to none.
    Noise,
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
    /// The number is outside of what its mapping accepts.
    OutOfRange,
    /// The number changed faster than its mapping accepts.
    TooFast,
    /// The mapping names values, and this is none of them.
    UnknownValue,
    /// The time in the message cannot be read, or is more than 30 days old or a day ahead, which Losant ignores.
    BadTime,
    /// An expression failed.
    BadExpression,
    /// The sensor's configuration says that messages like this are to be ignored.
    Ignored,
    /// Taken into the mean, sum, … of a window.
    Aggregated,
    /// Within the deadband of what was sent last.
    Unchanged,
    /// Sooner after the last one than the mapping's smallest interval.
    TooSoon,
    /// A change that has not lasted yet.
    HeldOff,
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
    /// It waited for longer than the outbox keeps anything.
    TooOld,
    /// The operator had it removed from the outbox.
    Purged,
    /// The operator took it out of the outbox into a file.
    Exported,
    /// The outbox was full, and its values went into a mean.
    Downsampled,
    /// The state could not be written as JSON.
    NotSerialisable,
}

impl Reason {
    /// The stable text: lower case with underscores.
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
            Self::OutOfRange => "out_of_range",
            Self::TooFast => "too_fast",
            Self::UnknownValue => "unknown_value",
            Self::BadTime => "bad_time",
            Self::BadExpression => "bad_expression",
            Self::Ignored => "ignored",
            Self::Aggregated => "aggregated",
            Self::Unchanged => "unchanged",
            Self::TooSoon => "too_soon",
            Self::HeldOff => "held_off",
            Self::Retained => "retained",
            Self::QueueFull => "queue_full",
            Self::OutboxFull => "outbox_full",
            Self::RefusedByCloud => "refused_by_cloud",
            Self::TimeRefused => "time_refused",
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
    /// Fit to be sent, but left out because the configuration asks for less.
    pub filtered: BTreeMap<Reason, u64>,
    /// Made by the gateway itself and written to the outbox; not part of `received`.
    pub generated: u64,
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

    /// Counts `readings` as received and left out.
    pub fn filter_out(&mut self, reason: Reason, readings: u64) {
        self.received += readings;
        *self.filtered.entry(reason).or_default() += readings;
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.outbox_in += other.outbox_in;
        self.stored += other.stored;
        self.generated += other.generated;
        self.duplicates += other.duplicates;
        for (sums, counts) in [
            (&mut self.rejected, &other.rejected),
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

    /// Returns the number of readings that are stored, rejected, dropped or filtered.
    fn finished(&self) -> u64 {
        let counts = [&self.rejected, &self.dropped, &self.filtered];
        self.stored + counts.into_iter().flat_map(BTreeMap::values).sum::<u64>()
    }
}

/// One [`Account`] for each bus, by its name.
pub type Ledger = BTreeMap<Name, Account>;
