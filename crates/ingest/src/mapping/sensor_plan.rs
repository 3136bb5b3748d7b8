//! What follows from the settings of a sensor, computed once for all its messages.

use std::collections::{BTreeMap, BTreeSet};

use super::message_context::{CHANNEL, ContextNames, MessageContext};
use super::rejection::Rejection;
use super::settings::{DeviceSelector, Sensor};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{DeviceId, Name, Reason};
use tidegate_template::Template;

/// The plan of one sensor.
#[derive(Debug)]
pub(super) struct SensorPlan {
    /// The names that its templates and expressions use.
    pub(super) names: ContextNames,
    /// The channels that a mapping names, so that `*` leaves them out.
    pub(super) named_channels: BTreeSet<String>,
    /// Whether all channels of a message are of one device.
    pub(super) has_one_device: bool,
    /// The devices by alias; `None` for an alias of a device that the configuration lacks.
    aliases: BTreeMap<String, Option<DeviceId>>,
}

impl SensorPlan {
    /// Creates the plan of a sensor. `devices` are those that templates may name.
    pub(super) fn new(sensor: &Sensor, devices: &BTreeMap<Name, DeviceId>) -> Self {
        let has_one_device = match &sensor.device {
            DeviceSelector::Fixed(_) => true,
            DeviceSelector::ByTemplate(template) => !template.uses(CHANNEL),
        };
        let aliases = sensor.aliases.iter();
        let aliases = aliases.map(|(alias, name)| (alias.clone(), devices.get(name).copied()));
        Self {
            names: ContextNames::of(sensor),
            named_channels: sensor.named_channels(),
            has_one_device,
            aliases: aliases.collect(),
        }
    }

    /// Returns the device whose name or alias a template yields for a channel.
    pub(super) fn named_device(
        &self,
        template: &Template,
        devices: &BTreeMap<Name, DeviceId>,
        context: &MessageContext<'_>,
        channel: &str,
    ) -> Result<DeviceId, Rejection> {
        let name = context
            .render(template, channel)
            .map_err(|error| Rejection::new(Reason::UnknownDevice, error.to_string()))?;
        let name = name.trim();
        let device = match self.aliases.get(name) {
            Some(device) => *device,
            None => devices.get(name).copied(),
        };
        device.ok_or_else(|| {
            let name = excerpt(name.as_bytes());
            let detail = format!("no device \"{name}\" in the configuration");
            Rejection::new(Reason::UnknownDevice, detail)
        })
    }
}
