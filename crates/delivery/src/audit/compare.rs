//! Compares a sample with the states that Losant returns for the same times.
//!
//! `getState` has no paging offset (rest-api/device), so each call begins at the first time that
//! no call has covered. The calls overlap, and states of other writers are ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sample::{Sample, SentValue};
use tidegate_model::{AttributeName, AttributeType, DeclaredAttributes, WallTime};

/// The most states in one `getState` call. Losant documents no limit.
pub const READ_STATES_MAX: usize = 100;

/// The most calls for one sample. A device to which others write more states than that in between
/// is compared in part.
pub const READ_CALLS_MAX: u32 = 8;

/// Losant ignores states that are older than this (devices/state, "time").
const AGE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Losant ignores states that are further ahead than this (devices/state, "time").
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// The relative difference up to which two numbers are the same: JSON may lose the last digits.
const NUMBER_TOLERANCE: f64 = 1e-12;

/// The difference in degrees up to which two positions are the same: 0.1 m.
const DEGREES_TOLERANCE: f64 = 1e-6;

/// The longest value in a difference, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// A state that Losant returned.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadState {
    /// Its time.
    pub time: WallTime,
    /// Its values by attribute.
    pub data: BTreeMap<String, Value>,
}

impl ReadState {
    /// Parses a state (schema `deviceState`). Returns `None` without a time.
    pub fn parse(state: &Value) -> Option<Self> {
        let time = match state.get("time")? {
            Value::Object(time) => WallTime::parse(time.get("$date")?.as_str()?)?,
            Value::String(time) => WallTime::parse(time)?,
            Value::Number(millis) => WallTime::from_millis(millis.as_i64()?),
            Value::Null | Value::Bool(_) | Value::Array(_) => return None,
        };
        let data = state.get("data").and_then(Value::as_object).into_iter().flatten();
        Some(Self { time, data: data.map(|(name, value)| (name.clone(), value.clone())).collect() })
    }
}

/// The states to request with one `getState` call, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRange {
    /// The begin of the window.
    pub start: WallTime,
    /// The end of the window.
    pub end: WallTime,
}

/// Reads a sample back, call by call.
#[derive(Debug, Clone)]
pub struct ReadBack {
    sample: Arc<Sample>,
    /// Every state up to this time was read.
    covered: WallTime,
    calls: u32,
    /// The values that were read at the times of the sample. Losant has one state for each time;
    /// if it returns more, each value counts.
    read: BTreeMap<WallTime, BTreeMap<String, Vec<Value>>>,
}

/// The page of states is not in the order that was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unordered;

impl ReadBack {
    /// Begins to read a sample.
    pub fn new(sample: Arc<Sample>) -> Self {
        let covered = WallTime::from_millis(i64::MIN);
        Self { sample, covered, calls: 0, read: BTreeMap::new() }
    }

    /// Returns the sample.
    pub fn sample(&self) -> &Arc<Sample> {
        &self.sample
    }

    /// Returns the next call; `None` if all states were read, or after [`READ_CALLS_MAX`] calls.
    ///
    /// Losant does not document whether the ends of the window belong to it, so the window is 1 ms
    /// longer at both ends.
    pub fn next_range(&self) -> Option<ReadRange> {
        let margin = Duration::from_millis(1);
        let start = self.sample.times().find(|time| *time > self.covered)?.minus(margin);
        let end = self.sample.times().next_back()?.plus(margin);
        (self.calls < READ_CALLS_MAX).then_some(ReadRange { start, end })
    }

    /// Adds the states that Losant returned for [`Self::next_range`], oldest first.
    ///
    /// # Errors
    /// If the states are not in this order. The sample cannot be compared then.
    pub fn add(&mut self, states: Vec<ReadState>) -> Result<(), Unordered> {
        if !states.is_sorted_by_key(|state| state.time) {
            return Err(Unordered);
        }
        self.calls += 1;
        let next = self.sample.times().find(|time| *time > self.covered);
        let Some(next) = next else { return Ok(()) };
        self.covered = match states.last() {
            None => WallTime::from_millis(i64::MAX),
            // The call may end between two states of one time.
            Some(last) if states.len() >= READ_STATES_MAX => {
                last.time.minus(Duration::from_millis(1)).max(next)
            }
            Some(last) => last.time.max(next),
        };
        for state in states {
            if self.sample.values(state.time).next().is_none() {
                continue;
            }
            let stored = self.read.entry(state.time).or_default();
            for (name, value) in state.data {
                let values = stored.entry(name).or_default();
                // Overlapping calls return a state twice.
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
        Ok(())
    }

    /// Compares what was read so far. `declared` has the attributes of the device, if they are
    /// known; `now` is the time of day.
    pub fn compare(&self, declared: Option<&DeclaredAttributes>, now: WallTime) -> Findings {
        let mut findings = Findings::default();
        let mut found = BTreeMap::<&AttributeName, u64>::new();
        for time in self.sample.times() {
            if time > self.covered {
                findings.unchecked_states += 1;
                continue;
            }
            findings.states += 1;
            let read = self.read.get(&time);
            for (attribute, sent) in self.sample.values(time) {
                findings.values += 1;
                let kind = declared.and_then(|declared| declared.get(attribute).copied());
                let values = read.and_then(|read| read.get(&**attribute));
                if values.is_some() {
                    *found.entry(attribute).or_default() += 1;
                }
                if values.is_some_and(|values| values.iter().any(|one| is_same(sent, one, kind))) {
                    continue;
                }
                let kind = match (read, values) {
                    (None, _) => DifferenceKind::MissingState,
                    (Some(_), None) => DifferenceKind::MissingValue,
                    (Some(_), Some(_)) => DifferenceKind::DifferentValue,
                };
                findings.differences.push(Difference {
                    time,
                    attribute: attribute.clone(),
                    kind,
                    reason: DifferenceReason::Lost,
                    sent: shortened(&sent.to_string()),
                    read: values.and_then(|all| all.first()).map(|one| shortened(&one.to_string())),
                });
            }
        }
        self.add_reasons(&mut findings, &found, declared, now);
        findings
    }

    fn add_reasons(
        &self,
        findings: &mut Findings,
        found: &BTreeMap<&AttributeName, u64>,
        declared: Option<&DeclaredAttributes>,
        now: WallTime,
    ) {
        let mut missing = BTreeMap::<AttributeName, u64>::new();
        for one in &findings.differences {
            *missing.entry(one.attribute.clone()).or_default() += 1;
        }
        for one in &mut findings.differences {
            let kind = declared.map(|declared| declared.get(&one.attribute).copied());
            let sent = self.sample.values(one.time).find(|(name, _)| **name == one.attribute);
            let is_misfit = |kind: AttributeType| sent.is_some_and(|(_, sent)| !fits(sent, kind));
            let is_ignored = one.time < self.sample.confirmed().minus(AGE_MAX)
                || one.time > self.sample.confirmed().plus(AHEAD_MAX);
            let is_all_missing = !found.contains_key(&one.attribute)
                && missing.get(&one.attribute).is_some_and(|values| *values > 1);
            one.reason = match kind {
                Some(None) => DifferenceReason::Undeclared,
                Some(Some(kind)) if is_misfit(kind) => DifferenceReason::WrongType,
                _ if one.kind == DifferenceKind::DifferentValue => DifferenceReason::Overwritten,
                _ if is_ignored => DifferenceReason::Date,
                _ if is_all_missing || one.time < now.minus(AGE_MAX) => DifferenceReason::Deleted,
                _ => DifferenceReason::Lost,
            };
        }
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The states that were compared.
    pub states: u64,
    /// The values in them.
    pub values: u64,
    /// The states of the sample that were not read.
    pub unchecked_states: u64,
    /// The values that Losant does not have as they were sent.
    pub differences: Vec<Difference>,
}

/// A value that Losant does not have as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The time of its state.
    pub time: WallTime,
    /// Its attribute.
    pub attribute: AttributeName,
    /// What differs.
    pub kind: DifferenceKind,
    /// The probable reason.
    pub reason: DifferenceReason,
    /// The value that was sent, shortened.
    pub sent: String,
    /// The value that Losant has, shortened.
    pub read: Option<String>,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Losant has no state of this time.
    MissingState,
    /// The state in Losant lacks the attribute.
    MissingValue,
    /// The state in Losant has another value.
    DifferentValue,
}

/// The probable reason of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceReason {
    /// The device does not declare the attribute.
    Undeclared,
    /// The value does not fit the declared type.
    WrongType,
    /// Losant ignores states of this age, or this far ahead.
    Date,
    /// All values of the attribute are missing, or it is so old that Losant may have removed it.
    Deleted,
    /// Losant has another value of this time.
    Overwritten,
    /// No reason is known.
    Lost,
}

impl DifferenceReason {
    /// Returns the stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undeclared => "undeclared",
            Self::WrongType => "wrong_type",
            Self::Date => "date",
            Self::Deleted => "deleted",
            Self::Overwritten => "overwritten",
            Self::Lost => "lost",
        }
    }

    /// Returns the reason as a sentence with its cure.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Undeclared => {
                "the device does not declare the attribute; run \"tidegate provision\""
            }
            Self::WrongType => {
                "the value does not fit the type that the device declares; change the type in \
                 Losant or the mapping"
            }
            Self::Date => {
                "Losant ignores states older than 30 days or more than a day ahead; check the clock"
            }
            Self::Deleted => {
                "all values of the attribute are missing; they or the attribute were deleted in \
                 Losant"
            }
            Self::Overwritten => {
                "Losant has another value of the same time; another program writes this attribute"
            }
            Self::Lost => "Losant confirmed the value and does not return it; ask Losant's support",
        }
    }
}

impl fmt::Display for DifferenceReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Returns whether Losant has the value that was sent, possibly converted to the declared type.
fn is_same(sent: &SentValue, read: &Value, declared: Option<AttributeType>) -> bool {
    if declared == Some(AttributeType::Blob) {
        // Losant returns a link to the content.
        return true;
    }
    let SentValue::Whole(sent) = sent else {
        return read.as_str().is_some_and(|read| sent.is_digest_of(read));
    };
    if sent == read {
        return true;
    }
    match (sent, read) {
        (Value::String(sent), Value::String(read)) if declared == Some(AttributeType::Gps) => {
            // Losant may convert other forms, such as NMEA sentences, to degrees.
            match (degrees(sent), degrees(read)) {
                (Some(sent), Some(read)) => is_near(sent, read),
                (_, _) => true,
            }
        }
        (Value::String(_), Value::String(_)) => false,
        (sent, read) => number(sent).zip(number(read)).is_some_and(|(sent, read)| {
            (sent - read).abs() <= NUMBER_TOLERANCE * sent.abs().max(read.abs())
        }),
    }
}

/// Returns a value as a number: Losant converts texts and booleans to the declared type
/// (devices/state).
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(boolean) => Some(f64::from(u8::from(*boolean))),
        Value::String(text) => match text.trim() {
            "true" => Some(1.0),
            "false" => Some(0.0),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn fits(sent: &SentValue, declared: AttributeType) -> bool {
    let SentValue::Whole(sent) = sent else {
        return declared.accepts(AttributeType::Text);
    };
    tidegate_model::Value::try_from(sent).is_ok_and(|sent| declared.fit(sent, None).is_ok())
}

/// Latitude and longitude.
#[derive(Clone, Copy)]
struct Degrees {
    latitude: f64,
    longitude: f64,
}

fn degrees(text: &str) -> Option<Degrees> {
    let (latitude, longitude) = text.split_once(',')?;
    let parse = |text: &str| text.trim().parse::<f64>().ok();
    Some(Degrees { latitude: parse(latitude)?, longitude: parse(longitude)? })
}

fn is_near(one: Degrees, other: Degrees) -> bool {
    (one.latitude - other.latitude).abs() <= DEGREES_TOLERANCE
        && (one.longitude - other.longitude).abs() <= DEGREES_TOLERANCE
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
