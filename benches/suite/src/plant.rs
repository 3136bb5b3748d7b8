//! A plant: sensors and their messages, mapped to states without a broker.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use tidegate_ingest::decode::Json;
use tidegate_ingest::mapping::{DeviceSelector, Mapping, Pipeline, Sensor};
use tidegate_model::{BusMessage, DeviceId, Name, State, WallTime};
use tidegate_template::Template;
use tidegate_timing::machine::Machine as _;
use tokio::time::Instant;

use crate::generator::payload;

/// The channels of a message that become attributes.
const CHANNELS: [&str; 6] = ["seq", "temperature", "humidity", "pressure", "battery", "status"];

/// The time of the first message: 1 May 2026.
const START_MILLIS: i64 = 1_777_629_600_000;

/// The time between two messages.
const INTERVAL: Duration = Duration::from_millis(1);

/// A pipeline, and the messages that it receives in turn.
pub(crate) struct Plant {
    pipeline: Pipeline,
    messages: Vec<BusMessage>,
    next: usize,
    now: std::time::Instant,
}

impl Plant {
    /// One sensor, which finds the device of each message by a template and an alias.
    pub(crate) fn with_devices(devices: u64) -> anyhow::Result<Self> {
        let (mut ids, mut aliases, mut messages) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for number in 0..devices {
            let name: Name = format!("s{number:02}").parse()?;
            ids.insert(name.clone(), device(number));
            aliases.insert(format!("s-{number:02}"), name);
            messages.push(message(number)?);
        }
        let template = Template::compile("sensor.all.device", "{{ payload.dev }}")?;
        let mut sensor = sensor("all", "plant/+/reading", DeviceSelector::ByTemplate(template))?;
        sensor.aliases = aliases;
        Ok(Self::new(vec![sensor], ids, messages))
    }

    /// So many sensors, each with a topic and a device of its own.
    pub(crate) fn with_sensors(sensors: u64) -> anyhow::Result<Self> {
        let (mut list, mut messages) = (Vec::new(), Vec::new());
        for number in 0..sensors {
            let topic = format!("plant/s-{number:02}/reading");
            let device = DeviceSelector::Fixed(device(number));
            list.push(sensor(&format!("s{number}"), &topic, device)?);
            messages.push(message(number)?);
        }
        Ok(Self::new(list, BTreeMap::new(), messages))
    }

    fn new(
        sensors: Vec<Sensor>,
        devices: BTreeMap<Name, DeviceId>,
        messages: Vec<BusMessage>,
    ) -> Self {
        let now = Instant::now().into_std();
        let mut pipeline = Pipeline::new(sensors, devices);
        pipeline.handle_start(WallTime::from_millis(START_MILLIS).into(), now);
        Self { pipeline, messages, next: 0, now }
    }

    /// Decodes and maps so many messages, as the collector does. Returns the last state.
    pub(crate) fn run(&mut self, count: u64) -> Option<State> {
        let mut last = None;
        for _ in 0..count {
            let message = self.messages.get(self.next)?;
            self.next = (self.next + 1) % self.messages.len();
            self.now += INTERVAL;
            if self.pipeline.poll_timeout().is_some_and(|due| due <= self.now) {
                self.pipeline.handle_timeout(self.now);
            }
            self.pipeline.handle_message(message, self.now);
            while let Some(mut output) = black_box(self.pipeline.poll_action()) {
                last = output.states.pop().map(|outgoing| outgoing.state);
            }
        }
        last
    }
}

/// Returns the id of a device.
pub(crate) fn device(number: u64) -> DeviceId {
    let mut id = [0; 12];
    for (byte, digit) in id.iter_mut().zip(number.to_be_bytes()) {
        *byte = digit;
    }
    DeviceId::from(id)
}

fn sensor(name: &str, topic: &str, device: DeviceSelector) -> anyhow::Result<Sensor> {
    let mut map = Vec::new();
    for channel in CHANNELS {
        map.push(Mapping::of_channel(channel, channel.parse()?));
    }
    let format = Json::default().into();
    Ok(Sensor::new(name.parse()?, Some(topic.parse()?), format, device, map))
}

fn message(number: u64) -> anyhow::Result<BusMessage> {
    Ok(BusMessage {
        bus: "plant".parse()?,
        time: WallTime::from_millis(START_MILLIS).into(),
        topic: format!("plant/s-{number:02}/reading"),
        payload: Bytes::from(payload(number, number)),
        origin: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_becomes_a_state_of_six_values() {
        for mut plant in [Plant::with_devices(3).unwrap(), Plant::with_sensors(3).unwrap()] {
            assert_eq!(plant.run(7).unwrap().data.len(), 6);
        }
    }
}
