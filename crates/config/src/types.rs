//! The resolved configuration: all values are valid.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Bus, CloudCredentials, Problem, Secret};
use tidegate_commands::actuator::Actuator;
use tidegate_commands::admission::Rules;
use tidegate_commands::report::ReportRules;
use tidegate_delivery::audit;
use tidegate_delivery::reporter::Limits;
use tidegate_model::{ApplicationId, DeviceId, Name, WhenFull};
use tidegate_timing::clock_trust::TrustMode;

/// The whole resolved configuration.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// The connection to Losant.
    pub cloud: Cloud,
    /// The gateway, called `gateway`, and its peripherals.
    pub devices: BTreeMap<Name, DeviceId>,
    /// The outbox.
    pub outbox: OutboxSettings,
    /// Batches and retries.
    pub reporter: Limits,
    /// Which confirmed states are read back.
    pub audit: audit::Settings,
    /// Which clock the daemon trusts.
    pub clock_trust: TrustMode,
    /// Commands.
    pub commands: Commands,
    /// The buses with their sensors.
    pub buses: BTreeMap<Name, Bus>,
    /// All actuators.
    pub actuators: Vec<Actuator>,
    /// How long a stop may take.
    pub stop_timeout: Duration,
    /// The level or directives of the log.
    pub log_level: String,
    /// The path of the status socket.
    pub status_socket: PathBuf,
    /// The TCP address of metrics and health.
    pub status_listen: Option<SocketAddr>,
    /// Weaknesses of the configuration, and parts that were not checked.
    pub warnings: Vec<Problem>,
}

/// The connection to Losant.
#[derive(Debug, Clone, PartialEq)]
pub struct Cloud {
    /// The base URL, without a slash at its end.
    pub url: String,
    /// The gateway device.
    pub device: DeviceId,
    /// The expected application, if given.
    pub application: Option<ApplicationId>,
    /// The credentials of the gateway.
    pub credentials: CloudCredentials,
    /// The scopes of the token; empty for Losant's default, `all.Device`.
    pub requested_scopes: Vec<String>,
    /// The lifetime of a token; unlimited if not given.
    pub token_ttl: Option<Duration>,
    /// The time between two keep-alives on a stream, 2 s to 60 s.
    pub keep_alive_interval: Duration,
    /// The timeout of a connection.
    pub connect_timeout: Duration,
    /// The timeout of a whole call.
    pub request_timeout: Duration,
    /// Certificates in PEM to trust in addition to the system's.
    pub private_ca: Option<Vec<u8>>,
    /// The client certificate with its key, in PEM.
    pub client_certificate: Option<Secret>,
    /// The proxy between the gateway and Losant.
    pub proxy: Proxy,
}

impl Cloud {
    /// Creates a connection with the default options.
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

/// The proxy between the gateway and Losant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// The proxy of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    Environment,
    /// No proxy, even if the environment names one.
    None,
    /// This one.
    At(String),
}

/// The outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxSettings {
    /// Its directory.
    pub path: PathBuf,
    /// The maximum size of its states in bytes.
    pub bytes_max: u64,
    /// Which states a full outbox drops.
    pub when_full: WhenFull,
    /// The stretch of time of which one state is left by thinning.
    pub downsample_bucket: Duration,
    /// The maximum age of a state.
    pub age_max: Duration,
    /// The bytes that its file system keeps free, if it can.
    pub free_bytes_min: u64,
    /// How long a reading waits at most until it is written.
    pub commit_interval: Duration,
    /// How long a reading waits at most until it is synced.
    ///
    /// Up to `commit_interval`, each commit is synced.
    pub sync_interval: Duration,
}

/// Commands.
#[derive(Debug, Clone, PartialEq)]
pub struct Commands {
    /// Which commands run.
    pub rules: Rules,
    /// Which results are reported.
    pub report: ReportRules,
}
