//! What an actuator is asked to do: a command, turned into one write.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::Name;

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Bytes for a serial line, with the delimiter that the actuator wants.
    Serial {
        /// What goes on the wire.
        bytes: Bytes,
        /// The line that says whether it was done, if the device answers.
        reply: Option<Reply>,
    },
    /// A message for an MQTT broker.
    Mqtt {
        /// A topic without wildcards.
        topic: String,
        /// The message.
        payload: Bytes,
        /// 0 or 1.
        qos: u8,
        /// Whether the broker keeps it for later subscribers.
        retain: bool,
        /// The message that says whether it was done, if the device answers.
        reply: Option<TopicReply>,
    },
    /// A bit or a number for a Modbus unit.
    Modbus(ModbusWrite),
    /// A level for a GPIO line.
    Gpio(GpioWrite),
    /// A program, run without a shell.
    Exec(Execution),
    /// An HTTP request.
    Http(HttpRequest),
    /// Something that the gateway itself does.
    Gateway(GatewayAction),
}

/// How a device says that it did what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How the line or message begins that means success.
    pub success: String,
    /// How the one begins that means failure, if there is one.
    pub failure: Option<String>,
    /// How long to wait for either.
    pub timeout: Duration,
}

/// How a device says on a topic that it did what it was told. Retained messages say nothing about that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReply {
    /// The topic, without wildcards.
    pub topic: String,
    /// How its messages begin.
    pub words: Reply,
}

/// What a Modbus unit is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusWrite {
    /// The unit, by the name that its bus has for it.
    pub unit: Name,
    /// The address of the coil or of the first register, from 0.
    pub address: u16,
    /// What is written there.
    pub data: ModbusData,
    /// Whether it is written as a list even if it is one: some units only know the functions for several.
    pub use_multiple_write: bool,
    /// Whether it is read again, and counts as done only if it is there.
    pub read_back: bool,
}

/// Bits or words for a Modbus unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusData {
    /// A coil.
    Coil(bool),
    /// Holding registers that follow each other.
    Words(Vec<u16>),
}

/// What a GPIO output is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioWrite {
    /// The output, by the name that its bus has for it.
    pub output: Name,
    /// Whether it becomes active.
    pub is_active: bool,
    /// For how long, after which it becomes the opposite; for good if there is none.
    pub pulse: Option<Duration>,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// Its arguments, each one word whatever it holds.
    pub arguments: Vec<String>,
    /// How much of its output is read, in bytes.
    pub output_bytes_max: usize,
}

/// An HTTP request to a host that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// Where to.
    pub url: String,
    /// The body with its media type, if there is one.
    pub body: Option<(String, Bytes)>,
}

/// A method of HTTP that changes something, or is used so by simple devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
}

/// What the gateway itself can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayAction {
    /// Sets the level or the directives of the log until the next start.
    LogLevel(String),
    /// Answers with the daemon's condition in the message of the result.
    ReportStatus,
    /// Sends what waits without waiting for company, or for the next try.
    FlushNow,
    /// Reads the configuration again.
    Reload,
}
