//! What recorded messages produce.

use std::collections::BTreeMap;

use super::super::conversion::numeric;
use super::super::message_context::MessageContext;
use super::super::sensor_plan::SensorPlan;
use super::super::settings::{DeviceSelector, Mapping, Sensor, Source};
use super::{Produced, Production, RecordedMessage};
use crate::decode::{Births, Decoded};
use tidegate_model::{AttributeType, DeviceId, Name, Value};

/// A decoded message of a sensor, with the data for its templates.
struct Message<'a> {
    sensor: &'a Sensor,
    devices: &'a BTreeMap<Name, DeviceId>,
    decoded: &'a Decoded,
    plan: &'a SensorPlan,
    context: MessageContext<'a>,
}

/// Adds what the messages of one bus produce.
pub(super) fn add_messages<'a>(
    production: &mut Production,
    sensors: &[Sensor],
    devices: &BTreeMap<Name, DeviceId>,
    messages: impl IntoIterator<Item = &'a RecordedMessage>,
) {
    let mut births = Births::default();
    let plans: Vec<_> = sensors.iter().map(|sensor| SensorPlan::new(sensor, devices)).collect();
    for RecordedMessage { topic, payload } in messages {
        let readers = sensors.iter().zip(&plans).filter(|(sensor, _)| sensor.reads(topic));
        for (sensor, plan) in readers {
            if sensor.ignores(payload) {
                continue;
            }
            let decoded = sensor.format.decode(topic, payload, &mut births).unwrap_or_default();
            for decoded in &decoded {
                let context = MessageContext::new(topic, decoded, &plan.names);
                let message = Message { sensor, devices, decoded, plan, context };
                message.add_to(production);
            }
        }
    }
}

impl Message<'_> {
    fn add_to(&self, production: &mut Production) {
        for mapping in &self.sensor.map {
            for (name, value) in self.values(mapping) {
                self.add_value(production, mapping, &name, value);
            }
        }
    }

    /// Returns the valid values of a mapping by the names of their channels.
    fn values(&self, mapping: &Mapping) -> Vec<(String, Value)> {
        let value = |name: &str| {
            let value = self.decoded.read(name, &mapping.conversion.words)?;
            Some((name.to_owned(), value.ok()?))
        };
        match &mapping.source {
            source if source.is_every_channel() => {
                let names = self.decoded.names().into_iter();
                names
                    .filter(|name| !self.plan.named_channels.contains(*name))
                    .filter_map(value)
                    .collect()
            }
            Source::Channel(name) => value(name).into_iter().collect(),
            Source::Expression(expression) => {
                let value = expression.evaluate(self.context.expressions()).ok().flatten();
                value.map(|value| (expression.to_string(), value)).into_iter().collect()
            }
        }
    }

    fn add_value(&self, production: &mut Production, mapping: &Mapping, name: &str, value: Value) {
        let numbers = mapping.conversion.words.numbers;
        let Ok(attribute) = mapping.attribute.resolve(&self.context, name) else { return };
        let data_type = mapping.fixed_type(self.sensor.format.channel_type(name));
        let likely_type =
            mapping.likely_type().or_else(|| Some(AttributeType::of(&numeric(value, numbers))));
        let produced = Produced { data_type, likely_type, is_certain: true };
        let online = self.sensor.stale.as_ref().map(|stale| {
            (stale.attribute.clone(), Produced::certain(Some(AttributeType::Boolean)))
        });
        let added = [(attribute, produced)].into_iter().chain(online);
        let sensor = &self.sensor.name;
        let Some(device) = self.device(name) else { return };
        for (name, one) in added {
            match &device {
                Ok(device) => production.add(*device, name, one),
                Err(unknown) => production.add_unknown(sensor, unknown, name, one),
            }
        }
        production.undetermined.remove(sensor);
    }

    /// Returns the device, or its name if the configuration lacks it; `None` without a name.
    fn device(&self, channel: &str) -> Option<Result<DeviceId, String>> {
        let template = match &self.sensor.device {
            DeviceSelector::Fixed(device) => return Some(Ok(*device)),
            DeviceSelector::ByTemplate(template) => template,
        };
        let rendered = self.context.render(template, channel).ok()?;
        let rendered = rendered.trim();
        let name = self.sensor.aliases.get(rendered).map_or(rendered, |alias| alias);
        if rendered.is_empty() {
            return None;
        }
        Some(self.devices.get(name).copied().ok_or_else(|| rendered.to_owned()))
    }
}
