//! Records states that Losant confirmed, in a form that is small enough to keep.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use tidegate_model::{AttributeName, DeviceId, WallTime};

/// The most states in a sample: as many as one `getState` call returns.
pub const SAMPLE_STATES_MAX: usize = 100;

/// The most bytes that a sample takes in memory. Its record on disk is smaller.
pub const SAMPLE_BYTES_MAX: usize = 32 << 10;

/// The longest text that a sample keeps, in bytes. Of a longer one it keeps length and digest.
const TEXT_BYTES_MAX: usize = 64;

/// The version of the record on disk.
const VERSION: u8 = 1;

/// The memory of an attribute, a state and a value without their texts, in bytes.
const ENTRY_BYTES: usize = 48;

/// The confirmed states of one device, as they were sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    device: DeviceId,
    confirmed: WallTime,
    attributes: Vec<AttributeName>,
    states: BTreeMap<WallTime, Vec<(u16, SentValue)>>,
    bytes: usize,
}

/// A value that was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SentValue {
    /// A long text.
    Digest {
        /// Its length.
        bytes: usize,
        /// Its FNV-1a hash of 64 bits.
        digest: u64,
    },
    /// A number, a boolean or a short text.
    Whole(Value),
}

/// A state as it was sent.
#[derive(Deserialize)]
struct SentState {
    time: WallTime,
    data: BTreeMap<AttributeName, Value>,
}

/// The record of a sample on disk.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u8,
    device: DeviceId,
    confirmed_ms: i64,
    attributes: Vec<AttributeName>,
    /// Each state with the milliseconds since the one before, and its values by the number of the
    /// attribute.
    states: Vec<(i64, Vec<(u16, SentValue)>)>,
}

impl SentValue {
    fn of(value: Value) -> Self {
        match value.as_str().filter(|text| text.len() > TEXT_BYTES_MAX) {
            Some(text) => Self::Digest { bytes: text.len(), digest: digest(text) },
            None => Self::Whole(value),
        }
    }

    /// Returns whether this is the digest of a text.
    pub(super) fn is_digest_of(&self, text: &str) -> bool {
        matches!(self, Self::Digest { bytes, digest: kept }
            if *bytes == text.len() && *kept == digest(text))
    }

    fn text_bytes(&self) -> usize {
        match self {
            // Escapes make the record longer than the text.
            Self::Whole(Value::String(text)) => serde_json::to_string(text).map_or(0, |t| t.len()),
            Self::Whole(_) | Self::Digest { .. } => 0,
        }
    }
}

impl std::fmt::Display for SentValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(formatter),
            Self::Digest { bytes, .. } => write!(formatter, "a text of {bytes} bytes"),
        }
    }
}

impl Sample {
    /// Creates an empty sample.
    pub fn new(device: DeviceId) -> Self {
        let (attributes, states) = (Vec::new(), BTreeMap::new());
        Self { device, confirmed: WallTime::EPOCH, attributes, states, bytes: 0 }
    }

    /// Adds an element of a `sendState` body that Losant confirmed at `confirmed`. Returns false if
    /// the sample is full or the element takes more than `room` bytes; then nothing is added.
    ///
    /// A state that cannot be parsed is left out. A later value of the same time and attribute
    /// replaces the earlier one, as in Losant.
    pub fn add(&mut self, element: &[u8], confirmed: WallTime, room: usize) -> bool {
        let Ok(state) = serde_json::from_slice::<SentState>(element) else { return true };
        if self.states.len() >= SAMPLE_STATES_MAX {
            return false;
        }
        let values: Vec<_> =
            state.data.into_iter().map(|(name, value)| (name, SentValue::of(value))).collect();
        let new = values.iter().filter(|(name, _)| !self.attributes.contains(name));
        let names: usize = new.map(|(name, _)| ENTRY_BYTES + name.len()).sum();
        let texts: usize = values.iter().map(|(_, value)| value.text_bytes()).sum();
        let bytes = ENTRY_BYTES * (1 + values.len()) + names + texts;
        if bytes > room.min(SAMPLE_BYTES_MAX - self.bytes) {
            return false;
        }
        self.bytes += bytes;
        self.confirmed = self.confirmed.max(confirmed);
        for (name, value) in values {
            let Some(index) = self.index(name) else { continue };
            let stored = self.states.entry(state.time).or_default();
            match stored.iter_mut().find(|(other, _)| *other == index) {
                Some((_, old)) => *old = value,
                None => stored.push((index, value)),
            }
        }
        true
    }

    fn index(&mut self, name: AttributeName) -> Option<u16> {
        let at = self.attributes.iter().position(|other| *other == name).unwrap_or_else(|| {
            self.attributes.push(name);
            self.attributes.len() - 1
        });
        u16::try_from(at).ok()
    }

    /// Returns the device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns the time at which Losant confirmed the last of the states.
    pub fn confirmed(&self) -> WallTime {
        self.confirmed
    }

    /// Returns whether there is no state.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Returns the bytes that the sample takes in memory, at most [`SAMPLE_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the times of the states, in order.
    pub fn times(&self) -> impl DoubleEndedIterator<Item = WallTime> {
        self.states.keys().copied()
    }

    /// Returns the values of the state at this time.
    pub fn values(&self, time: WallTime) -> impl Iterator<Item = (&AttributeName, &SentValue)> {
        let values = self.states.get(&time).into_iter().flatten();
        values.filter_map(|(index, value)| Some((self.attributes.get(usize::from(*index))?, value)))
    }

    /// Removes the states before `start`.
    pub fn remove_before(&mut self, start: WallTime) {
        self.states = self.states.split_off(&start);
    }

    /// Encodes the record: JSON of fewer bytes than [`SAMPLE_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        let mut last = 0;
        let states = self.states.iter().map(|(time, values)| {
            let since = time.as_millis().saturating_sub(last);
            last = time.as_millis();
            (since, values.clone())
        });
        let record = Record {
            version: VERSION,
            device: self.device,
            confirmed_ms: self.confirmed.as_millis(),
            states: states.collect(),
            attributes: self.attributes.clone(),
        };
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// Decodes a record. Returns `None` for a damaged one and for one of another version.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let record: Record = serde_json::from_slice(record).ok()?;
        if record.version != VERSION {
            return None;
        }
        let mut sample = Self::new(record.device);
        sample.confirmed = WallTime::from_millis(record.confirmed_ms);
        sample.attributes = record.attributes;
        let mut time = 0_i64;
        for (since, values) in record.states {
            time = time.saturating_add(since);
            sample.bytes += values.iter().map(|(_, value)| value.text_bytes()).sum::<usize>();
            sample.bytes += ENTRY_BYTES * (1 + values.len());
            sample.states.insert(WallTime::from_millis(time), values);
        }
        sample.bytes += sample.attributes.iter().map(|n| ENTRY_BYTES + n.len()).sum::<usize>();
        Some(sample)
    }
}

/// Returns the FNV-1a hash of a text (RFC 9923): stable over versions, which the standard library's
/// hash is not.
fn digest(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn element(time_ms: i64, data: &Value) -> Vec<u8> {
        let time = WallTime::from_millis(time_ms);
        json!({ "time": time, "data": data, "meta": { "backfill": true } }).to_string().into_bytes()
    }

    fn sample() -> Sample {
        Sample::new(DeviceId::from([1; 12]))
    }

    #[test]
    fn later_value_of_one_time_replaces_the_earlier() {
        let mut sample = sample();
        assert!(sample.add(
            &element(5, &json!({ "a": 1, "b": true })),
            WallTime::EPOCH,
            usize::MAX
        ));
        assert!(sample.add(&element(5, &json!({ "a": 2 })), WallTime::EPOCH, usize::MAX));
        let values: Vec<_> = sample.values(WallTime::from_millis(5)).collect();
        let shown: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["a=2", "b=true"]);
    }

    #[test]
    fn full_sample_takes_no_more_states() {
        let mut sample = sample();
        let fits =
            |n: &i64| sample.add(&element(*n, &json!({ "a": n })), WallTime::EPOCH, usize::MAX);
        assert_eq!((0..200).filter(fits).count(), SAMPLE_STATES_MAX);
    }

    #[test]
    fn other_versions_and_damage_are_not_decoded() {
        let mut sample = sample();
        sample.add(&element(5, &json!({ "a": 1 })), WallTime::EPOCH, usize::MAX);
        let record = String::from_utf8(sample.encode()).unwrap();
        assert!(Sample::decode(record.as_bytes()).is_some());
        let other = record.replace("\"version\":1", "\"version\":2");
        assert_eq!(Sample::decode(other.as_bytes()), None);
        assert_eq!(Sample::decode(&record.as_bytes()[..9]), None);
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            ".{0,90}".prop_map(Value::from),
            "\\PC{0,4}".prop_map(Value::from),
            "\u{1}{0,70}".prop_map(Value::from),
        ]
    }

    fn data() -> impl Strategy<Value = BTreeMap<String, Value>> {
        prop::collection::btree_map("[a-z]{1,3}", value(), 1..9)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn record_is_bounded_and_decodes_to_the_sample(
            states in prop::collection::vec(
                (0..4_000_000_000_000_i64, data()),
                1..150,
            ),
        ) {
            let mut sample = sample();
            for (time, data) in &states {
                sample.add(&element(*time, &json!(data)), WallTime::from_millis(7), usize::MAX);
            }
            let record = sample.encode();
            prop_assert!(sample.bytes() <= SAMPLE_BYTES_MAX);
            prop_assert!(record.len() <= SAMPLE_BYTES_MAX, "{} bytes", record.len());
            let decoded = Sample::decode(&record).unwrap();
            prop_assert!(decoded.bytes() <= SAMPLE_BYTES_MAX);
            prop_assert_eq!(Sample { bytes: 0, ..decoded }, Sample { bytes: 0, ..sample });
        }
    }
}
