//! A write: the action that an actuator takes for a command.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::Name;

/// Describes one action of an actuator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Bytes for a serial line, including the delimiter of the actuator.
    Serial {
        /// The bytes to send.
        bytes: Bytes,
        /// The line that confirms the write, if the device answers.
        reply: Option<Reply>,
    },
    /// A message for an MQTT broker.
    Mqtt {
        /// A topic without wildcards.
        topic: String,
        /// The payload of the message.
        payload: Bytes,
        /// The quality of service: 0 or 1.
        qos: u8,
        /// Whether the broker keeps it for later subscribers.
        retain: bool,
        /// The message that confirms the write, if the device answers.
        reply: Option<TopicReply>,
    },
    /// A bit or a number for a Modbus unit.
    Modbus(ModbusWrite),
    /// A level for a GPIO line.
    Gpio(GpioWrite),
    /// A program that runs without a shell.
    Exec(Execution),
    /// An HTTP request.
    Http(HttpRequest),
    /// An action of the gateway itself.
    Gateway(GatewayAction),
}

/// Describes the answers by which a device confirms or rejects a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The beginning of a line or message that reports success.
    pub success: Vec<u8>,
    /// The beginning of a line or message that reports failure, if there is one.
    pub failure: Option<Vec<u8>>,
    /// The longest time to wait for an answer.
    pub timeout: Duration,
}

/// Describes the MQTT messages by which a device answers a write.
///
/// Retained messages are not answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReply {
    /// The topic, without wildcards.
    pub topic: String,
    /// The beginnings of the answers, and the time limit.
    pub words: Reply,
}

/// Describes a write to a Modbus unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusWrite {
    /// The name of the unit in the configuration of its bus.
    pub unit: Name,
    /// The address of the coil or of the first register, from 0.
    pub address: u16,
    /// The data to write.
    pub data: ModbusData,
    /// Whether a single value is written with the function for several values. Some units have
    /// no other write function.
    pub use_multiple_write: bool,
    /// Whether the data is read back. The write then fails if the unit holds other data.
    pub read_back: bool,
}

/// Holds the data of a Modbus write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusData {
    /// One coil.
    Coil(bool),
    /// Consecutive holding registers.
    Words(Vec<u16>),
}

/// Describes a write to a GPIO output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioWrite {
    /// The name of the output in the configuration of its bus.
    pub output: Name,
    /// Whether the output becomes active.
    pub is_active: bool,
    /// The time after which the output returns to the opposite level; `None` if it stays.
    pub pulse: Option<Duration>,
}

/// Describes one run of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The absolute path of the program.
    pub program: PathBuf,
    /// The arguments. Spaces do not split an argument.
    pub arguments: Vec<String>,
    /// The most bytes of output that are read.
    pub output_bytes_max: usize,
}

/// Describes an HTTP request to a host that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// The URL of the request.
    pub url: String,
    /// The body with its media type, if there is one.
    pub body: Option<(String, Bytes)>,
}

/// Lists the HTTP methods for writes. Simple devices accept a write with GET, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
}

/// Lists the actions of the gateway itself that a command can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayAction {
    /// Sets the level or the directives of the log until the next start.
    LogLevel(String),
    /// Returns the status of the daemon in the message of the result.
    ReportStatus,
    /// Sends all waiting states now, without waiting for a full batch or for the next retry.
    FlushNow,
    /// Reloads the configuration.
    Reload,
}
