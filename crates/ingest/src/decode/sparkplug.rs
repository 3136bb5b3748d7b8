//! Sparkplug B (Eclipse Sparkplug 3.0): the metrics of edge nodes and their devices, by name.
//!
//! A birth certificate declares the names and the types of the metrics. Later messages may contain
//! only a number, the alias, in place of the name, and no type. So the decoder stores the births.
//! It rejects a message with an unknown alias completely, because a value with a wrong name is
//! worse than no value.

pub(super) mod births;
mod wire;

use std::collections::BTreeMap;

use prost::Message as _;

pub use births::Births;

use self::births::{Birth, Source};
use self::wire::{Content, Metric, Payload, datatype};
use super::decoded::{ChannelMap, Decoded};
use super::decoder::{Decoder, DecoderKind, DecoderOption, MESSAGES_MAX};
use super::error::DecodeError;
use super::field::{shortest, unsigned_value};
use tidegate_model::{Value, ValueError, WallTime, Write};

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Sparkplug::NAME,
    options: &[DecoderOption::Rebirth],
    create: |options| Some(Sparkplug { rebirth: options.rebirth }.into()),
};

/// The first level of all Sparkplug B topics.
const NAMESPACE: &str = "spBv1.0";

/// The channel with the time of the values, in ms since 1970. Each time is a separate message.
const TIMESTAMP: &str = "timestamp";

/// Prefixes of metrics for the protocol itself. They are not measurements, so not channels.
const PROTOCOL_METRICS: [&str; 3] = ["bdSeq", "Node Control/", "Device Control/"];

/// Decodes the messages of Sparkplug B. The channels are the metric names and `timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sparkplug {
    /// Whether the gateway asks a node for a missing birth certificate.
    pub rebirth: bool,
}

impl Sparkplug {
    /// The name of the format in the configuration.
    pub const NAME: &str = "sparkplug";
}

impl Decoder for Sparkplug {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn is_text(&self) -> bool {
        false
    }

    fn requests_births(&self) -> bool {
        self.rebirth
    }

    /// Returns one message for each time; none for a death certificate or a command.
    fn decode(
        &self,
        topic: &str,
        payload: &[u8],
        births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        decode(topic, payload, births)
    }
}

/// The source and the type of a message, from its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Topic<'a> {
    kind: MessageType,
    group: &'a str,
    node: &'a str,
    /// Empty for the node itself.
    device: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageType {
    Birth,
    Data,
    /// A death certificate, a command, or the state of a host.
    Other,
}

impl<'a> Topic<'a> {
    /// Parses `spBv1.0/GROUP/TYPE/NODE` or `spBv1.0/GROUP/TYPE/NODE/DEVICE`.
    fn parse(topic: &'a str) -> Option<Self> {
        let mut levels = topic.split('/');
        if levels.next() != Some(NAMESPACE) {
            return None;
        }
        let (group, message_type) = (levels.next()?, levels.next()?);
        let (node, device) = (levels.next().unwrap_or_default(), levels.next().unwrap_or_default());
        let kind = match (message_type, node.is_empty(), device.is_empty()) {
            ("NBIRTH", false, true) | ("DBIRTH", false, false) => MessageType::Birth,
            ("NDATA", false, true) | ("DDATA", false, false) => MessageType::Data,
            _ => MessageType::Other,
        };
        levels.next().is_none().then_some(Self { kind, group, node, device })
    }

    fn source(self) -> Source<'a> {
        Source { group: self.group, node: self.node, device: self.device }
    }
}

/// Returns the command that asks the node of a topic for its birth certificates.
///
/// `None` if the topic is not of Sparkplug B.
pub fn rebirth_request(topic: &str, time: WallTime) -> Option<Write> {
    let Topic { group, node, .. } = Topic::parse(topic)?;
    let time_ms = u64::try_from(time.as_millis()).unwrap_or_default();
    Some(Write::Mqtt {
        topic: format!("{NAMESPACE}/{group}/NCMD/{node}"),
        payload: wire::rebirth_request(time_ms).into(),
        qos: 0,
        retain: false,
        reply: None,
    })
}

fn decode(topic: &str, payload: &[u8], births: &mut Births) -> Result<Vec<Decoded>, DecodeError> {
    let invalid = |problem| DecodeError::InvalidSparkplug { problem };
    let topic = Topic::parse(topic).ok_or_else(|| invalid("invalid topic"))?;
    if topic.kind == MessageType::Other {
        return Ok(Vec::new());
    }
    let payload = Payload::decode(payload).map_err(|_| invalid("invalid protobuf payload"))?;
    let metrics = payload.metrics.iter().map(|bytes| Metric::decode(bytes.as_slice()));
    let metrics: Vec<_> =
        metrics.collect::<Result<_, _>>().map_err(|_| invalid("invalid protobuf metric"))?;
    if topic.kind == MessageType::Birth {
        births.insert(topic.source(), birth(&metrics))?;
    }
    let mut messages = MessagesBuilder::default();
    for metric in metrics {
        let (name, datatype) = births.identify(topic.source(), &metric)?;
        if PROTOCOL_METRICS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let time = metric.timestamp.or(payload.timestamp);
        if let Some(value) = value(&metric, datatype) {
            messages.add(time, name, value)?;
        }
    }
    Ok(messages.build())
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

/// Returns the value of a metric; `None` if it has no value.
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

/// Returns an integer of any type.
///
/// Unsigned fields contain signed numbers in two's complement. The width is that of the type, or
/// for some clients that of the field.
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

/// Collects metrics to messages, by time.
#[derive(Default)]
struct MessagesBuilder {
    /// A metric that occurs twice at one time is in a second message of that time.
    by_time: BTreeMap<Option<u64>, Vec<ChannelMap>>,
    count: usize,
}

impl MessagesBuilder {
    fn add(
        &mut self,
        time: Option<u64>,
        name: &str,
        value: Result<Value, ValueError>,
    ) -> Result<(), DecodeError> {
        let same_time = self.by_time.entry(time).or_default();
        if let Some(message) = same_time.iter_mut().find(|message| !message.contains_key(name)) {
            message.insert(name.to_owned(), value);
            return Ok(());
        }
        self.count += 1;
        if self.count > MESSAGES_MAX {
            return Err(DecodeError::TooManyMessages { found: self.count, max: MESSAGES_MAX });
        }
        same_time.push(ChannelMap::from([(name.to_owned(), value)]));
        Ok(())
    }

    fn build(self) -> Vec<Decoded> {
        let messages = self.by_time.into_iter().flat_map(|(time, messages)| {
            messages.into_iter().map(move |mut message| {
                let time = time.and_then(|time| i64::try_from(time).ok());
                if let Some(time) = time {
                    message.insert(TIMESTAMP.to_owned(), Ok(Value::Integer(time)));
                }
                Decoded::from(message)
            })
        });
        messages.collect()
    }
}

#[cfg(test)]
mod tests;
