//! A write with holes, and the checks on what fills them.
//!
//! A command comes from the cloud and its payload may be anything, so whatever is rendered from it is checked before it
//! reaches a wire, a program or a host.

use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use tidegate_modbus::{EncodeError, Register, encode, parse_bool};
use tidegate_model::excerpt::excerpt;
use tidegate_model::topic::{TopicError, check_topic};
use tidegate_model::{
    Command, Execution, GatewayAction, GpioWrite, HttpMethod, HttpRequest, ModbusWrite, Name,
    Reply, TopicReply, Write,
};
use tidegate_template::{Template, TemplateError};

/// The longest serial write, in bytes: 4 s at 9600 baud, and small boards buffer far less.
const SERIAL_BYTES_MAX: usize = 4 * 1024;

/// The longest MQTT payload or HTTP body, in bytes: 256 KiB, far below MQTT's own 256 MB and above any command.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The longest argument of a program and the longest URL, in bytes.
const WORD_BYTES_MAX: usize = 8 * 1024;

/// How long a pulse may be: shorter is not for a daemon to time, longer is no pulse.
const PULSE_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(86_400);

/// A [`Write`] with holes. Templates see `payload`, `name`, `time` (a text, or none) and `device` (its id).
#[derive(Debug, Clone)]
pub enum WriteTemplate {
    /// For a serial bus.
    Serial {
        /// The line, its delimiter included; or the bytes as hexadecimal digits.
        text: Template,
        /// Whether the text is hexadecimal digits.
        is_hex: bool,
        /// The line that says whether it was done.
        reply: Option<Reply>,
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
        /// The message that says whether it was done.
        reply: Option<TopicReply>,
    },
    /// A value for a register of a Modbus unit.
    Modbus {
        /// The unit, by the name that its bus has for it.
        unit: Name,
        /// Where it goes, and in which form.
        register: Register,
        /// The value.
        value: Template,
        /// Whether it is written as a list even if it is one word or bit.
        use_multiple_write: bool,
        /// Whether it is read again to see that it is there.
        read_back: bool,
    },
    /// A level for a GPIO output.
    Gpio {
        /// The output, by the name that its bus has for it.
        output: Name,
        /// Whether it becomes active: `true`, `false`, `1` or `0`.
        value: Template,
        /// For how long, as `500 ms`; for good if there is none.
        pulse: Option<Template>,
    },
    /// A program.
    Exec {
        /// Its absolute path, which has no holes.
        program: PathBuf,
        /// One template for each argument.
        arguments: Vec<Template>,
        /// How much of its output is read, in bytes.
        output_bytes_max: usize,
    },
    /// An HTTP request.
    Http {
        /// The method.
        method: HttpMethod,
        /// Scheme, host and port, which have no holes: what every URL must begin with.
        origin: String,
        /// The URL.
        url: Template,
        /// The body with its media type.
        body: Option<(String, Template)>,
    },
    /// Sets the log's level to what the template yields.
    LogLevel(Template),
    /// Tells the daemon's condition.
    ReportStatus,
    /// Sends what waits.
    FlushNow,
    /// Reads the configuration again.
    Reload,
}

/// Why a command cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The command lacks what the template needs.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A text of the command could end the serial line and begin another.
    #[error(
        "the command holds a control character, in \"{excerpt}\"; texts for a line, a program or a URL must be \
         without line ends and the like"
    )]
    ControlCharacter {
        /// How that text begins.
        excerpt: String,
    },
    /// The rendered topic cannot be published to.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The length of a pulse.
    #[error(
        "\"{0}\" is no length of a pulse; give one with a unit, such as \"500 ms\", of at most a day"
    )]
    NotPulse(String),
    /// The register or output does not take the rendered value.
    #[error(transparent)]
    Value(#[from] EncodeError),
    /// A text of the command would lead up in the tree of files.
    #[error("\"{text}\" climbs up from the place that its template names")]
    Climbs {
        /// How that path begins.
        text: String,
    },
    /// A text of the command would lead to another place in the tree of topics or paths.
    #[error(
        "\"{text}\" has more or fewer levels than its template; texts of a command must not hold a /"
    )]
    Levels {
        /// How that topic or URL begins.
        text: String,
    },
    /// A text of the command would lead to another place on the host, or to another host.
    #[error("the URL \"{url}\" is not below {origin}, or holds .. or a blank")]
    Place {
        /// How it begins.
        url: String,
        /// What it must begin with.
        origin: String,
    },
    /// The template rendered nothing for a serial line.
    #[error("the template yields no bytes to write")]
    Empty,
    /// The template of bytes rendered something else than pairs of hexadecimal digits.
    #[error("\"{text}\" is not pairs of hexadecimal digits")]
    NotHex {
        /// How it begins.
        text: String,
    },
    /// More than it should carry.
    #[error("the write has {bytes} bytes; {bytes_max} is the limit for this kind")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl WriteTemplate {
    /// Fills in the holes from a command, and checks what comes out.
    pub(super) fn render(&self, command: &Command) -> Result<Write, WriteError> {
        let context = Context {
            payload: &command.payload,
            name: &command.name,
            time: command.time,
            device: command.device.to_string(),
        };
        match self {
            Self::Serial { text, is_hex, reply } => {
                check_texts(command)?;
                let bytes = serial_bytes(text.render(&context)?, *is_hex)?;
                Ok(Write::Serial { bytes: bytes.into(), reply: reply.clone() })
            }
            Self::Mqtt { topic, payload, qos, retain, reply } => {
                let written = topic.render(&context)?;
                check_topic(&written)?;
                check_levels(topic, &written)?;
                let topic = written;
                let payload = bounded(payload.render(&context)?.into_bytes(), MESSAGE_BYTES_MAX)?;
                let (payload, reply) = (payload.into(), reply.clone());
                Ok(Write::Mqtt { topic, payload, qos: *qos, retain: *retain, reply })
            }
            Self::Modbus { unit, register, value, use_multiple_write, read_back } => {
                check_texts(command)?;
                Ok(Write::Modbus(ModbusWrite {
                    unit: unit.clone(),
                    address: register.address,
                    data: encode(register, &word(value, &context)?)?,
                    use_multiple_write: *use_multiple_write,
                    read_back: *read_back,
                }))
            }
            Self::Gpio { output, value, pulse } => {
                let pulse = pulse.as_ref().map(|pulse| pulse_length(&word(pulse, &context)?));
                Ok(Write::Gpio(GpioWrite {
                    output: output.clone(),
                    is_active: parse_bool(&word(value, &context)?)?,
                    pulse: pulse.transpose()?,
                }))
            }
            Self::Exec { program, arguments, output_bytes_max } => {
                check_texts(command)?;
                let rendered = arguments.iter().map(|argument| argument_word(argument, &context));
                let arguments = rendered.collect::<Result<_, _>>()?;
                let (program, output_bytes_max) = (program.clone(), *output_bytes_max);
                Ok(Write::Exec(Execution { program, arguments, output_bytes_max }))
            }
            Self::Http { method, origin, url, body } => {
                check_texts(command)?;
                let written = word(url, &context)?;
                check_levels(url, &written)?;
                check_place(origin, &written)?;
                let body = match body {
                    Some((media_type, body)) => {
                        let body = bounded(body.render(&context)?.into_bytes(), MESSAGE_BYTES_MAX)?;
                        Some((media_type.clone(), body.into()))
                    }
                    None => None,
                };
                Ok(Write::Http(HttpRequest { method: *method, url: written, body }))
            }
            Self::LogLevel(level) => {
                Ok(Write::Gateway(GatewayAction::LogLevel(word(level, &context)?)))
            }
            Self::ReportStatus => Ok(Write::Gateway(GatewayAction::ReportStatus)),
            Self::FlushNow => Ok(Write::Gateway(GatewayAction::FlushNow)),
            Self::Reload => Ok(Write::Gateway(GatewayAction::Reload)),
        }
    }
}

fn serial_bytes(text: String, is_hex: bool) -> Result<Vec<u8>, WriteError> {
    let bytes = if is_hex { from_hex(&text)? } else { text.into_bytes() };
    let bytes = bounded(bytes, SERIAL_BYTES_MAX)?;
    if bytes.is_empty() { Err(WriteError::Empty) } else { Ok(bytes) }
}

fn pulse_length(text: &str) -> Result<Duration, WriteError> {
    let length = humantime::parse_duration(text).ok().filter(|length| PULSE_RANGE.contains(length));
    length.ok_or_else(|| WriteError::NotPulse(excerpt(text.as_bytes())))
}

fn bounded(bytes: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, WriteError> {
    let length = bytes.len();
    if length <= bytes_max {
        Ok(bytes)
    } else {
        Err(WriteError::TooLong { bytes: length, bytes_max })
    }
}

fn word(template: &Template, context: &Context<'_>) -> Result<String, WriteError> {
    let text = template.render(context)?;
    let bytes = text.len();
    if bytes <= WORD_BYTES_MAX {
        Ok(text)
    } else {
        Err(WriteError::TooLong { bytes, bytes_max: WORD_BYTES_MAX })
    }
}

/// Reads pairs of hexadecimal digits, with blanks between them or without.
fn from_hex(text: &str) -> Result<Vec<u8>, WriteError> {
    let digits: Vec<char> = text.chars().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let pair = |pair: &[char]| match pair {
        [high, low] => Some((high.to_digit(16)? * 16 + low.to_digit(16)?).to_le_bytes()),
        _ => None,
    };
    let bytes = digits.chunks(2).map(|digits| pair(digits).map(|[byte, ..]| byte));
    bytes
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| WriteError::NotHex { text: excerpt(text.as_bytes()) })
}

/// Refuses a topic or URL whose levels are not those that its owner wrote: a text with a `/` in it must not choose another
/// branch.
fn check_levels(template: &Template, written: &str) -> Result<(), WriteError> {
    let text = template.to_string();
    let outside = text.split("{{").enumerate().map(|(index, piece)| match index {
        0 => piece,
        _ => piece.split_once("}}").map_or("", |(_, outside)| outside),
    });
    let levels: usize = outside.map(|piece| piece.matches('/').count()).sum();
    if levels == written.matches('/').count() {
        Ok(())
    } else {
        Err(WriteError::Levels { text: excerpt(written.as_bytes()) })
    }
}

/// One word for a program. One that is a path, as its owner wrote it, must not lead to another place than the owner chose; one
/// that is all the command's own is data.
fn argument_word(template: &Template, context: &Context<'_>) -> Result<String, WriteError> {
    let (own, written) = (template.to_string(), word(template, context)?);
    if !own.contains('/') || own == written {
        return Ok(written);
    }
    check_levels(template, &written)?;
    if written.split('/').any(|level| level == "..") {
        return Err(WriteError::Climbs { text: excerpt(written.as_bytes()) });
    }
    Ok(written)
}

/// Refuses a URL that leaves the host, climbs up, or whose end would be read as something else.
fn check_place(origin: &str, url: &str) -> Result<(), WriteError> {
    let place = || WriteError::Place { url: excerpt(url.as_bytes()), origin: origin.to_owned() };
    let rest = url.strip_prefix(origin).ok_or_else(place)?;
    let is_below = rest.is_empty() || rest.starts_with(['/', '?']);
    let lower = rest.to_ascii_lowercase();
    let climbs = lower.replace("%2e", ".").contains("..") || lower.contains("%2f");
    if is_below && !climbs && !rest.contains([' ', '\\', '#']) { Ok(()) } else { Err(place()) }
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
