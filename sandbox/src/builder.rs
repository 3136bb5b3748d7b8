//! The settings of a sandbox, and what can go wrong when it starts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::sandbox::Sandbox;
use crate::world::{ApplicationSpec, DeviceSpec};

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
    /// The id of an application or a device is not 24 hexadecimal digits, or occurs twice.
    #[error("id {0:?} is not 24 hexadecimal digits, or is used twice")]
    Id(String),
    /// The directory of the state cannot be made, read or written, or is in use.
    #[error("cannot keep state in {path}")]
    State {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal has a line that is no event; nothing was changed.
    #[error("{path}: line {line} is not an event of this version: {reason}")]
    Journal {
        /// The journal's file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// There is no application.
    #[error("there is no application; a world has at least one")]
    NoApplication,
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

/// What export and removeData answer when they were started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobAnswer {
    /// 200 and `{"success": true}`, as rest-api/device has it.
    #[default]
    Success,
    /// 202 and the id of a job, as the current clients' descriptions have it (API 1.30.0).
    Enqueued,
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
    /// Never empty once a sandbox has started.
    pub(crate) applications: Vec<ApplicationSpec>,
    pub(crate) body_bytes_max: usize,
    pub(crate) undeclared: Undeclared,
    pub(crate) convert: bool,
    pub(crate) job_answer: JobAnswer,
    pub(crate) time_form: TimeForm,
    pub(crate) peripherals_covered: bool,
    pub(crate) foreign_status: u16,
    pub(crate) throttle_window: Duration,
    pub(crate) state: Option<PathBuf>,
}

/// Makes a [`Sandbox`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder(Settings);

impl Default for Builder {
    fn default() -> Self {
        Self(Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            applications: vec![ApplicationSpec::default()],
            body_bytes_max: BODY_BYTES_MAX,
            undeclared: Undeclared::default(),
            convert: false,
            job_answer: JobAnswer::default(),
            time_form: TimeForm::default(),
            peripherals_covered: true,
            foreign_status: 403,
            throttle_window: THROTTLE_WINDOW,
            state: None,
        })
    }
}

impl Builder {
    /// The address to listen on; the default is a free port of 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.0.listen = address;
        self
    }

    /// The devices of the default application; the default is [`default_devices`].
    ///
    /// [`default_devices`]: crate::default_devices
    pub fn devices(self, devices: Vec<DeviceSpec>) -> Self {
        self.applications(vec![ApplicationSpec { devices, ..ApplicationSpec::default() }])
    }

    /// The applications with their devices, in place of the default one.
    pub fn applications(mut self, applications: Vec<ApplicationSpec>) -> Self {
        self.0.applications = applications;
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

    /// Whether a value of another type than its attribute's is converted if it can be, as Losant
    /// documented it in 2019 (devices/state). Default: it is not; today's guide says "rejected".
    pub fn convert(mut self, convert: bool) -> Self {
        self.0.convert = convert;
        self
    }

    /// What export and removeData answer.
    pub fn job_answer(mut self, answer: JobAnswer) -> Self {
        self.0.job_answer = answer;
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

    /// A directory to remember devices, states, commands, logs and tokens in; it is made if it does
    /// not exist. One sandbox at a time may use it. Default: none, everything ends with the sandbox.
    pub fn state(mut self, directory: impl Into<PathBuf>) -> Self {
        self.0.state = Some(directory.into());
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
