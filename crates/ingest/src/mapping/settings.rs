//! What the configuration says of a sensor.

use std::collections::BTreeMap;

use minijinja::value::{Serde, merge_maps};
use regex::bytes::Regex;

use super::{Conversion, EVERY_CHANNEL, Flow, Rejection, StaleSettings, TimeSource, reject_value};
use crate::decode::{Decoded, Format};
use tidegate_model::excerpt::excerpt;
use tidegate_model::topic::TopicFilter;
use tidegate_model::{AttributeName, DeviceId, Name, Priority, ReadingTime, Reason};
use tidegate_template::Expression;
use tidegate_template::Template;

/// How many channels of a message are listed where none of them is mapped.
const NAMES_MAX: usize = 8;

/// One kind of message on a bus, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Sensor {
    /// The name that the configuration gives it.
    pub name: Name,
    /// The topics that it reads; `None` reads every message of the bus.
    pub topic: Option<TopicFilter>,
    /// How its messages are written.
    pub format: Format,
    /// Messages that match are none of its.
    pub ignore: Option<Regex>,
    /// Whose values they are.
    pub device: DeviceSelector,
    /// What a template yields, such as a serial number, and the name of the device that it means.
    pub aliases: BTreeMap<String, Name>,
    /// Whether its states go early or late when the outbox is full.
    pub priority: Priority,
    /// Whether retained messages are taken; the bus decides that, not this module.
    pub retained: bool,
    /// Where its messages say when they were measured; if nowhere, when they came.
    pub time: Option<TimeSource>,
    /// Tells when it is silent.
    pub stale: Option<StaleSettings>,
    /// Which channels become which attributes.
    pub map: Vec<Mapping>,
}

/// What a message is to expressions and to templates.
pub(super) struct Contexts {
    /// To expressions.
    pub(super) computed: minijinja::Value,
    /// To templates of devices and attributes.
    pub(super) named: minijinja::Value,
}

/// Whose values a sensor's are.
#[derive(Debug, Clone)]
pub enum DeviceSelector {
    /// Always this device's.
    Fixed(DeviceId),
    /// The device of the *name* that the template yields from `topic` (a list of its levels), `channel` and `payload`.
    ByTemplate(Template),
}

/// One channel of a sensor and the attribute that it becomes.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Where the value comes from.
    pub source: Source,
    /// The attribute.
    pub attribute: AttributeSelector,
    /// What it becomes.
    pub conversion: Conversion,
    /// Whether it is worth sending.
    pub flow: Flow,
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A channel, as its [`Format`] calls it; `*` is every channel that no other mapping of the sensor takes.
    Channel(String),
    /// Computed from the channels of a message. A message that lacks one of them gives no value.
    Expression(Expression),
}

/// Which attribute a channel becomes.
#[derive(Debug, Clone)]
pub enum AttributeSelector {
    /// Always this one.
    Fixed(AttributeName),
    /// The name that the template yields from `topic` (a list of its levels), `channel` and `payload`.
    ByTemplate(Template),
}

impl Sensor {
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|filter| filter.matches(topic))
    }

    pub(super) fn ignores(&self, payload: &[u8]) -> bool {
        self.ignore.as_ref().is_some_and(|pattern| pattern.is_match(payload))
    }

    /// Whether a mapping names this channel, be it by its JSON pointer.
    pub(super) fn maps(&self, channel: &str) -> bool {
        let pointer = format!("/{}", channel.replace('~', "~0").replace('/', "~1"));
        let is_json = self.format.has_json_pointers();
        let names = |name: &str| name == channel || is_json && name == pointer;
        self.map
            .iter()
            .any(|mapping| matches!(&mapping.source, Source::Channel(name) if names(name)))
    }

    pub(super) fn measured_at(
        &self,
        message: &Decoded,
        arrival: ReadingTime,
    ) -> Result<ReadingTime, Rejection> {
        let Some(source) = &self.time else { return Ok(arrival) };
        match message.channel(&source.channel).filter(|_| !message.is_null(&source.channel)) {
            Some(value) => {
                let word = message.original_texts().get(&source.channel).map(String::as_str);
                source.read(&value.map_err(reject_value)?, word, arrival).map(ReadingTime::Wall)
            }
            None => Ok(arrival),
        }
    }

    /// What expressions and templates see: `payload` and `topic`, the channels under their own names, and `written`, where
    /// words are as they stood there. To a template, whose result is a name, a word such as `0012` or `12E4` is no number.
    pub(super) fn contexts(&self, topic: &str, message: &Decoded) -> Contexts {
        let computes = |mapping: &Mapping| {
            matches!(mapping.source, Source::Expression(_)) || !mapping.attribute.is_fixed()
        };
        if self.device.is_fixed() && !self.map.iter().any(computes) {
            let undefined = minijinja::Value::UNDEFINED;
            return Contexts { computed: undefined.clone(), named: undefined };
        }
        let levels: Vec<String> = topic.split('/').map(str::to_owned).collect();
        let payload = minijinja::Value::from(Serde(message));
        let is_map = payload.kind() == minijinja::value::ValueKind::Map;
        let words = |takes: &dyn Fn(&str) -> bool| {
            let words = message.original_texts().iter().filter(|(_, word)| takes(word));
            let words = words.map(|(name, word)| (name.clone(), word.clone().into()));
            minijinja::Value::from(words.collect::<BTreeMap<String, minijinja::Value>>())
        };
        let written =
            if is_map { merge_maps([payload.clone(), words(&|_| true)]) } else { payload.clone() };
        let context = |payload: minijinja::Value| {
            let own = minijinja::context! {
                topic => levels.clone(), payload => payload.clone(), written => written.clone()
            };
            // The last one counts: no message may say what its topic is.
            if is_map { merge_maps([payload, own]) } else { own }
        };
        let computed = context(payload.clone());
        let named = if is_map && !message.original_texts().is_empty() {
            context(merge_maps([payload, words(&|word| !word.contains('.'))]))
        } else {
            computed.clone()
        };
        Contexts { computed, named }
    }

    pub(super) fn describe_miss(&self, message: &Decoded) -> String {
        let list = |names: &mut dyn Iterator<Item = String>| {
            let quoted: Vec<_> =
                names.take(NAMES_MAX).map(|name| excerpt(name.as_bytes())).collect();
            quoted.join(", ")
        };
        let wanted = list(&mut self.map.iter().map(|mapping| mapping.source.to_string()));
        let found = list(&mut message.names().into_iter().map(str::to_owned));
        let name = &self.name;
        format!("sensor {name}: the message has none of the channels {wanted}; it has {found}")
    }
}

impl DeviceSelector {
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The device, through the table of aliases if the sensor has one: what is in neither is refused.
    pub(super) fn resolve(
        &self,
        context: &minijinja::Value,
        aliases: &BTreeMap<String, Name>,
        devices: &BTreeMap<Name, DeviceId>,
    ) -> Result<DeviceId, Rejection> {
        let name = match self {
            Self::Fixed(device) => return Ok(*device),
            Self::ByTemplate(template) => template
                .render(context)
                .map_err(|error| (Reason::UnknownDevice, error.to_string()))?,
        };
        let name = name.trim();
        let known = aliases.get(name).map_or(name, |alias| alias);
        devices.get(known).copied().ok_or_else(|| {
            let name = excerpt(name.as_bytes());
            (Reason::UnknownDevice, format!("no device is called \"{name}\" in the configuration"))
        })
    }
}

impl AttributeSelector {
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    pub(super) fn resolve(&self, context: &minijinja::Value) -> Result<AttributeName, Rejection> {
        let name = match self {
            Self::Fixed(attribute) => return Ok(attribute.clone()),
            Self::ByTemplate(template) => template
                .render(context)
                .map_err(|error| (Reason::BadAttributeName, error.to_string()))?,
        };
        name.trim().parse().map_err(|_| {
            let name = excerpt(name.trim().as_bytes());
            let why = format!("\"{name}\" is no attribute name; take letters, digits, _ and -");
            (Reason::BadAttributeName, why)
        })
    }
}

impl Source {
    /// A source that takes every channel.
    pub fn is_every_channel(&self) -> bool {
        matches!(self, Self::Channel(name) if name == EVERY_CHANNEL)
    }
}

/// As the configuration writes it.
impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Channel(name) => formatter.write_str(name),
            Self::Expression(expression) => expression.fmt(formatter),
        }
    }
}
