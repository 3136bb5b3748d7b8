//! The configuration after it has been checked: nothing here needs to be looked at twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{CloudCredentials, Secret, UserPassword};
use crate::logic::actuator::Actuator;
use crate::logic::clock_trust::TrustMode;
use crate::logic::frame::Framing;
use crate::logic::mapping::Sensor;
use crate::logic::reporter::Limits;
use crate::model::{ApplicationId, DeviceId, Name};

/// All that the daemon is told.
#[derive(Debug)]
pub struct Config {
    /// The way to Losant.
    pub cloud: Cloud,
    /// The gateway, called `gateway`, and its peripherals.
    pub devices: BTreeMap<Name, DeviceId>,
    /// The outbox.
    pub outbox: OutboxSettings,
    /// Batches and retries.
    pub reporter: Limits,
    /// How the time of day becomes known.
    pub clock_trust: TrustMode,
    /// Commands.
    pub commands: Commands,
    /// The buses with what hangs on them.
    pub buses: BTreeMap<Name, Bus>,
    /// All actuators.
    pub actuators: Vec<Actuator>,
    /// How long a stop may take.
    pub stop_timeout: Duration,
    /// The level or directives of the log.
    pub log_level: String,
    /// Where the status socket is.
    pub status_socket: PathBuf,
}

/// The way to Losant.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// The base URL, without a slash at its end.
    pub url: String,
    /// The gateway device.
    pub device: DeviceId,
    /// The application, if it is to be checked.
    pub application: Option<ApplicationId>,
    /// How the gateway proves who it is.
    pub credentials: CloudCredentials,
    /// What the token is to be good for; Losant's default, `all.Device`, if empty.
    pub requested_scopes: Vec<String>,
    /// How long the token is to live; for ever if not given.
    pub token_ttl: Option<Duration>,
    /// Between two signs of life on a stream: 2 s to 60 s.
    pub keep_alive_interval: Duration,
    /// For a connection.
    pub connect_timeout: Duration,
    /// For a whole call.
    pub request_timeout: Duration,
    /// Certificates in PEM that are trusted beside the system's.
    pub private_ca: Option<Vec<u8>>,
    /// Our own certificate with its key, in PEM.
    pub client_certificate: Option<Secret>,
    /// What stands between us and the cloud.
    pub proxy: Proxy,
}

impl Cloud {
    /// The way to Losant with nothing special about it.
    pub fn new(url: &str, device: DeviceId, credentials: CloudCredentials) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            device,
            application: None,
            credentials,
            requested_scopes: Vec::new(),
            token_ttl: None,
            keep_alive_interval: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            private_ca: None,
            client_certificate: None,
            proxy: Proxy::Environment,
        }
    }
}

/// What stands between us and the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    Environment,
    /// Nothing, whatever the environment says.
    None,
    /// This one.
    At(String),
}

/// The outbox.
#[derive(Debug, Clone)]
pub struct OutboxSettings {
    /// Its directory.
    pub path: PathBuf,
    /// The most bytes of states in it.
    pub bytes_max: u64,
    /// The longest that a reading waits for the disk.
    pub commit_interval: Duration,
}

/// Commands.
#[derive(Debug, Clone, Copy)]
pub struct Commands {
    /// The oldest command that runs.
    pub age_max: Duration,
    /// For one write.
    pub timeout: Duration,
}

/// One connection and the sensors that read from it.
#[derive(Debug)]
pub struct Bus {
    /// What it connects to.
    pub kind: BusKind,
    /// Who reads.
    pub sensors: Vec<Sensor>,
}

/// What a bus connects to.
#[derive(Debug, Clone)]
pub enum BusKind {
    /// A tty.
    Serial(SerialBus),
    /// A session with an MQTT broker.
    Mqtt(MqttBus),
}

/// A tty.
#[derive(Debug, Clone)]
pub struct SerialBus {
    /// The device file or a link to it.
    pub path: PathBuf,
    /// Bits per second.
    pub baud_rate: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// The parity bit.
    pub parity: Parity,
    /// How many stop bits.
    pub stop_bits: StopBits,
    /// How a receiver says "wait".
    pub flow_control: FlowControl,
    /// How its bytes are cut into messages.
    pub framing: Framing,
}

/// The parity bit of a tty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// Without.
    None,
    /// Odd.
    Odd,
    /// Even.
    Even,
}

/// The stop bits of a tty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBits {
    /// One.
    One,
    /// Two.
    Two,
}

/// The flow control of a tty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowControl {
    /// None.
    None,
    /// XON and XOFF.
    Software,
    /// RTS and CTS.
    Hardware,
}

/// A session with an MQTT broker.
#[derive(Debug, Clone)]
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
    /// 0 or 1.
    pub qos: u8,
    /// The largest message in bytes.
    pub payload_bytes_max: usize,
}
