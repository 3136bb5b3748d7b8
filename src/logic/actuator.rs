//! From a command to a write: which actuator takes it, and what goes out on its bus.
//!
//! A command comes from the cloud and its payload may be anything, so whatever is rendered from it is checked before it
//! reaches a wire.

use std::collections::BTreeMap;

use serde::Serialize;

use super::excerpt::excerpt;
use super::template::{Template, TemplateError};
use super::topic::{TopicError, check_topic};
use crate::model::{Command, DeviceId, Name, Timestamp, Write};

/// The longest serial write, in bytes: 4 s at 9600 baud, and small boards buffer far less.
const SERIAL_BYTES_MAX: usize = 4 * 1024;

/// The longest MQTT payload, in bytes: 256 KiB, far below MQTT's own 256 MB and above any command.
const MQTT_BYTES_MAX: usize = 256 * 1024;

/// What one command of one device does.
#[derive(Debug, Clone)]
pub struct Actuator {
    /// The name that the configuration gives it.
    pub name: Name,
    /// Whose commands it takes.
    pub device: DeviceId,
    /// Which command, by its exact name.
    pub command: String,
    /// The bus that it writes to.
    pub bus: Name,
    /// What it writes.
    pub write: WriteTemplate,
}

/// A [`Write`] with holes. Templates see `payload`, `name`, `time` (a text, or none) and `device` (its id).
#[derive(Debug, Clone)]
pub enum WriteTemplate {
    /// A line for a serial bus, its delimiter included.
    Serial {
        /// The line.
        text: Template,
    },
    /// A message for an MQTT bus.
    Mqtt {
        /// Where to.
        topic: Template,
        /// What.
        payload: Template,
        /// 0 or 1.
        qos: u8,
        /// Whether the broker keeps it for later subscribers.
        retain: bool,
    },
}

/// Why a command cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The command lacks what the template needs.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A text of the command could end the serial line and begin another.
    #[error(
        "the command holds a control character, in \"{excerpt}\"; texts for a serial line must be \
         without line ends and the like"
    )]
    ControlCharacter {
        /// How that text begins.
        excerpt: String,
    },
    /// The rendered topic cannot be published to.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// A text of the command would lead to another place in the tree of topics.
    #[error(
        "the topic \"{topic}\" has more or fewer levels than its template; texts of a command must not hold a /"
    )]
    TopicLevels {
        /// How that topic begins.
        topic: String,
    },
    /// The template rendered nothing for a serial line.
    #[error("the template yields no bytes to write")]
    Empty,
    /// More than the bus should carry.
    #[error("the write has {bytes} bytes; {bytes_max} is the limit on this kind of bus")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl Actuator {
    /// What this command writes.
    ///
    /// # Errors
    /// When the command does not fit the template, or could do harm on the bus. Do not retry: it stays so.
    pub fn write_for(&self, command: &Command) -> Result<Write, WriteError> {
        let context = Context {
            payload: &command.payload,
            name: &command.name,
            time: command.time,
            device: command.device.to_string(),
        };
        match &self.write {
            WriteTemplate::Serial { text } => {
                check_texts(command)?;
                let bytes = bounded(text.render(&context)?, SERIAL_BYTES_MAX)?;
                if bytes.is_empty() {
                    Err(WriteError::Empty)
                } else {
                    Ok(Write::Serial { bytes: bytes.into() })
                }
            }
            WriteTemplate::Mqtt { topic, payload, qos, retain } => {
                let written = topic.render(&context)?;
                check_topic(&written)?;
                check_levels(topic, &written)?;
                let topic = written;
                let payload = bounded(payload.render(&context)?, MQTT_BYTES_MAX)?.into();
                Ok(Write::Mqtt { topic, payload, qos: *qos, retain: *retain })
            }
        }
    }
}

/// Finds the actuator of a command.
#[derive(Debug, Clone, Default)]
pub struct Router(BTreeMap<DeviceId, BTreeMap<String, Actuator>>);

impl Router {
    /// A router over `actuators`, of which no two share device and command; the configuration sees to that.
    pub fn new(actuators: Vec<Actuator>) -> Self {
        let mut routes: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for actuator in actuators {
            routes.entry(actuator.device).or_default().insert(actuator.command.clone(), actuator);
        }
        Self(routes)
    }

    /// The actuator for `command` of `device`, if there is one.
    pub fn find(&self, device: DeviceId, command: &str) -> Option<&Actuator> {
        self.0.get(&device)?.get(command)
    }
}

/// What a template of an actuator sees.
#[derive(Serialize)]
struct Context<'a> {
    payload: &'a serde_json::Value,
    name: &'a str,
    time: Option<Timestamp>,
    device: String,
}

fn bounded(text: String, bytes_max: usize) -> Result<String, WriteError> {
    let bytes = text.len();
    if bytes <= bytes_max { Ok(text) } else { Err(WriteError::TooLong { bytes, bytes_max }) }
}

/// Refuses a topic whose levels are not those that its owner wrote: a text with a `/` in it must not choose another branch.
fn check_levels(template: &Template, topic: &str) -> Result<(), WriteError> {
    let text = template.to_string();
    let outside = text.split("{{").enumerate().map(|(index, piece)| match index {
        0 => piece,
        _ => piece.split_once("}}").map_or("", |(_, outside)| outside),
    });
    let levels: usize = outside.map(|piece| piece.matches('/').count()).sum();
    if levels == topic.matches('/').count() {
        Ok(())
    } else {
        Err(WriteError::TopicLevels { topic: excerpt(topic.as_bytes()) })
    }
}

/// Refuses a command with a control character in any text of it, whether the template uses that text or not. The
/// template's own control characters, such as the line end, are the owner's and stay.
fn check_texts(command: &Command) -> Result<(), WriteError> {
    match find_control(&command.payload).or_else(|| has_control(&command.name)) {
        Some(text) => Err(WriteError::ControlCharacter { excerpt: excerpt(text.as_bytes()) }),
        None => Ok(()),
    }
}

/// The first text, keys included, that holds a control character. Its recursion ends where JSON's own does, at depth 128.
fn find_control(json: &serde_json::Value) -> Option<&str> {
    match json {
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => None,
        serde_json::Value::String(text) => has_control(text),
        serde_json::Value::Array(items) => items.iter().find_map(find_control),
        serde_json::Value::Object(fields) => {
            fields.iter().find_map(|(key, value)| has_control(key).or_else(|| find_control(value)))
        }
    }
}

fn has_control(text: &str) -> Option<&str> {
    text.contains(char::is_control).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_becomes_a_line() {
        let pump = serial("SET {{ payload.speed }} {{ name }} {{ device }} {{ time }}\n");
        assert_eq!(
            pump.write_for(&command(json!({"speed": 3}))),
            Ok(Write::Serial {
                bytes: "SET 3 setSpeed 010101010101010101010101 1970-01-01T00:00:00.000Z\n".into()
            })
        );
    }

    #[test]
    fn a_command_becomes_a_message() {
        let lamp = mqtt("house/{{ payload.room }}/set", r#"{"on": {{ payload.on }}}"#);
        assert_eq!(
            lamp.write_for(&command(json!({"room": "hall", "on": true}))),
            Ok(Write::Mqtt {
                topic: "house/hall/set".to_owned(),
                payload: r#"{"on": true}"#.into(),
                qos: 1,
                retain: false,
            })
        );
    }

    #[test]
    fn a_command_cannot_smuggle_a_second_line() {
        let pump = serial("SAY {{ payload | tojson }}\n");
        for payload in [
            json!({"text": "hi\nSTOP"}),
            json!({"text": ["hi\r"]}),
            json!({"a\nb": 1}),
            json!("\u{7f}"),
            json!("\u{85}"),
        ] {
            let error = pump.write_for(&command(payload.clone())).unwrap_err();
            assert!(matches!(error, WriteError::ControlCharacter { .. }), "{payload}: {error}");
        }
        let named = Command { name: "say\nSTOP".to_owned(), ..command(json!(1)) };
        assert!(pump.write_for(&named).is_err());
        assert!(pump.write_for(&command(json!({"text": "grün"}))).is_ok());
    }

    #[test]
    fn a_command_cannot_reach_a_topic_that_is_none() {
        let lamp = mqtt("{{ payload.topic }}", "x");
        for topic in ["", "house/#", "house/+", "a\nb"] {
            let error = lamp.write_for(&command(json!({"topic": topic}))).unwrap_err();
            assert!(matches!(error, WriteError::Topic(_)), "{topic:?}: {error}");
        }
    }

    #[test]
    fn a_command_cannot_climb_to_another_branch_of_topics() {
        let lamp = mqtt("house/{{ payload.room }}/set", "x");
        for room in ["a/b", "/", "../hall"] {
            let error = lamp.write_for(&command(json!({"room": room}))).unwrap_err();
            assert!(matches!(error, WriteError::TopicLevels { .. }), "{room:?}: {error}");
        }
        let divided = mqtt("house/{{ (payload.room / 2) | int }}/set", "x");
        assert!(divided.write_for(&command(json!({"room": 4}))).is_ok());
    }

    #[test]
    fn a_command_without_what_the_template_needs_is_refused() {
        let error =
            serial("SET {{ payload.speed }}\n").write_for(&command(json!(null))).unwrap_err();
        assert!(error.to_string().contains("`payload.speed`"), "{error}");
    }

    #[test]
    fn writes_are_bounded() {
        let long = command(json!("x".repeat(SERIAL_BYTES_MAX)));
        assert!(serial("{{ payload }}").write_for(&long).is_ok());
        assert_eq!(
            serial("{{ payload }}\n").write_for(&long),
            Err(WriteError::TooLong { bytes: SERIAL_BYTES_MAX + 1, bytes_max: SERIAL_BYTES_MAX })
        );
        assert_eq!(serial("{{ payload }}").write_for(&command(json!(""))), Err(WriteError::Empty));
        assert!(
            mqtt("a", "{{ payload }}")
                .write_for(&command(json!("x".repeat(MQTT_BYTES_MAX))))
                .is_ok()
        );
        let longer = command(json!("x".repeat(MQTT_BYTES_MAX + 1)));
        assert!(mqtt("a", "{{ payload }}").write_for(&longer).is_err());
    }

    #[test]
    fn a_command_finds_its_actuator_by_device_and_name() {
        let router = Router::new(vec![serial("x")]);
        let name =
            |device, command| router.find(device, command).map(|found| found.name.to_string());
        assert_eq!(name(device(1), "setSpeed").as_deref(), Some("pump"));
        assert_eq!(name(device(1), "setspeed"), None);
        assert_eq!(name(device(2), "setSpeed"), None);
    }

    fn serial(text: &str) -> Actuator {
        actuator(WriteTemplate::Serial { text: template(text) })
    }

    fn mqtt(topic: &str, payload: &str) -> Actuator {
        let (topic, payload) = (template(topic), template(payload));
        actuator(WriteTemplate::Mqtt { topic, payload, qos: 1, retain: false })
    }

    fn actuator(write: WriteTemplate) -> Actuator {
        let command = "setSpeed".to_owned();
        let (name, bus) = ("pump".parse().unwrap(), "boiler".parse().unwrap());
        Actuator { name, device: device(1), command, bus, write }
    }

    fn template(text: &str) -> Template {
        Template::compile("actuator.pump", text).unwrap()
    }

    fn command(payload: serde_json::Value) -> Command {
        let time = Some(Timestamp::from_millis(0));
        Command { device: device(1), name: "setSpeed".to_owned(), time, payload }
    }

    fn device(number: u8) -> DeviceId {
        DeviceId::from([number; 12])
    }
}
