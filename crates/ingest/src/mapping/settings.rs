//! The settings of a sensor and its mappings.

use std::collections::BTreeMap;

use minijinja::value::{Serde, merge_maps};
use regex::bytes::Regex;

use super::attribute_filter::FilterSettings;
use super::conversion::Conversion;
use super::message_time::TimeSource;
use super::rejection::Rejection;
use super::silence::StaleSettings;
use crate::by_text::ByText;
use crate::decode::{Decoded, Format};
use tidegate_model::excerpt::excerpt;
use tidegate_model::topic::TopicFilter;
use tidegate_model::{AttributeName, DeviceId, Name, Priority, ReadingTime, Reason};
use tidegate_template::Expression;
use tidegate_template::Template;

/// The channel name that selects all channels of a message.
const EVERY_CHANNEL: &str = "*";

/// The most channels to list for a message without a mapped channel.
const NAMES_MAX: usize = 8;

/// A sensor: a selection of the messages on a bus, and their mapping to attributes.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// The name in the configuration.
    pub name: Name,
    /// The topics of its messages; `None` for all messages of the bus.
    pub topic: Option<TopicFilter>,
    /// The format of its messages.
    pub format: Format,
    /// Messages that match this pattern are ignored.
    pub ignore: Option<ByText<Regex>>,
    /// The device of the values.
    pub device: DeviceSelector,
    /// The device names for results of the template, such as serial numbers.
    pub aliases: BTreeMap<String, Name>,
    /// The priority of its states in a full outbox.
    pub priority: Priority,
    /// Whether retained MQTT messages are read. The bus applies this option.
    pub retained: bool,
    /// The time of measurement in its messages; without it, the time of arrival counts.
    pub time: Option<TimeSource>,
    /// The report of its silence.
    pub stale: Option<StaleSettings>,
    /// The mappings of channels to attributes.
    pub map: Vec<Mapping>,
}

/// The data of a message for expressions and for templates.
pub(super) struct Contexts {
    /// For expressions.
    pub(super) expressions: minijinja::Value,
    /// For templates of devices and attributes.
    pub(super) templates: minijinja::Value,
}

/// The device of a sensor's values.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceSelector {
    /// This device.
    Fixed(DeviceId),
    /// The device whose *name* the template yields.
    ///
    /// The template sees `topic` (a list of its levels), `channel` and `payload`.
    ByTemplate(Template),
}

/// The mapping of a channel to an attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// The source of the value.
    pub source: Source,
    /// The attribute.
    pub attribute: AttributeSelector,
    /// The conversion of the value.
    pub conversion: Conversion,
    /// The filter that decides whether the value is sent.
    pub filter: FilterSettings,
}

/// The source of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A channel of the [`Format`]. `*` is every channel that no other mapping of the sensor uses.
    Channel(String),
    /// An expression over the channels. A message that lacks one of them yields no value.
    Expression(Expression),
}

/// The attribute of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeSelector {
    /// This attribute.
    Fixed(AttributeName),
    /// The attribute whose name the template yields.
    ///
    /// The template sees `topic` (a list of its levels), `channel` and `payload`.
    ByTemplate(Template),
}

impl Sensor {
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|filter| filter.matches(topic))
    }

    pub(super) fn ignores(&self, payload: &[u8]) -> bool {
        self.ignore.as_ref().is_some_and(|pattern| pattern.is_match(payload))
    }

    /// Returns whether a mapping names this channel, also by its JSON pointer.
    pub(super) fn maps(&self, channel: &str) -> bool {
        let pointer = format!("/{}", channel.replace('~', "~0").replace('/', "~1"));
        let is_json = self.format.has_json_pointers();
        let names = |name: &str| name == channel || is_json && name == pointer;
        self.map
            .iter()
            .any(|mapping| matches!(&mapping.source, Source::Channel(name) if names(name)))
    }

    /// Returns the time of measurement in a message, or the arrival if the message has none.
    pub(super) fn measured_at(
        &self,
        message: &Decoded,
        arrival: ReadingTime,
    ) -> Result<ReadingTime, Rejection> {
        let Some(source) = &self.time else { return Ok(arrival) };
        match message.channel(&source.channel).filter(|_| !message.is_null(&source.channel)) {
            Some(value) => {
                let original = message.original_texts().get(&source.channel).map(String::as_str);
                source.read(&value?, original, arrival).map(ReadingTime::Wall)
            }
            None => Ok(arrival),
        }
    }

    /// Returns the data for expressions and templates.
    ///
    /// They see `payload`, `topic`, each channel with its own name, and `written`, which has the
    /// original texts. A template yields a name, so it sees `0012` or `12E4` as a text, not as a
    /// number.
    pub(super) fn contexts(&self, topic: &str, message: &Decoded) -> Contexts {
        let computes = |mapping: &Mapping| {
            matches!(mapping.source, Source::Expression(_)) || !mapping.attribute.is_fixed()
        };
        if self.device.is_fixed() && !self.map.iter().any(computes) {
            let undefined = minijinja::Value::UNDEFINED;
            return Contexts { expressions: undefined.clone(), templates: undefined };
        }
        let levels: Vec<String> = topic.split('/').map(str::to_owned).collect();
        let payload = minijinja::Value::from(Serde(message));
        let is_map = payload.kind() == minijinja::value::ValueKind::Map;
        let originals = |accepts: &dyn Fn(&str) -> bool| {
            let texts = message.original_texts().iter().filter(|(_, text)| accepts(text));
            let texts = texts.map(|(name, text)| (name.clone(), text.clone().into()));
            minijinja::Value::from(texts.collect::<BTreeMap<String, minijinja::Value>>())
        };
        let written = if is_map {
            merge_maps([payload.clone(), originals(&|_| true)])
        } else {
            payload.clone()
        };
        let context = |payload: minijinja::Value| {
            let own = minijinja::context! {
                topic => levels.clone(), payload => payload.clone(), written => written.clone()
            };
            // The later map wins, so a message cannot replace the topic.
            if is_map { merge_maps([payload, own]) } else { own }
        };
        let expressions = context(payload.clone());
        let templates = if is_map && !message.original_texts().is_empty() {
            context(merge_maps([payload, originals(&|text| !text.contains('.'))]))
        } else {
            expressions.clone()
        };
        Contexts { expressions, templates }
    }

    /// Describes a message without a mapped channel, for the log.
    pub(super) fn describe_unmapped(&self, message: &Decoded) -> String {
        let list = |names: &mut dyn Iterator<Item = String>| {
            let quoted: Vec<_> =
                names.take(NAMES_MAX).map(|name| excerpt(name.as_bytes())).collect();
            quoted.join(", ")
        };
        let mapped = list(&mut self.map.iter().map(|mapping| mapping.source.to_string()));
        let found = list(&mut message.names().into_iter().map(str::to_owned));
        let name = &self.name;
        format!("sensor {name}: the message has none of the channels {mapped}; it has {found}")
    }
}

impl DeviceSelector {
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// Returns the device. The result of a template is an alias or the name of a device.
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
                .map_err(|error| Rejection::new(Reason::UnknownDevice, error.to_string()))?,
        };
        let name = name.trim();
        let device_name = aliases.get(name).map_or(name, |alias| alias);
        devices.get(device_name).copied().ok_or_else(|| {
            let name = excerpt(name.as_bytes());
            let detail = format!("no device \"{name}\" in the configuration");
            Rejection::new(Reason::UnknownDevice, detail)
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
                .map_err(|error| Rejection::new(Reason::BadAttributeName, error.to_string()))?,
        };
        name.trim().parse().map_err(|_| {
            let name = excerpt(name.trim().as_bytes());
            let detail = format!("invalid attribute name \"{name}\"; use letters, digits, _ and -");
            Rejection::new(Reason::BadAttributeName, detail)
        })
    }
}

impl Source {
    /// Returns whether the source is every channel that no other mapping uses.
    pub fn is_every_channel(&self) -> bool {
        matches!(self, Self::Channel(name) if name == EVERY_CHANNEL)
    }
}

/// Writes the channel or the expression as in the configuration.
impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Channel(name) => formatter.write_str(name),
            Self::Expression(expression) => expression.fmt(formatter),
        }
    }
}
