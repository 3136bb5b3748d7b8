//! The settings of a sensor and its mappings.

use std::collections::{BTreeMap, BTreeSet};

use regex::bytes::Regex;

use super::attribute_filter::FilterSettings;
use super::conversion::Conversion;
use super::message_context::MessageContext;
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

impl Mapping {
    /// Creates a mapping of a channel to an attribute, without conversion and filter.
    pub fn of_channel(channel: &str, attribute: AttributeName) -> Self {
        Self {
            source: Source::Channel(channel.to_owned()),
            attribute: AttributeSelector::Fixed(attribute),
            conversion: Conversion::default(),
            filter: FilterSettings::default(),
        }
    }
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
    /// Creates a sensor without any optional setting, and with normal priority.
    pub fn new(
        name: Name,
        topic: Option<TopicFilter>,
        format: Format,
        device: DeviceSelector,
        map: Vec<Mapping>,
    ) -> Self {
        Self {
            name,
            topic,
            format,
            ignore: None,
            device,
            aliases: BTreeMap::new(),
            priority: Priority::default(),
            retained: false,
            time: None,
            stale: None,
            map,
        }
    }

    pub(super) fn reads(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|filter| filter.matches(topic))
    }

    pub(super) fn ignores(&self, payload: &[u8]) -> bool {
        self.ignore.as_ref().is_some_and(|pattern| pattern.is_match(payload))
    }

    /// Returns the channels that a mapping names, also by a JSON pointer.
    pub(super) fn named_channels(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for mapping in &self.map {
            let Source::Channel(name) = &mapping.source else { continue };
            if let Some(token) = name.strip_prefix('/').filter(|_| self.format.has_json_pointers())
            {
                let member = token.replace("~1", "/").replace("~0", "~");
                let pointer = member.replace('~', "~0").replace('/', "~1");
                names.extend((pointer == token).then_some(member));
            }
            names.insert(name.clone());
        }
        names
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

impl AttributeSelector {
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// Returns the attribute of a channel.
    ///
    /// # Errors
    /// If the message lacks a value of the template, or the result is no name.
    pub(super) fn resolve(
        &self,
        context: &MessageContext<'_>,
        channel: &str,
    ) -> Result<AttributeName, Rejection> {
        match self {
            Self::Fixed(attribute) => Ok(attribute.clone()),
            Self::ByTemplate(template) => {
                let name = context
                    .render(template, channel)
                    .map_err(|error| Rejection::new(Reason::BadAttributeName, error.to_string()))?;
                Self::parse(&name)
            }
        }
    }

    /// Returns the attribute that a template yielded.
    ///
    /// # Errors
    /// If it is no name.
    pub(super) fn parse(name: &str) -> Result<AttributeName, Rejection> {
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
