//! Buses after they have been checked.

mod gpio;
mod port;

pub use gpio::{AtStart, AtStop, Bias, Drive, Edges, GpioBus, GpioInput, GpioLine, GpioOutput};

pub use port::{FlowControl, Parity, Place, Port, Rs485, StopBits, UsbIdentity, UsbIdentityError};

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::{Secret, UserPassword};
use tidegate_ingest::frame::Framing;
use tidegate_ingest::mapping::Sensor;
use tidegate_modbus::Register;
use tidegate_model::Name;

/// One connection and the sensors that read from it.
#[derive(Debug, PartialEq)]
pub struct Bus {
    /// What it connects to.
    pub kind: BusKind,
    /// Who reads.
    pub sensors: Vec<Sensor>,
}

/// What a bus connects to.
#[derive(Debug, Clone, PartialEq)]
pub enum BusKind {
    /// A program.
    Exec(ExecBus),
    /// Files.
    File(FileBus),
    /// Lines of a GPIO chip.
    Gpio(GpioBus),
    /// An HTTP endpoint that others push to.
    Http(HttpBus),
    /// Units that speak Modbus.
    Modbus(ModbusBus),
    /// A session with an MQTT broker.
    Mqtt(MqttBus),
    /// A tty.
    Serial(SerialBus),
    /// This computer itself.
    System(SystemBus),
}

/// What the `topic` of a sensor is on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topics {
    /// Messages have none.
    None,
    /// A sensor may choose messages by it.
    Optional,
    /// A sensor must say which it wants.
    Required,
}

impl BusKind {
    /// The word in the configuration: `[bus.WORD.…]`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::File(_) => "file",
            Self::Gpio(_) => "gpio",
            Self::Http(_) => "http",
            Self::Modbus(_) => "modbus",
            Self::Mqtt(_) => "mqtt",
            Self::Serial(_) => "serial",
            Self::System(_) => "system",
        }
    }

    /// Whether its messages have topics.
    pub fn topics(&self) -> Topics {
        match self {
            Self::Exec(_) | Self::Serial(_) | Self::System(_) => Topics::None,
            Self::File(_) | Self::Gpio(_) | Self::Http(_) | Self::Modbus(_) => Topics::Optional,
            Self::Mqtt(_) => Topics::Required,
        }
    }
}

/// A program that prints readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecBus {
    /// The program, an absolute path, and its arguments. No shell sees them.
    pub command: Vec<String>,
    /// When it runs.
    pub mode: ExecMode,
    /// The longest output of one run, or the longest line, in bytes.
    pub output_bytes_max: usize,
    /// All that its environment holds beside `PATH`.
    pub environment: Vec<(String, String)>,
}

/// When a program runs, and what of its output is a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecMode {
    /// Again and again; all that a run prints is one message.
    Interval {
        /// From start to start.
        interval: Duration,
        /// A run that takes longer is killed.
        timeout: Duration,
    },
    /// Always; each line is a message.
    Lines,
}

/// Files that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBus {
    /// Absolute paths, in which `*`, `?` and `[…]` stand for many.
    pub patterns: Vec<String>,
    /// What of them is a message.
    pub mode: FileMode,
    /// Between two looks at them.
    pub interval: Duration,
    /// The largest file, or the longest line, in bytes.
    pub bytes_max: usize,
}

/// What of a file is a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// The whole file, each time.
    Whole,
    /// The whole file, when it is not what it was the last time.
    Change,
    /// Each line that is added to it.
    Tail,
}

/// An HTTP endpoint that others push to.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpBus {
    /// The address and port.
    pub listen: SocketAddr,
    /// What a client must show.
    pub token: Secret,
    /// The largest body in bytes.
    pub body_bytes_max: usize,
    /// Connections at once.
    pub connections_max: usize,
}

/// This computer itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemBus {
    /// Between two looks.
    pub interval: Duration,
    /// Mount points, or paths below them, whose space is told.
    pub disks: Vec<PathBuf>,
    /// Whether the gateway's own health is told, too.
    pub gateway: bool,
}

/// A serial line that is read by frames.
#[derive(Debug, Clone, PartialEq)]
pub struct SerialBus {
    /// The tty.
    pub port: Port,
    /// How its bytes are cut into messages.
    pub framing: Framing,
    /// What the instrument is asked, if it speaks only then.
    pub poll: Option<SerialPoll>,
}

/// What an instrument on a serial line is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPoll {
    /// The questions of one round; one message is awaited after each.
    pub questions: Vec<Bytes>,
    /// From round to round.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Silence between an answer and the next question.
    pub gap: Duration,
}

/// A Modbus line.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusBus {
    /// What it runs on.
    pub line: ModbusLine,
    /// The silence between two frames.
    pub gap: Duration,
    /// Who is asked.
    pub units: Vec<ModbusUnit>,
}

/// What Modbus runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusLine {
    /// A serial line.
    Rtu(Port),
    /// A TCP connection.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for ModbusLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtu(port) => write!(formatter, "{} at {} baud", port.place, port.baud_rate),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
        }
    }
}

/// A unit on a Modbus line, which was once called a slave.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusUnit {
    /// Its name, which is the topic of its messages.
    pub name: Name,
    /// Its address on the line, 1 to 247; 0 to 255 on TCP.
    pub id: u8,
    /// From question to question.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many bits or words that nobody wants may be read to save a request.
    pub merge_gap_max: u16,
    /// What it is asked for.
    pub registers: Vec<Register>,
}

/// A session with an MQTT broker.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttBus {
    /// The broker's host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The client id, which names the session.
    pub client_id: String,
    /// User and password, if the broker asks.
    pub credentials: Option<UserPassword>,
    /// The keep-alive of the MQTT connection.
    pub keep_alive: Duration,
    /// Which MQTT it speaks.
    pub version: MqttVersion,
    /// 0 or 1.
    pub qos: u8,
    /// The largest message in bytes.
    pub payload_bytes_max: usize,
    /// How the connection is secured, if it is.
    pub tls: Option<MqttTls>,
    /// The group with which this gateway shares the messages of its subscriptions.
    pub share: Option<String>,
    /// Where the broker tells others whether we are there.
    pub status_topic: Option<String>,
    /// Whether the session outlives its connections; that of one who only looks does not.
    pub is_lasting: bool,
    /// The topics on which devices answer to actuators.
    pub replies: Vec<String>,
}

/// Which MQTT a broker is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1: the broker decides how long it keeps what we miss.
    V3,
    /// 5.
    V5 {
        /// How long the broker keeps the session, and what we miss, after the connection ended; whole seconds.
        session_expiry: Duration,
    },
}

/// How a connection to a broker is secured.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttTls {
    /// Certificates in PEM that are trusted in place of the system's.
    pub private_ca: Option<Vec<u8>>,
    /// Our own certificate with its key, in PEM.
    pub client_certificate: Option<Secret>,
}
