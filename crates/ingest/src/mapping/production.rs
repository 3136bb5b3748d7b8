//! The attributes that the configuration can produce, with their devices and types.
//!
//! They follow from the settings alone where the settings determine them: the names of devices,
//! the topics of a bus, the channels of a decoder. Recorded messages add the names that only
//! messages have.

mod expected;
mod mapping_type;
mod recorded;
mod topic_pattern;

use std::collections::{BTreeMap, BTreeSet};

use super::attribute_check::ProducedAttributes;
use super::settings::{DeviceSelector, Sensor};
use tidegate_model::{AttributeName, AttributeType, DeviceId, Name};

/// The name of the gateway among the devices.
const GATEWAY: &str = "gateway";

/// The sensors of a bus, and what is known about its messages.
#[derive(Debug, Clone)]
pub struct BusSensors<'a> {
    /// The sensors.
    pub sensors: &'a [Sensor],
    /// All messages that the bus can have; `None` if they depend on the instruments.
    pub messages: Option<Vec<KnownMessage>>,
    /// Whether its messages have topics.
    pub has_topics: bool,
}

/// A kind of message whose topic and channels follow from the settings of its bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownMessage {
    /// The topic.
    pub topic: String,
    /// The channels.
    pub channels: Vec<KnownChannel>,
    /// Whether the message has no other channels.
    pub is_complete: bool,
}

/// A channel that follows from the settings of its bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownChannel {
    /// The name, or a JSON pointer if the channel is not at the top level.
    pub name: String,
    /// The type of its values.
    pub data_type: AttributeType,
    /// Whether only some messages have it, such as those of a computer with the hardware.
    pub is_optional: bool,
}

/// A message that a bus with topics received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedMessage {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What is known about one attribute of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Produced {
    /// The type of its values, if the configuration fixes it.
    pub data_type: Option<AttributeType>,
    /// The likely type of its values, if the configuration does not fix it.
    pub likely_type: Option<AttributeType>,
    /// Whether the device and the attribute are certain. Otherwise a message may name them.
    pub is_certain: bool,
}

/// The attributes of one device.
pub type DeviceProduction = BTreeMap<AttributeName, Produced>;

/// The attributes that a configuration can produce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Production {
    /// The attributes of the configured devices.
    pub devices: BTreeMap<DeviceId, DeviceProduction>,
    /// The attributes of devices that a sensor names and the configuration lacks: by sensor, then
    /// by the name in the message.
    pub unknown_devices: BTreeMap<Name, BTreeMap<String, DeviceProduction>>,
    /// The sensors some of whose devices or attributes only messages name.
    pub undetermined: BTreeSet<Name>,
}

impl Production {
    /// Returns what follows from the settings of all buses.
    pub fn of(buses: &[BusSensors<'_>], devices: &BTreeMap<Name, DeviceId>) -> Self {
        let mut production = Self::default();
        for (index, bus) in buses.iter().enumerate() {
            let named = namable_devices(buses, index, devices);
            for sensor in bus.sensors {
                expected::add_sensor(&mut production, sensor, bus, devices, &named);
            }
        }
        production
    }

    /// Adds what these messages produce. `sensors` are those of the bus that received them.
    pub fn add_messages<'a>(
        &mut self,
        sensors: &[Sensor],
        devices: &BTreeMap<Name, DeviceId>,
        messages: impl IntoIterator<Item = &'a RecordedMessage>,
    ) {
        recorded::add_messages(self, sensors, devices, messages);
    }

    /// Adds an attribute.
    pub fn add(&mut self, device: DeviceId, attribute: AttributeName, produced: Produced) {
        let known = self.devices.entry(device).or_default();
        known.entry(attribute).and_modify(|known| known.merge(produced)).or_insert(produced);
    }

    /// Returns the attributes whose devices and names are certain, with their types where the
    /// configuration fixes them.
    pub fn certain(&self) -> BTreeMap<DeviceId, ProducedAttributes> {
        let certain = |attributes: &DeviceProduction| -> ProducedAttributes {
            let certain = attributes.iter().filter(|(_, produced)| produced.is_certain);
            certain.map(|(name, produced)| (name.clone(), produced.data_type)).collect()
        };
        let devices = self.devices.iter().map(|(device, known)| (*device, certain(known)));
        devices.filter(|(_, attributes)| !attributes.is_empty()).collect()
    }

    fn add_unknown(
        &mut self,
        sensor: &Name,
        device: &str,
        attribute: AttributeName,
        produced: Produced,
    ) {
        let devices = self.unknown_devices.entry(sensor.clone()).or_default();
        let known = devices.entry(device.to_owned()).or_default();
        known.entry(attribute).and_modify(|known| known.merge(produced)).or_insert(produced);
    }
}

impl Produced {
    /// Returns an attribute that the configuration names, with a fixed type if there is one.
    pub fn certain(data_type: Option<AttributeType>) -> Self {
        Self { data_type, likely_type: None, is_certain: true }
    }

    /// Returns the type to declare; a number if nothing is known.
    pub fn suggested_type(&self) -> AttributeType {
        self.data_type.or(self.likely_type).unwrap_or(AttributeType::Number)
    }

    fn merge(&mut self, other: Self) {
        self.likely_type = match (self.likely_type, other.likely_type) {
            // An instrument without a value sends a text, such as "ERR", in place of a number.
            (Some(AttributeType::Text), Some(other)) => Some(other),
            (own, other) => own.or(other),
        };
        self.data_type = match (self.data_type, other.data_type) {
            (Some(own), Some(other)) if own != other => {
                self.likely_type = self.likely_type.or(Some(own));
                None
            }
            (own, other) => own.or(other),
        };
        self.is_certain |= other.is_certain;
    }
}

/// Returns the devices that a template of this bus may name.
///
/// A device that is the fixed device of sensors on other buses only is not among them, nor is the
/// gateway.
fn namable_devices(
    buses: &[BusSensors<'_>],
    own: usize,
    devices: &BTreeMap<Name, DeviceId>,
) -> BTreeMap<Name, DeviceId> {
    let fixed = |bus: &BusSensors<'_>| -> BTreeSet<DeviceId> {
        let fixed = bus.sensors.iter().filter_map(|sensor| match &sensor.device {
            DeviceSelector::Fixed(device) => Some(*device),
            DeviceSelector::ByTemplate(_) => None,
        });
        fixed.collect()
    };
    let here = buses.get(own).map(fixed).unwrap_or_default();
    let others = buses.iter().enumerate().filter(|(index, _)| *index != own);
    let elsewhere: BTreeSet<_> = others.flat_map(|(_, bus)| fixed(bus)).collect();
    let is_namable = |name: &Name, device: &DeviceId| {
        **name != *GATEWAY && (here.contains(device) || !elsewhere.contains(device))
    };
    let namable = devices.iter().filter(|(name, device)| is_namable(name, device));
    namable.map(|(name, device)| (name.clone(), *device)).collect()
}

#[cfg(test)]
mod tests;
