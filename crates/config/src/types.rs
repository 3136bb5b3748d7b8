//! The configuration after it has been checked: nothing here needs to be looked at twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Bus, CloudCredentials, Secret};
use tidegate_commands::actuator::Actuator;
use tidegate_commands::admission::Rules;
use tidegate_commands::report::ReportRules;
use tidegate_delivery::reporter::Limits;
use tidegate_model::{ApplicationId, DeviceId, Name, WhenFull};
use tidegate_timing::clock_trust::TrustMode;

/// All that the daemon is told.
#[derive(Debug, PartialEq)]
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
    /// Where metrics and health are told over TCP.
    pub status_listen: Option<SocketAddr>,
}

/// The way to Losant.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxSettings {
    /// Its directory.
    pub path: PathBuf,
    /// The most bytes of states in it.
    pub bytes_max: u64,
    /// What goes when it is full.
    pub when_full: WhenFull,
    /// The stretch of time of which one state is left by thinning.
    pub downsample_bucket: Duration,
    /// The longest that a state waits.
    pub age_max: Duration,
    /// The bytes that its file system keeps free, if it can.
    pub free_bytes_min: u64,
    /// The longest that a reading waits for the disk.
    pub commit_interval: Duration,
    /// The same while the cloud answers, where that is longer.
    pub sync_interval_online: Option<Duration>,
}

/// Commands.
#[derive(Debug, Clone, PartialEq)]
pub struct Commands {
    /// Which of them run.
    pub rules: Rules,
    /// What is told of them.
    pub report: ReportRules,
}
