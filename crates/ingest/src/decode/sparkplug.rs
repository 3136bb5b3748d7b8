//! Sparkplug B (Eclipse Sparkplug 3.0): the metrics of edge nodes and their devices, by name.
//!
//! A birth names the metrics and says of what type they are; later messages may call them by a number, the alias, and leave
//! the type out. So births are remembered. A message with an alias that no birth has told is refused whole: a value
//! under a wrong name is worse than none.

mod births;
mod wire;

use std::collections::BTreeMap;

use prost::Message as _;

pub use births::Births;

use self::births::{Birth, Source};
use self::wire::{Content, Metric, Payload, datatype};
use super::number::{shortest, unsigned_value};
use super::{DecodeError, Decoded, Flat, MESSAGES_MAX};
use tidegate_model::{Value, ValueError, WallTime, Write};

/// The first level of every topic of Sparkplug B.
const NAMESPACE: &str = "spBv1.0";

/// The channel with the time of the values, in ms since 1970. Metrics of different times are different messages.
const TIMESTAMP: &str = "timestamp";

/// What nodes declare for their own upkeep: no measurements, and so no channels.
const UPKEEP: [&str; 3] = ["bdSeq", "Node Control/", "Device Control/"];

/// Whose message it is, from its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Topic<'a> {
    kind: Kind,
    group: &'a str,
    node: &'a str,
    /// Empty for the node itself.
    device: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Birth,
    Data,
    /// Deaths, commands, and the state of hosts.
    Other,
}

impl<'a> Topic<'a> {
    /// `spBv1.0/GROUP/TYPE/NODE` or `spBv1.0/GROUP/TYPE/NODE/DEVICE`.
    fn parse(topic: &'a str) -> Option<Self> {
        let mut levels = topic.split('/');
        if levels.next() != Some(NAMESPACE) {
            return None;
        }
        let (group, word) = (levels.next()?, levels.next()?);
        let (node, device) = (levels.next().unwrap_or_default(), levels.next().unwrap_or_default());
        let kind = match (word, node.is_empty(), device.is_empty()) {
            ("NBIRTH", false, true) | ("DBIRTH", false, false) => Kind::Birth,
            ("NDATA", false, true) | ("DDATA", false, false) => Kind::Data,
            _ => Kind::Other,
        };
        levels.next().is_none().then_some(Self { kind, group, node, device })
    }

    fn source(self) -> Source<'a> {
        Source { group: self.group, node: self.node, device: self.device }
    }
}

/// The command that asks the node behind a topic for its births, sent at this time.
pub fn rebirth_request(topic: &str, time: WallTime) -> Option<Write> {
    let Topic { group, node, .. } = Topic::parse(topic)?;
    let time_ms = u64::try_from(time.as_millis()).unwrap_or_default();
    Some(Write::Mqtt {
        topic: format!("{NAMESPACE}/{group}/NCMD/{node}"),
        payload: wire::rebirth(time_ms).into(),
        qos: 0,
        retain: false,
        reply: None,
    })
}

/// The metrics of one payload, one message for each time; none of a death or a command.
pub(super) fn decode(
    topic: &str,
    payload: &[u8],
    births: &mut Births,
) -> Result<Vec<Decoded>, DecodeError> {
    let wrong = |problem: String| DecodeError::NotSparkplug { problem };
    let Some(topic) = Topic::parse(topic) else {
        return Err(wrong(format!("the topic is none below {NAMESPACE}/")));
    };
    if topic.kind == Kind::Other {
        return Ok(Vec::new());
    }
    let payload = Payload::decode(payload).map_err(|error| wrong(error.to_string()))?;
    let metrics = payload.metrics.iter().map(|bytes| Metric::decode(bytes.as_slice()));
    let metrics: Vec<_> =
        metrics.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    if topic.kind == Kind::Birth {
        births.insert(topic.source(), birth(&metrics))?;
    }
    let mut messages = Messages::default();
    for metric in metrics {
        let (name, datatype) = births.identify(topic.source(), &metric)?;
        if UPKEEP.iter().any(|upkeep| name.starts_with(upkeep)) {
            continue;
        }
        let time = metric.timestamp.or(payload.timestamp);
        if let Some(value) = value(&metric, datatype) {
            messages.put(time, name, value)?;
        }
    }
    Ok(messages.finish())
}

fn birth(metrics: &[Metric]) -> Birth {
    let mut birth = Birth::default();
    for metric in metrics {
        if let Some(name) = &metric.name {
            birth.declare(name, metric.alias, metric.datatype);
        }
    }
    birth
}

/// What a metric says; `None` if that is nothing.
fn value(metric: &Metric, datatype: Option<u32>) -> Option<Result<Value, ValueError>> {
    if metric.is_null.unwrap_or(false) {
        return None;
    }
    Some(match metric.content.as_ref()? {
        Content::Int(number) => Ok(whole(u64::from(*number), datatype)),
        Content::Long(number) => Ok(whole(*number, datatype)),
        Content::Float(number) => Value::float(shortest(*number)),
        Content::Double(number) => Value::float(*number),
        Content::Boolean(boolean) => Ok(Value::Boolean(*boolean)),
        Content::Text(text) => Value::text(text.as_str()),
        Content::Bytes(_) | Content::DataSet(_) | Content::Template(_) | Content::Extension(_) => {
            Err(ValueError::NotScalar)
        }
    })
}

/// Signed numbers are in two's complement in unsigned fields: of their own width, or, by some clients, of the field's.
fn whole(number: u64, datatype: Option<u32>) -> Value {
    let bits = match datatype {
        Some(datatype::INT8) => 8,
        Some(datatype::INT16) => 16,
        Some(datatype::INT32) => 32,
        Some(datatype::INT64) => 64,
        Some(datatype::BOOLEAN) => return Value::Boolean(number != 0),
        Some(_) | None => return unsigned_value(number),
    };
    let unused = 64 - bits;
    Value::Integer((number << unused).cast_signed() >> unused)
}

/// Metrics in the making, by their time.
#[derive(Default)]
struct Messages {
    /// A metric that comes twice at one time is in a second message of that time.
    by_time: BTreeMap<Option<u64>, Vec<Flat>>,
    count: usize,
}

impl Messages {
    fn put(
        &mut self,
        time: Option<u64>,
        name: &str,
        value: Result<Value, ValueError>,
    ) -> Result<(), DecodeError> {
        let same_time = self.by_time.entry(time).or_default();
        if let Some(flat) = same_time.iter_mut().find(|flat| !flat.contains_key(name)) {
            flat.insert(name.to_owned(), value);
            return Ok(());
        }
        self.count += 1;
        if self.count > MESSAGES_MAX {
            return Err(DecodeError::TooMany { found: self.count, max: MESSAGES_MAX });
        }
        same_time.push(Flat::from([(name.to_owned(), value)]));
        Ok(())
    }

    fn finish(self) -> Vec<Decoded> {
        let messages = self.by_time.into_iter().flat_map(|(time, flats)| {
            flats.into_iter().map(move |mut flat| {
                let time = time.and_then(|time| i64::try_from(time).ok());
                if let Some(time) = time {
                    flat.insert(TIMESTAMP.to_owned(), Ok(Value::Integer(time)));
                }
                Decoded::from(flat)
            })
        });
        messages.collect()
    }
}

#[cfg(test)]
mod tests;
