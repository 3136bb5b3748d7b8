//! Two entries that write the same attribute of the same device: one value of each message would be
//! lost.

use std::collections::BTreeMap;

use crate::check::Check;
use crate::topics::overlap;
use crate::{Bus, Topics};
use tidegate_ingest::mapping::{AttributeSelector, DeviceSelector, Mapping, Sensor, Source};
use tidegate_model::{AttributeName, DeviceId, Name};

/// Reports entries of one sensor with the same attribute.
pub(super) fn check_sensor(key: &str, sensor: &Sensor, check: &mut Check<'_>) {
    let mut fixed: BTreeMap<&AttributeName, (usize, &Mapping)> = BTreeMap::new();
    let mut templates: BTreeMap<String, usize> = BTreeMap::new();
    for (index, mapping) in sensor.map.iter().enumerate() {
        let at = format!("{key}.map.{index}.attribute");
        match &mapping.attribute {
            AttributeSelector::Fixed(name) => {
                if let Some((first, other)) = fixed.get(name) {
                    let what = format!("\"{name}\" is that of map.{first}, too");
                    let fix = if source(mapping) == source(other) {
                        "remove one of them"
                    } else {
                        "give each its own attribute; one value of each message would be lost"
                    };
                    check.problems.add(at, what, fix);
                }
                fixed.entry(name).or_insert((index, mapping));
            }
            AttributeSelector::ByTemplate(template) => {
                let text = template.to_string();
                // The same template has the same result, unless it contains the channel.
                if text.contains("channel") && mapping.source.is_every_channel() {
                    continue;
                }
                if let Some(first) = templates.get(&text) {
                    let what = format!("\"{text}\" is that of map.{first}, too");
                    let fix = "give each its own attribute, unless no message has both channels";
                    check.problems.warn(at, what, fix);
                }
                templates.entry(text).or_insert(index);
            }
        }
    }
    if let Some(stale) = &sensor.stale
        && let Some((index, _)) = fixed.get(&stale.attribute)
    {
        let what = format!("\"{}\" is the attribute of map.{index}, too", stale.attribute);
        check.problems.add(format!("{key}.stale.attribute"), what, "give it one of its own");
    }
}

fn source(mapping: &Mapping) -> String {
    match &mapping.source {
        Source::Channel(name) => name.clone(),
        Source::Expression(expression) => format!("= {expression}"),
    }
}

/// Reports sensors of one bus that read the same messages and have the same attribute.
pub(in crate::resolve) fn check_buses(buses: &BTreeMap<Name, Bus>, check: &mut Check<'_>) {
    for bus in buses.values() {
        let mut sources: BTreeMap<(DeviceId, &AttributeName), Sources<'_>> = BTreeMap::new();
        for sensor in &bus.sensors {
            for (index, target) in attributes(sensor) {
                let source = MappedSource { sensor, index };
                let sources = sources.entry(target).or_default();
                for other in sources.overlapping(sensor) {
                    report_overlap(source, other, target.1, bus.kind.topics(), check);
                }
                sources.add(source);
            }
        }
    }
}

/// An entry of `map` with its sensor.
#[derive(Clone, Copy)]
struct MappedSource<'a> {
    sensor: &'a Sensor,
    index: usize,
}

/// The entries with one attribute of one device, in the order of their sensors.
///
/// Most sensors read one topic without wildcards. These are found by the topic, so that the work
/// does not grow with the square of their number.
#[derive(Default)]
struct Sources<'a> {
    list: Vec<MappedSource<'a>>,
    /// The places in the list by a topic without wildcards.
    by_topic: BTreeMap<&'a str, Vec<usize>>,
    /// The places of all other sensors.
    others: Vec<usize>,
}

impl<'a> Sources<'a> {
    fn add(&mut self, source: MappedSource<'a>) {
        let place = self.list.len();
        match exact_topic(source.sensor) {
            Some(topic) => self.by_topic.entry(topic).or_default().push(place),
            None => self.others.push(place),
        }
        self.list.push(source);
    }

    /// Returns the entries of other sensors that read messages of this sensor.
    fn overlapping(&self, sensor: &Sensor) -> Vec<MappedSource<'a>> {
        let mut places: Vec<usize> = match exact_topic(sensor) {
            Some(topic) => {
                let same = self.by_topic.get(topic).into_iter().flatten();
                same.chain(&self.others).copied().collect()
            }
            None => (0..self.list.len()).collect(),
        };
        places.sort_unstable();
        let sources = places.into_iter().filter_map(|place| self.list.get(place).copied());
        let is_overlapping = |other: &Sensor| match (&sensor.topic, &other.topic) {
            (Some(one), Some(other)) => overlap(one, other),
            // A sensor without a topic reads every message.
            (_, _) => true,
        };
        // Entries of the same sensor are checked by themselves.
        let is_other = |other: &Sensor| other.name != sensor.name && is_overlapping(other);
        sources.filter(|source| is_other(source.sensor)).collect()
    }
}

/// Returns the only topic that a sensor reads, if its filter has no wildcard.
fn exact_topic(sensor: &Sensor) -> Option<&str> {
    let topic = sensor.topic.as_ref()?.as_str();
    (!topic.contains(['+', '#'])).then_some(topic)
}

fn report_overlap(
    source: MappedSource<'_>,
    other: MappedSource<'_>,
    attribute: &AttributeName,
    topics: Topics,
    check: &mut Check<'_>,
) {
    let (sensor, their) = (source.sensor, other.sensor);
    let is_same = sensor.topic.is_some() && sensor.topic == their.topic;
    let at = format!("sensor.{}.map.{}.attribute", sensor.name, source.index);
    let place = format!("sensor.{}.map.{}", their.name, other.index);
    if is_same {
        let what = format!("\"{attribute}\" is that of {place}, which reads the same topic");
        check.problems.add(at, what, "give each its own attribute");
    } else if topics == Topics::None || (sensor.topic.is_none() && their.topic.is_none()) {
        let what = format!("\"{attribute}\" is that of {place}, which reads the same messages");
        let fix = "give each its own attribute, unless no message fits both formats";
        check.problems.warn(at, what, fix);
    } else {
        let what = format!("\"{attribute}\" is that of {place}, whose topics overlap");
        let fix = "give each its own attribute, or make the topics distinct";
        check.problems.warn(at, what, fix);
    }
}

/// Returns the fixed attributes of a sensor of a fixed device, with the indexes of their entries.
fn attributes(sensor: &Sensor) -> impl Iterator<Item = (usize, (DeviceId, &AttributeName))> {
    let device = match sensor.device {
        DeviceSelector::Fixed(device) => Some(device),
        DeviceSelector::ByTemplate(_) => None,
    };
    let map = sensor.map.iter().enumerate();
    map.filter_map(move |(index, mapping)| match &mapping.attribute {
        AttributeSelector::Fixed(name) => Some((index, (device?, name))),
        AttributeSelector::ByTemplate(_) => None,
    })
}
