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
        for (index, sensor) in bus.sensors.iter().enumerate() {
            for other in bus.sensors.iter().take(index) {
                check_pair(sensor, other, bus.kind.topics(), check);
            }
        }
    }
}

fn check_pair(sensor: &Sensor, other: &Sensor, topics: Topics, check: &mut Check<'_>) {
    let is_same = sensor.topic.is_some() && sensor.topic == other.topic;
    let is_overlapping = match (&sensor.topic, &other.topic) {
        (Some(one), Some(other)) => overlap(one, other),
        // A sensor without a topic reads every message.
        (_, _) => true,
    };
    if !is_overlapping {
        return;
    }
    let theirs: BTreeMap<_, _> = attributes(other).map(|(at, target)| (target, at)).collect();
    for (index, target) in attributes(sensor) {
        let Some(their_index) = theirs.get(&target) else { continue };
        let at = format!("sensor.{}.map.{index}.attribute", sensor.name);
        let (_, attribute) = target;
        let place = format!("sensor.{}.map.{their_index}", other.name);
        if is_same {
            let what = format!("\"{attribute}\" is that of {place}, which reads the same topic");
            check.problems.add(at, what, "give each its own attribute");
        } else if topics == Topics::None || (sensor.topic.is_none() && other.topic.is_none()) {
            let what = format!("\"{attribute}\" is that of {place}, which reads the same messages");
            let fix = "give each its own attribute, unless no message fits both formats";
            check.problems.warn(at, what, fix);
        } else {
            let what = format!("\"{attribute}\" is that of {place}, whose topics overlap");
            let fix = "give each its own attribute, or make the topics distinct";
            check.problems.warn(at, what, fix);
        }
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
