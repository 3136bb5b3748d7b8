//! From a reading to states: which device, which attribute, which value, and whether it is worth sending.
//!
//! Nothing vanishes here: each value ends in a state or is counted with a [`Reason`], and a message from which no value
//! comes counts as one. What a mapping remembers is in its `gauge`; time is an argument.

mod attribute_filter;
mod conversion;
mod draft;
mod mismatch;
mod moment;
mod rebirth;
mod settings;
mod stale;
mod window;

use std::collections::BTreeMap;
use std::time::Instant;

use minijinja::value::merge_maps;

pub use attribute_filter::{Deadband, Flow};
pub use conversion::Conversion;
pub use draft::{Mapped, Outgoing};
pub use mismatch::{AttributeType, Mismatch, Produced, mismatches, produced};
pub use moment::{TimeNotation, TimeSource};
pub use settings::{AttributeSelector, DeviceSelector, Mapping, Sensor, Source};
pub use stale::StaleSettings;
pub use window::{Aggregate, WindowSettings};

use self::attribute_filter::{AttributeFilter, Outcome};
use self::conversion::numeric;
use self::draft::Draft;
use self::rebirth::Asked;
use self::settings::Contexts;
use self::stale::Silence;
use crate::decode::{Births, DecodeError, Decoded};
use crate::sensor_stats::SensorStats;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{
    AttributeName, DeviceId, Name, Reading, ReadingTime, Reason, Value, ValueError,
};

/// The attributes whose past is remembered. Templates can name any number; those beyond are sent as they come.
const GAUGES_MAX: usize = 1_024;

/// The channel that stands for all channels of a message.
const EVERY_CHANNEL: &str = "*";

/// The sensors of one bus and the devices that templates may name, with what they remember.
#[derive(Debug)]
pub struct Pipeline {
    sensors: Vec<Sensor>,
    devices: BTreeMap<Name, DeviceId>,
    gauges: BTreeMap<GaugeKey, AttributeFilter>,
    silences: Vec<Silence>,
    stats: Vec<SensorStats>,
    births: Births,
    asked: Asked,
}

/// One attribute: sensor and mapping by their index, device and name.
type GaugeKey = (usize, usize, DeviceId, AttributeName);

/// Why a value goes nowhere: for the count and for the log.
type Rejection = (Reason, String);

/// One message of a sensor on its way to states.
struct Message<'a> {
    sensor_index: usize,
    sensor: &'a Sensor,
    decoded: &'a Decoded,
    contexts: Contexts,
    /// When it was measured.
    time: ReadingTime,
    /// When it came.
    arrival: ReadingTime,
    now: Instant,
}

impl Pipeline {
    /// A plan for the bus with these sensors; where two give the same attribute of a device, the later one wins.
    pub fn new(sensors: Vec<Sensor>, devices: BTreeMap<Name, DeviceId>) -> Self {
        let silences = sensors.iter().map(|_| Silence::default()).collect();
        let stats = vec![SensorStats::default(); sensors.len()];
        let (gauges, births, asked) = (BTreeMap::new(), Births::default(), Asked::default());
        Self { sensors, devices, gauges, silences, stats, births, asked }
    }

    /// Its sensors.
    pub fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    /// What each of its sensors said lately.
    pub fn stats(&self) -> impl Iterator<Item = (&Name, SensorStats)> {
        let silences = self.sensors.iter().zip(&self.silences);
        silences.zip(&self.stats).map(|((sensor, silence), stats)| {
            let is_stale = sensor.stale.as_ref().map(|_| silence.is_stale());
            (&sensor.name, SensorStats { is_stale, ..stats.clone() })
        })
    }

    /// A state that this sensor began will be a payload of its own.
    pub fn count_payload(&mut self, sensor: usize) {
        if let Some(stats) = self.stats.get_mut(sensor) {
            stats.payloads += 1;
        }
    }

    /// Begins to wait for the sensors whose silence is to be told.
    pub fn start(&mut self, time: ReadingTime, now: Instant) {
        for (sensor, silence) in self.sensors.iter().zip(&mut self.silences) {
            if let (DeviceSelector::Fixed(device), Some(_)) = (&sensor.device, &sensor.stale) {
                silence.expect(*device, now, time);
            }
        }
    }

    /// The connection was lost, and with it perhaps a message: births that were heard may not be the last ones.
    pub fn disconnected(&mut self) {
        self.births.clear();
        self.asked = Asked::default();
    }

    /// Maps one reading, which came at `now`.
    pub fn map(&mut self, reading: &Reading, now: Instant) -> Mapped {
        // The sensors are taken out while what they remember changes.
        let sensors = std::mem::take(&mut self.sensors);
        let mapped = self.map_with(&sensors, reading, now);
        self.sensors = sensors;
        mapped
    }

    fn map_with(&mut self, sensors: &[Sensor], reading: &Reading, now: Instant) -> Mapped {
        let mut draft = Draft::default();
        let (mut undecoded, mut unmapped) = (Vec::new(), Vec::new());
        let mut is_read = false;
        let readers = sensors.iter().enumerate().filter(|(_, one)| one.reads(&reading.topic));
        for (index, sensor) in readers {
            is_read = true;
            if sensor.ignores(&reading.payload) {
                continue;
            }
            match sensor.format.decode(&reading.topic, &reading.payload, &mut self.births) {
                Ok(messages) => {
                    for (number, decoded) in messages.into_iter().enumerate() {
                        draft.begin(number);
                        draft.speak_for(index, sensor.priority);
                        if !self.take(reading, (index, sensor, &decoded), now, &mut draft) {
                            unmapped.push((index, sensor, decoded));
                        }
                    }
                }
                Err(error) => {
                    let is_no_birth = matches!(error, DecodeError::NoBirth { .. });
                    if is_no_birth && sensor.format.requests_births() {
                        draft.request(self.asked.ask(&reading.topic, reading.time.wall(), now));
                    }
                    undecoded.push((index, error));
                }
            }
        }
        if !draft.is_empty() {
            return draft.finish();
        }
        // The whole message counts as one, and what the sensors made of it explains why.
        if !unmapped.is_empty() {
            let mut misses = Vec::new();
            for (index, sensor, message) in unmapped {
                let miss = sensor.describe_miss(&message);
                self.fail(index, &miss, now);
                misses.push(miss);
            }
            draft.reject(Reason::NoChannel, misses);
        } else if let Some((_, error)) = undecoded.first() {
            let reason = error.reason();
            for (index, error) in &undecoded {
                self.fail(*index, &error.to_string(), now);
            }
            let details = undecoded.iter().filter_map(|(index, error)| {
                Some(format!("sensor {}: {error}", sensors.get(*index)?.name))
            });
            draft.reject(reason, details);
        } else if is_read {
            draft.reject(Reason::Ignored, []);
        } else {
            let topic = excerpt(reading.topic.as_bytes());
            let detail = format!("bus {}: no sensor reads topic \"{topic}\"", reading.bus);
            draft.reject(Reason::NoSensor, [detail]);
        }
        draft.finish()
    }

    /// Takes the mapped channels out of a message; false if it has none of them.
    fn take(
        &mut self,
        reading: &Reading,
        (sensor_index, sensor, decoded): (usize, &Sensor, &Decoded),
        now: Instant,
        draft: &mut Draft,
    ) -> bool {
        let time = match sensor.measured_at(decoded, reading.time) {
            Ok(time) => time,
            Err((reason, why)) => {
                self.fail(sensor_index, &why, now);
                draft.reject(reason, [format!("sensor {}: {why}", sensor.name)]);
                return true;
            }
        };
        let contexts = sensor.contexts(&reading.topic, decoded);
        let arrival = reading.time;
        let message = Message { sensor_index, sensor, decoded, contexts, time, arrival, now };
        let mut found = false;
        for (index, mapping) in sensor.map.iter().enumerate() {
            for (channel, value) in message.values(mapping) {
                found = true;
                let value = (channel.as_str(), value);
                if let Err((reason, why)) = self.place(&message, (index, mapping), value, draft) {
                    self.fail(sensor_index, &why, now);
                    let channel = excerpt(channel.as_bytes());
                    draft.reject(
                        reason,
                        [format!("sensor {}, channel {channel}: {why}", sensor.name)],
                    );
                }
            }
        }
        if found && let Some(stats) = self.stats.get_mut(sensor_index) {
            stats.record_message(now);
        }
        found
    }

    fn fail(&mut self, sensor_index: usize, why: &str, now: Instant) {
        if let Some(stats) = self.stats.get_mut(sensor_index) {
            stats.record_error(why, now);
        }
    }

    /// Puts one value into the draft, or counts what became of it.
    fn place(
        &mut self,
        message: &Message<'_>,
        (index, mapping): (usize, &Mapping),
        (channel, value): (&str, Result<Value, Rejection>),
        draft: &mut Draft,
    ) -> Result<(), Rejection> {
        let Message { sensor, time, arrival, now, .. } = *message;
        let word = match mapping.source {
            Source::Channel(_) => message.decoded.original_texts().get(channel).map(String::as_str),
            Source::Expression(_) => None,
        };
        let value = mapping.conversion.apply(value, word)?;
        let value = if mapping.flow.wants_number() { numeric(value) } else { value };
        let context = if mapping.attribute.is_fixed() && sensor.device.is_fixed() {
            minijinja::Value::UNDEFINED
        } else {
            merge_maps([message.contexts.named.clone(), minijinja::context! { channel }])
        };
        let device = sensor.device.resolve(&context, &sensor.aliases, &self.devices)?;
        let attribute = mapping.attribute.resolve(&context)?;
        if let Some(stats) = self.stats.get_mut(message.sensor_index) {
            stats.record_value(&attribute, &value);
        }
        if let Some(stale) = &sensor.stale
            && let Some(silence) = self.silences.get_mut(message.sensor_index)
            && silence.hear(device, now, arrival)
        {
            // What it measured before it fell silent may come only now, and would not show that it is back.
            draft.make(device, stale.state(arrival, true));
        }
        if mapping.flow.is_plain() {
            draft.put(device, time, attribute, mapping.flow.round(value));
            return Ok(());
        }
        let key = (message.sensor_index, index, device, attribute);
        if !self.gauges.contains_key(&key) && self.gauges.len() >= GAUGES_MAX {
            draft.put(device, time, key.3, mapping.flow.round(value));
            return Ok(());
        }
        let attribute = key.3.clone();
        let gauge = self.gauges.entry(key).or_default();
        // What was due before this value came is made first.
        if let Some((time, value)) = gauge.handle_timeout(&mapping.flow, now) {
            draft.make_value(device, time, attribute.clone(), value);
        }
        match gauge.take(&mapping.flow, value, time, now)? {
            Outcome::Send(value) => draft.put(device, time, attribute, value),
            Outcome::Filtered(reason) => draft.filter_out(reason),
        }
        Ok(())
    }

    /// When [`Pipeline::handle_timeout`] has something to do next, seen from `now`.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let gauges = self.gauges.iter().filter_map(|((sensor, mapping, ..), gauge)| {
            gauge.poll_timeout(&self.sensors.get(*sensor)?.map.get(*mapping)?.flow, now)
        });
        let sensors = self.sensors.iter().zip(&self.silences);
        let silences =
            sensors.filter_map(|(sensor, silence)| silence.poll_timeout(sensor.stale.as_ref()?));
        gauges.chain(silences).min()
    }

    /// What is due at `now`: windows that end, changes that have lasted, sensors that are silent.
    pub fn handle_timeout(&mut self, now: Instant) -> Mapped {
        let mut draft = Draft::default();
        self.make(&mut draft, |gauge, flow| gauge.handle_timeout(flow, now));
        for (index, (sensor, silence)) in self.sensors.iter().zip(&mut self.silences).enumerate() {
            let Some(stale) = &sensor.stale else { continue };
            draft.speak_for(index, sensor.priority);
            for (device, state) in silence.handle_timeout(stale, now) {
                draft.make(device, state);
            }
        }
        draft.finish()
    }

    /// What is open at a stop: windows end early, and what waits for its interval waits no longer.
    pub fn finish(&mut self) -> Mapped {
        let mut draft = Draft::default();
        self.make(&mut draft, AttributeFilter::finish);
        draft.finish()
    }

    fn make(
        &mut self,
        draft: &mut Draft,
        mut due: impl FnMut(&mut AttributeFilter, &Flow) -> Option<(ReadingTime, Value)>,
    ) {
        for ((index, mapping, device, attribute), gauge) in &mut self.gauges {
            let Some(sensor) = self.sensors.get(*index) else { continue };
            let Some(mapping) = sensor.map.get(*mapping) else { continue };
            draft.speak_for(*index, sensor.priority);
            if let Some((time, value)) = due(gauge, &mapping.flow) {
                draft.make_value(*device, time, attribute.clone(), value);
            }
        }
    }
}

impl Message<'_> {
    /// The channels that a mapping takes from this message, each with its value.
    fn values(&self, mapping: &Mapping) -> Vec<(String, Result<Value, Rejection>)> {
        let channel = |name: &str| {
            let value = self.decoded.channel(name)?.map_err(reject_value);
            Some((name.to_owned(), value))
        };
        match &mapping.source {
            Source::Channel(name) if name == EVERY_CHANNEL => {
                let names = self.decoded.names().into_iter();
                names.filter(|name| !self.sensor.maps(name)).filter_map(channel).collect()
            }
            Source::Channel(name) => channel(name).into_iter().collect(),
            Source::Expression(expression) => {
                let value = expression.evaluate(&self.contexts.computed).transpose();
                let reject = |error: tidegate_template::ExpressionError| {
                    (Reason::BadExpression, error.to_string())
                };
                value
                    .map(|value| (expression.to_string(), value.map_err(reject)))
                    .into_iter()
                    .collect()
            }
        }
    }
}

fn reject_value(error: ValueError) -> Rejection {
    let reason = match error {
        ValueError::NotFinite => Reason::NotFinite,
        ValueError::TextTooLong => Reason::TooLong,
        ValueError::NotScalar => Reason::NotScalar,
    };
    (reason, error.to_string())
}

#[cfg(test)]
mod tests;
