//! The settings of a sandbox, and what can go wrong when it starts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::sandbox::Sandbox;
use crate::world::{API_TOKEN, APPLICATION_ID, DeviceSpec, default_devices};

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server's thread or its runtime could not be made.
    #[error("cannot start the server's thread")]
    Thread(#[source] io::Error),
    /// A schema of this crate does not compile.
    #[error("schema {name} does not compile: {reason}")]
    Schema {
        /// The schema's file name, without `.json`.
        name: &'static str,
        /// What the compiler said.
        reason: String,
    },
    /// A device's id is not 24 hexadecimal digits, or occurs twice.
    #[error("device id {0:?} is not 24 hexadecimal digits, or is used twice")]
    DeviceId(String),
}

/// What to do with a value whose attribute is not declared or has another type.
///
/// Losant documents rejection, but neither of what (the value or the report) nor the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undeclared {
    /// Leaves the value out, counts it, and answers 200.
    #[default]
    Ignore,
    /// Answers 400 for the whole body.
    Refuse,
    /// Stores it.
    Accept,
}

/// How a command's time is written in answers and on the stream; the schema allows all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeForm {
    /// `"2026-05-01T10:00:00.000Z"`.
    #[default]
    Iso,
    /// `1777629600000`.
    Millis,
    /// `{"$date": "2026-05-01T10:00:00.000Z"}`.
    Date,
}

/// Everything that can be chosen about a sandbox; see [`Builder`] for the meaning of each.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) application_id: String,
    pub(crate) api_token: String,
    pub(crate) devices: Vec<DeviceSpec>,
    pub(crate) body_bytes_max: usize,
    pub(crate) undeclared: Undeclared,
    pub(crate) time_form: TimeForm,
    pub(crate) peripherals_covered: bool,
    pub(crate) foreign_status: u16,
    pub(crate) throttle_window: Duration,
}

/// Makes a [`Sandbox`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder(Settings);

impl Default for Builder {
    fn default() -> Self {
        Self(Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            application_id: APPLICATION_ID.to_owned(),
            api_token: API_TOKEN.to_owned(),
            devices: default_devices(),
            body_bytes_max: BODY_BYTES_MAX,
            undeclared: Undeclared::default(),
            time_form: TimeForm::default(),
            peripherals_covered: true,
            foreign_status: 403,
            throttle_window: THROTTLE_WINDOW,
        })
    }
}

impl Builder {
    /// The address to listen on; the default is a free port of 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.0.listen = address;
        self
    }

    /// The devices of the application; the default is [`default_devices`].
    pub fn devices(mut self, devices: Vec<DeviceSpec>) -> Self {
        self.0.devices = devices;
        self
    }

    /// The largest body in bytes that is read; a larger one is answered 413. Default 256 KiB.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.0.body_bytes_max = bytes;
        self
    }

    /// What to do with values that no attribute was declared for, or of another type.
    pub fn undeclared(mut self, policy: Undeclared) -> Self {
        self.0.undeclared = policy;
        self
    }

    /// How the times of commands are written.
    pub fn time_form(mut self, form: TimeForm) -> Self {
        self.0.time_form = form;
        self
    }

    /// Whether a gateway's access key also covers its peripherals, so that its token may read them
    /// (their command stream and history too) and send them commands. Default: it does.
    ///
    /// Reporting their state does not depend on it (devices/gateways-peripherals).
    pub fn peripherals_covered(mut self, covered: bool) -> Self {
        self.0.peripherals_covered = covered;
        self
    }

    /// The status for a device that the token does not reach; Losant does not document it.
    /// Default 403.
    pub fn foreign_status(mut self, status: u16) -> Self {
        self.0.foreign_status = status;
        self
    }

    /// The window of both throttles. Default 15 s, as Losant's; tests may not want to wait so long.
    pub fn throttle_window(mut self, window: Duration) -> Self {
        self.0.throttle_window = window;
        self
    }

    /// Listens and serves, on a thread of its own, until the sandbox is dropped.
    ///
    /// # Errors
    ///
    /// When the address cannot be had, or the devices' ids are not proper.
    pub async fn start(self) -> Result<Sandbox, Error> {
        Sandbox::from_settings(self.0).await
    }
}

/// As the limit of an MQTT message (references/message-throttling); Losant does not publish one
/// for REST, but answers 413.
const BODY_BYTES_MAX: usize = 262_144;

/// Rest-api/overview, "Throttles And Limits".
const THROTTLE_WINDOW: Duration = Duration::from_secs(15);
