//! From a reading to states: which device, which attribute, which value.
//!
//! Nothing vanishes here: each value ends in a state or is counted with a [`Reason`], and a message from which no value
//! comes counts as one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::decode::{DecodeError, Decoded, Format, decode};
use super::excerpt::excerpt;
use super::template::Template;
use super::topic::TopicFilter;
use crate::model::{AttributeName, DeviceId, Name, Reading, Reason, State, Value, ValueError};

/// How many rejections of one reading are explained.
const DETAILS_MAX: usize = 8;

/// How many channels of a message are listed where none of them is mapped.
const NAMES_MAX: usize = 8;

/// One kind of message on a bus, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Sensor {
    /// The name that the configuration gives it.
    pub name: Name,
    /// The topics that it reads; `None` reads every message of the bus.
    pub topic: Option<TopicFilter>,
    /// How its messages are written.
    pub format: Format,
    /// Whose values they are.
    pub device: DeviceSelector,
    /// Whether retained messages are taken; the bus decides that, not this module.
    pub retained: bool,
    /// Which channels become which attributes.
    pub map: Vec<Mapping>,
}

/// Whose values a sensor's are.
#[derive(Debug, Clone)]
pub enum DeviceSelector {
    /// Always this device's.
    Fixed(DeviceId),
    /// The device of the *name* that the template yields from `topic` (a list of its levels) and `channel`.
    ByTemplate(Template),
}

/// One channel of a sensor and the attribute that it becomes.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The channel, as its [`Format`] calls it.
    pub channel: String,
    /// The attribute.
    pub attribute: AttributeSelector,
    /// A factor for numbers; 1 with an offset of 0 leaves any value as it is.
    pub scale: f64,
    /// What is added after scaling.
    pub offset: f64,
}

/// Which attribute a channel becomes.
#[derive(Debug, Clone)]
pub enum AttributeSelector {
    /// Always this one.
    Fixed(AttributeName),
    /// The name that the template yields from `topic` (a list of its levels) and `channel`.
    ByTemplate(Template),
}

/// The sensors of one bus and the devices that templates may name.
#[derive(Debug, Clone)]
pub struct Plan {
    sensors: Vec<Sensor>,
    devices: BTreeMap<Name, DeviceId>,
}

/// What became of one reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapped {
    /// At most one state for each device, with the time of the reading.
    pub states: Vec<(DeviceId, State)>,
    /// What could not be sent, by the reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// One line for a log for each rejection: sensor, channel, why. The first eight of a reading.
    pub details: Vec<String>,
}

impl Plan {
    /// A plan for the bus with these sensors; where two give the same attribute of a device, the later one wins.
    pub fn new(sensors: Vec<Sensor>, devices: BTreeMap<Name, DeviceId>) -> Self {
        Self { sensors, devices }
    }

    /// Maps one reading.
    pub fn map(&self, reading: &Reading) -> Mapped {
        let topic: Vec<&str> = reading.topic.split('/').collect();
        let mut draft = Draft::default();
        let (mut undecoded, mut unmapped) = (Vec::new(), Vec::new());
        for sensor in self.sensors.iter().filter(|sensor| sensor.reads(&reading.topic)) {
            match decode(&sensor.format, &reading.payload) {
                Ok(message) if self.take(sensor, &message, &topic, &mut draft) => {}
                Ok(message) => unmapped.push((sensor, message)),
                Err(error) => undecoded.push((sensor, error)),
            }
        }
        if !draft.is_empty() {
            return draft.finish(reading);
        }
        // The whole message counts as one, and what the sensors made of it explains why.
        if !unmapped.is_empty() {
            let misses = unmapped.iter().map(|(sensor, message)| sensor.describe_miss(message));
            draft.reject(Reason::NoChannel, misses);
        } else if !undecoded.is_empty() {
            let failure = |(sensor, error)| describe_failure(sensor, &error);
            draft.reject(Reason::Malformed, undecoded.into_iter().map(failure));
        } else {
            let topic = excerpt(reading.topic.as_bytes());
            let detail = format!("bus {}: no sensor reads topic \"{topic}\"", reading.bus);
            draft.reject(Reason::NoSensor, [detail]);
        }
        draft.finish(reading)
    }

    /// Takes the mapped channels out of a message; false if it has none of them.
    fn take(&self, sensor: &Sensor, message: &Decoded, topic: &[&str], draft: &mut Draft) -> bool {
        let mut found = false;
        for mapping in &sensor.map {
            let Some(value) = message.channel(&mapping.channel) else { continue };
            found = true;
            match self.place(sensor, mapping, value, topic) {
                Ok((device, attribute, value)) => {
                    draft.data.entry(device).or_default().insert(attribute, value);
                }
                Err((reason, why)) => {
                    let channel = excerpt(mapping.channel.as_bytes());
                    let detail = format!("sensor {}, channel {channel}: {why}", sensor.name);
                    draft.reject(reason, [detail]);
                }
            }
        }
        found
    }

    fn place(
        &self,
        sensor: &Sensor,
        mapping: &Mapping,
        value: Result<Value, ValueError>,
        topic: &[&str],
    ) -> Result<(DeviceId, AttributeName, Value), Rejection> {
        let value = mapping.scale(value.map_err(reject_value)?)?;
        let context = Context { topic, channel: &mapping.channel };
        let device = self.device(&sensor.device, &context)?;
        let attribute = mapping.attribute.resolve(&context)?;
        Ok((device, attribute, value))
    }

    fn device(&self, selector: &DeviceSelector, context: &Context) -> Result<DeviceId, Rejection> {
        let name = match selector {
            DeviceSelector::Fixed(device) => return Ok(*device),
            DeviceSelector::ByTemplate(template) => template
                .render(context)
                .map_err(|error| (Reason::UnknownDevice, error.to_string()))?,
        };
        self.devices.get(name.trim()).copied().ok_or_else(|| {
            let name = excerpt(name.trim().as_bytes());
            (Reason::UnknownDevice, format!("no device is called \"{name}\" in the configuration"))
        })
    }
}

impl Sensor {
    fn reads(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|filter| filter.matches(topic))
    }

    fn describe_miss(&self, message: &Decoded) -> String {
        let list = |names: &mut dyn Iterator<Item = &str>| {
            let quoted: Vec<_> =
                names.take(NAMES_MAX).map(|name| excerpt(name.as_bytes())).collect();
            quoted.join(", ")
        };
        let wanted = list(&mut self.map.iter().map(|mapping| mapping.channel.as_str()));
        let found = list(&mut message.names().into_iter());
        let name = &self.name;
        format!("sensor {name}: the message has none of the channels {wanted}; it has {found}")
    }
}

impl Mapping {
    fn scale(&self, value: Value) -> Result<Value, Rejection> {
        if self.is_identity() {
            return Ok(value);
        }
        let number = match value {
            #[expect(clippy::cast_precision_loss, reason = "a scaled value is a float")]
            Value::Integer(integer) => integer as f64,
            Value::Float(number) => number,
            Value::Boolean(_) | Value::Text(_) => {
                let why =
                    "only a number can be scaled; take scale and offset away, or map a number";
                return Err((Reason::Malformed, why.to_owned()));
            }
        };
        Value::float(self.multiply(number) + self.offset).map_err(reject_value)
    }

    #[expect(clippy::float_cmp, reason = "exactly the defaults leave a value as it is")]
    fn is_identity(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// Divides by 10 where it should multiply by 0.1, which is no binary fraction: 3 becomes 0.3, not 0.30000000000000004.
    fn multiply(&self, number: f64) -> f64 {
        let divisor = self.scale.recip();
        if divisor.abs() > 1.0 && divisor.fract() == 0.0 {
            number / divisor
        } else {
            number * self.scale
        }
    }
}

impl AttributeSelector {
    fn resolve(&self, context: &Context) -> Result<AttributeName, Rejection> {
        let name = match self {
            Self::Fixed(attribute) => return Ok(attribute.clone()),
            Self::ByTemplate(template) => template
                .render(context)
                .map_err(|error| (Reason::BadAttributeName, error.to_string()))?,
        };
        name.trim().parse().map_err(|_| {
            let name = excerpt(name.trim().as_bytes());
            let why = format!("\"{name}\" is no attribute name; take letters, digits, _ and -");
            (Reason::BadAttributeName, why)
        })
    }
}

fn describe_failure(sensor: &Sensor, error: &DecodeError) -> String {
    format!("sensor {}: {error}", sensor.name)
}

/// Why a value goes nowhere: for the count and for the log.
type Rejection = (Reason, String);

fn reject_value(error: ValueError) -> Rejection {
    let reason = match error {
        ValueError::NotFinite => Reason::NotFinite,
        ValueError::TextTooLong => Reason::TooLong,
        ValueError::NotScalar => Reason::NotScalar,
    };
    (reason, error.to_string())
}

/// What a template of a sensor sees.
#[derive(Serialize)]
struct Context<'a> {
    topic: &'a [&'a str],
    channel: &'a str,
}

/// A [`Mapped`] in the making.
#[derive(Default)]
struct Draft {
    data: BTreeMap<DeviceId, BTreeMap<AttributeName, Value>>,
    rejected: BTreeMap<Reason, u64>,
    details: Vec<String>,
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.rejected.is_empty()
    }

    /// Counts one rejection, with one or more lines that explain it.
    fn reject(&mut self, reason: Reason, details: impl IntoIterator<Item = String>) {
        *self.rejected.entry(reason).or_default() += 1;
        let room = DETAILS_MAX.saturating_sub(self.details.len());
        self.details.extend(details.into_iter().take(room));
    }

    fn finish(self, reading: &Reading) -> Mapped {
        let state = |(device, data)| (device, State { time: reading.time, data });
        Mapped {
            states: self.data.into_iter().map(state).collect(),
            rejected: self.rejected,
            details: self.details,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_reading_becomes_one_state_of_its_time() {
        let plan =
            plan(vec![sensor("sensors/+/climate", vec![map("t", "tempC"), map("door", "door")])]);
        let mapped = plan.map(&reading("sensors/hall/climate", "t=21.5 door=true x=1"));
        let data = [("door", Value::Boolean(true)), ("tempC", Value::Float(21.5))];
        assert_eq!(mapped, Mapped { states: vec![state(1, &data)], ..Mapped::default() });
    }

    #[test]
    fn the_topic_may_name_the_device_and_the_attribute() {
        let mut sensor = sensor("+/+/+", vec![map("t", "unused")]);
        sensor.device = DeviceSelector::ByTemplate(template("{{ topic[1] }}\n"));
        sensor.map[0].attribute =
            AttributeSelector::ByTemplate(template("{{ topic[2] }}-{{ channel }}"));
        let plan = plan(vec![sensor]);
        let states = |topic| plan.map(&reading(topic, "t=1")).states;
        assert_eq!(states("s/hall/air"), [state(1, &[("air-t", Value::Integer(1))])]);
        assert_eq!(states("s/yard/soil"), [state(2, &[("soil-t", Value::Integer(1))])]);

        let rejected = |topic| plan.map(&reading(topic, "t=1")).rejected;
        assert_eq!(rejected("s/attic/air"), [(Reason::UnknownDevice, 1)].into());
        assert_eq!(rejected("s/hall/a.b"), [(Reason::BadAttributeName, 1)].into());
    }

    #[test]
    fn a_template_that_cannot_be_filled_counts_each_value() {
        let mut sensor = sensor("#", vec![map("t", "t"), map("h", "h")]);
        sensor.device = DeviceSelector::ByTemplate(template("{{ topic[7] }}"));
        let mapped = plan(vec![sensor]).map(&reading("s/hall", "t=1 h=2"));
        assert_eq!(mapped.rejected, [(Reason::UnknownDevice, 2)].into());
        assert_eq!(mapped.states, []);
    }

    #[test]
    fn sensors_of_one_device_share_a_state_and_the_later_one_wins() {
        let plan = plan(vec![
            sensor("#", vec![map("t", "tempC"), map("h", "humidity")]),
            sensor("a/b", vec![map("u", "tempC")]),
        ]);
        let data = [("humidity", Value::Integer(40)), ("tempC", Value::Integer(22))];
        assert_eq!(plan.map(&reading("a/b", "t=21 h=40 u=22")).states, [state(1, &data)]);
    }

    #[test]
    fn a_message_without_a_value_counts_as_one_and_says_why() {
        let reason = |topic, payload| {
            let plan = plan(vec![
                sensor("a/#", vec![map("t", "t"), map("u", "u")]),
                sensor("a/#", vec![map("t", "t2")]),
            ]);
            let mapped = plan.map(&reading(topic, payload));
            assert_eq!((mapped.states.len(), mapped.details.is_empty()), (0, false));
            mapped.rejected.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(reason("b", "t=1"), [(Reason::NoSensor, 1)]);
        assert_eq!(reason("a", "noise"), [(Reason::Malformed, 1)]);
        assert_eq!(reason("a", "x=1"), [(Reason::NoChannel, 1)]);
        assert_eq!(reason("a", "t=nan"), [(Reason::NotFinite, 2)]);
    }

    #[test]
    fn a_missing_channel_is_explained_by_those_that_are_there() {
        let mapped =
            plan(vec![sensor("#", vec![map("t", "t")])]).map(&reading("a", "temp=1 hum=2"));
        let detail = "sensor climate: the message has none of the channels t; it has hum, temp";
        assert_eq!(mapped.details, [detail]);
    }

    #[test]
    fn a_bad_value_does_not_hold_back_the_others() {
        let mut sensor =
            sensor("#", vec![map("t", "t"), map("n", "n"), map("l", "l"), map("s", "s")]);
        sensor.format = Format::Json;
        let long = "x".repeat(65_537);
        let payload = format!(r#"{{"t": 1, "n": null, "l": [], "s": "{long}"}}"#);
        let mapped = plan(vec![sensor]).map(&reading("a", &payload));
        assert_eq!(mapped.states, [state(1, &[("t", Value::Integer(1))])]);
        assert_eq!(mapped.rejected, [(Reason::TooLong, 1), (Reason::NotScalar, 2)].into());
        assert_eq!(mapped.details.len(), 3);
    }

    #[test]
    fn a_sensor_that_decodes_silences_those_that_do_not() {
        let mut json = sensor("#", vec![map("t", "t")]);
        json.format = Format::Json;
        let mapped = plan(vec![json, sensor("#", vec![map("t", "t")])]).map(&reading("a", "t=1"));
        assert_eq!((mapped.states.len(), mapped.rejected.len(), mapped.details.len()), (1, 0, 0));
    }

    #[test]
    fn only_scaled_numbers_change() {
        let scaled = |scale, offset, payload| {
            let mapping = Mapping { scale, offset, ..map("t", "t") };
            let mapped = plan(vec![sensor("#", vec![mapping])]).map(&reading("a", payload));
            let value = mapped.states.first().map(|(_, state)| state.data["t"].clone());
            value.ok_or_else(|| *mapped.rejected.keys().next().unwrap())
        };
        assert_eq!(
            scaled(1.0, 0.0, "t=9007199254740993"),
            Ok(Value::Integer(9_007_199_254_740_993))
        );
        assert_eq!(scaled(0.1, 0.0, "t=3"), Ok(Value::Float(0.3)));
        assert_eq!(scaled(1.8, 32.0, "t=100"), Ok(Value::Float(212.0)));
        assert_eq!(scaled(1.0, -5.0, "t=2"), Ok(Value::Float(-3.0)));
        assert_eq!(scaled(1e300, 0.0, "t=1e300"), Err(Reason::NotFinite));
        assert_eq!(scaled(0.1, 0.0, "t=true"), Err(Reason::Malformed));
    }

    #[test]
    fn explanations_are_bounded() {
        let sensors = vec![sensor("#", vec![map("t", "t")]); 50];
        let mapped = plan(sensors).map(&reading("a", "t=inf"));
        assert_eq!(mapped.rejected, [(Reason::NotFinite, 50)].into());
        assert_eq!(mapped.details.len(), DETAILS_MAX);
    }

    fn plan(sensors: Vec<Sensor>) -> Plan {
        let devices = [("hall", device(1)), ("yard", device(2))];
        Plan::new(sensors, devices.map(|(name, id)| (name.parse().unwrap(), id)).into())
    }

    fn sensor(topic: &str, map: Vec<Mapping>) -> Sensor {
        Sensor {
            name: "climate".parse().unwrap(),
            topic: Some(topic.parse().unwrap()),
            format: Format::KeyValue,
            device: DeviceSelector::Fixed(device(1)),
            retained: false,
            map,
        }
    }

    fn map(channel: &str, attribute: &str) -> Mapping {
        let attribute = AttributeSelector::Fixed(attribute.parse().unwrap());
        Mapping { channel: channel.to_owned(), attribute, scale: 1.0, offset: 0.0 }
    }

    fn template(text: &str) -> Template {
        Template::compile("sensor.climate", text).unwrap()
    }

    fn reading(topic: &str, payload: &str) -> Reading {
        Reading {
            bus: "house".parse().unwrap(),
            time: Timestamp::from_millis(1_777_629_600_000),
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            origin: None,
        }
    }

    fn state(number: u8, data: &[(&str, Value)]) -> (DeviceId, State) {
        let data = data.iter().map(|(name, value)| (name.parse().unwrap(), value.clone()));
        let time = Timestamp::from_millis(1_777_629_600_000);
        (device(number), State { time, data: data.collect() })
    }

    fn device(number: u8) -> DeviceId {
        DeviceId::from([number; 12])
    }
}
