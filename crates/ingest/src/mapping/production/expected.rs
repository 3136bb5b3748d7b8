//! What the settings of a sensor determine without any message.

use std::collections::{BTreeMap, BTreeSet};

use super::super::settings::{AttributeSelector, DeviceSelector, Mapping, Sensor, Source};
use super::topic_pattern::{TopicPattern, has_placeholder};
use super::{BusSensors, KnownChannel, KnownMessage, Produced, Production};
use crate::decode::Json;
use tidegate_model::{AttributeName, AttributeType, DeviceId, Name};
use tidegate_template::Template;

/// A kind of message that a sensor reads.
struct Shape<'a> {
    topic: TopicPattern,
    /// The channels that the bus knows.
    known: Option<&'a KnownMessage>,
    /// The names of all channels; `None` if they depend on the message.
    names: Option<Vec<String>>,
}

/// A channel that a mapping reads.
struct Channel {
    name: String,
    data_type: Option<AttributeType>,
    is_optional: bool,
}

/// A device that a sensor reports for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Known(DeviceId),
    Unknown(String),
}

/// A device, and the topics of the messages for it.
struct Candidate {
    target: Target,
    topic: TopicPattern,
    is_certain: bool,
}

/// Adds the attributes of one sensor. `named` are the devices that its template may name.
pub(super) fn add_sensor(
    production: &mut Production,
    sensor: &Sensor,
    bus: &BusSensors<'_>,
    devices: &BTreeMap<Name, DeviceId>,
    named: &BTreeMap<Name, DeviceId>,
) {
    let finder = DeviceFinder { sensor, devices, named };
    let mut targets: BTreeMap<Target, bool> = BTreeMap::new();
    let mut is_determined = true;
    if let DeviceSelector::Fixed(device) = &sensor.device {
        targets.insert(Target::Known(*device), true);
    }
    for shape in shapes(sensor, bus) {
        for mapping in &sensor.map {
            let Some(channels) = shape.channels(sensor, mapping) else {
                is_determined = false;
                continue;
            };
            for channel in channels {
                let candidates = finder.candidates(&shape.topic, &channel.name);
                is_determined &= !candidates.is_empty();
                for candidate in candidates {
                    let context = candidate.topic.context(&channel.name);
                    let Some(attribute) = attribute(&mapping.attribute, &context) else {
                        is_determined = false;
                        continue;
                    };
                    let is_certain = candidate.is_certain && !channel.is_optional;
                    let produced = Produced {
                        data_type: mapping.fixed_type(channel.data_type),
                        likely_type: mapping.likely_type(),
                        is_certain,
                    };
                    add(production, sensor, &candidate.target, attribute, produced);
                    *targets.entry(candidate.target).or_default() |= candidate.is_certain;
                }
            }
        }
    }
    if let Some(stale) = &sensor.stale {
        for (target, is_certain) in targets {
            let online = Produced { is_certain, ..Produced::certain(Some(AttributeType::Boolean)) };
            add(production, sensor, &target, stale.attribute.clone(), online);
        }
    }
    if !is_determined {
        production.undetermined.insert(sensor.name.clone());
    }
}

fn add(
    production: &mut Production,
    sensor: &Sensor,
    target: &Target,
    attribute: AttributeName,
    produced: Produced,
) {
    match target {
        Target::Known(device) => production.add(*device, attribute, produced),
        Target::Unknown(name) => {
            production.add_unknown(&sensor.name, name, attribute, produced);
        }
    }
}

/// Returns the kinds of messages that a sensor reads.
fn shapes<'a>(sensor: &Sensor, bus: &'a BusSensors<'_>) -> Vec<Shape<'a>> {
    let names = sensor.format.channels();
    if let Some(messages) = &bus.messages {
        let read = messages.iter().filter(|message| sensor.reads(&message.topic));
        let shape = |message: &'a KnownMessage| {
            let known = (sensor.format.name() == Json::NAME).then_some(message);
            let topic = TopicPattern::of_topic(&message.topic);
            Shape { topic, known, names: known.map(top_names).or_else(|| names.clone()) }
        };
        return read.map(shape).collect();
    }
    let topic = match &sensor.topic {
        Some(filter) => TopicPattern::of_filter(filter),
        None if bus.has_topics => TopicPattern::of_topic("\u{e000}"),
        None => TopicPattern::of_topic(""),
    };
    vec![Shape { topic, known: None, names }]
}

/// Returns the names of the channels at the top level.
fn top_names(message: &KnownMessage) -> Vec<String> {
    let names = message.channels.iter().map(|channel| &channel.name);
    names.filter(|name| !name.starts_with('/')).cloned().collect()
}

impl Shape<'_> {
    /// Returns the channels of a mapping; `None` if they depend on the message.
    fn channels(&self, sensor: &Sensor, mapping: &Mapping) -> Option<Vec<Channel>> {
        let channel = |name: &str| {
            let known = self.known_channel(name);
            Channel {
                name: name.to_owned(),
                data_type: known
                    .map(|known| known.data_type)
                    .or_else(|| sensor.format.channel_type(name)),
                is_optional: known.is_some_and(|known| known.is_optional),
            }
        };
        match &mapping.source {
            source if source.is_every_channel() => {
                let names = self.names.as_ref()?.iter();
                let mapped = sensor.named_channels();
                Some(
                    names
                        .filter(|name| !mapped.contains(*name))
                        .map(|name| channel(name))
                        .collect(),
                )
            }
            Source::Channel(name) => {
                let is_complete = self.known.is_some_and(|known| known.is_complete);
                let is_absent = is_complete && self.known_channel(name).is_none();
                // A mapping of an optional channel asks for it, so its attribute is certain.
                let named = Channel { is_optional: false, ..channel(name) };
                Some(if is_absent { Vec::new() } else { vec![named] })
            }
            Source::Expression(expression) => {
                let name = expression.to_string();
                Some(vec![Channel { name, data_type: None, is_optional: false }])
            }
        }
    }

    fn known_channel(&self, name: &str) -> Option<&KnownChannel> {
        let channels = &self.known?.channels;
        let bare = name.strip_prefix('/').unwrap_or(name);
        channels.iter().find(|channel| channel.name == name || channel.name == bare)
    }
}

/// Finds the devices that the messages of a sensor can name.
struct DeviceFinder<'a> {
    sensor: &'a Sensor,
    devices: &'a BTreeMap<Name, DeviceId>,
    named: &'a BTreeMap<Name, DeviceId>,
}

impl DeviceFinder<'_> {
    fn candidates(&self, topic: &TopicPattern, channel: &str) -> Vec<Candidate> {
        let template = match &self.sensor.device {
            DeviceSelector::Fixed(device) => {
                let target = Target::Known(*device);
                return vec![Candidate { target, topic: topic.clone(), is_certain: true }];
            }
            DeviceSelector::ByTemplate(template) => template,
        };
        let Ok(rendered) = render(template, topic, channel) else {
            // The device is in the payload.
            let candidate = |(_, device): (String, DeviceId)| Candidate {
                target: Target::Known(device),
                topic: topic.clone(),
                is_certain: false,
            };
            return self.names().map(candidate).collect();
        };
        if !has_placeholder(&rendered) {
            let target = self.find(&rendered).map_or(Target::Unknown(rendered), Target::Known);
            return vec![Candidate { target, topic: topic.clone(), is_certain: true }];
        }
        let fitted = self.names().filter_map(|(name, device)| {
            let fitted = topic.fitted(&rendered, &name)?;
            let is_same = render(template, &fitted, channel).is_ok_and(|again| again == name);
            let target = Target::Known(device);
            is_same.then_some(Candidate { target, topic: fitted, is_certain: false })
        });
        fitted.collect()
    }

    /// Returns the results of the template that name a device: the aliases, or the devices.
    fn names(&self) -> impl Iterator<Item = (String, DeviceId)> {
        let aliases = self.sensor.aliases.iter();
        let aliases: Vec<_> = aliases
            .filter_map(|(alias, name)| Some((alias.clone(), *self.devices.get(name)?)))
            .collect();
        let aliased: BTreeSet<_> = aliases.iter().map(|(_, device)| *device).collect();
        let is_open = aliases.is_empty();
        let named = self.named.iter().filter(move |_| is_open);
        let named = named.filter(move |(_, device)| !aliased.contains(*device));
        let named = named.map(|(name, device)| (name.to_string(), *device));
        aliases.into_iter().chain(named)
    }

    fn find(&self, rendered: &str) -> Option<DeviceId> {
        let name = self.sensor.aliases.get(rendered).map_or(rendered, |alias| alias);
        self.devices.get(name).copied()
    }
}

fn render(
    template: &Template,
    topic: &TopicPattern,
    channel: &str,
) -> Result<String, tidegate_template::TemplateError> {
    template.render_value(topic.context(channel)).map(|text| text.trim().to_owned())
}

/// Returns the attribute, if it does not depend on a message.
fn attribute(selector: &AttributeSelector, context: &minijinja::Value) -> Option<AttributeName> {
    match selector {
        AttributeSelector::Fixed(attribute) => Some(attribute.clone()),
        // The placeholders of a topic are not allowed in a name.
        AttributeSelector::ByTemplate(template) => {
            AttributeSelector::parse(&template.render_value(context.clone()).ok()?).ok()
        }
    }
}
