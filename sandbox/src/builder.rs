//! The builder of a sandbox.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::devices::{ApplicationSpec, DeviceSpec};
use crate::error::Error;
use crate::sandbox::Sandbox;
use crate::settings::{JobResponse, Settings, SilentLoss, TimeForm, UnfitValues};
use crate::silent_loss::LossUnit;

/// Configures and starts a [`Sandbox`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder(Settings);

impl Sandbox {
    /// Returns a builder with the default application and devices.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a sandbox with the default application and devices on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The same as [`Builder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }
}

impl Builder {
    /// Sets the address to listen on. Default: a free port of 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.0.listen = address;
        self
    }

    /// Replaces the devices of the default application. Default: [`default_devices`].
    ///
    /// [`default_devices`]: crate::default_devices
    pub fn devices(self, devices: Vec<DeviceSpec>) -> Self {
        self.applications(vec![ApplicationSpec { devices, ..ApplicationSpec::default() }])
    }

    /// Replaces all applications and their devices. At least one application is required.
    pub fn applications(mut self, applications: Vec<ApplicationSpec>) -> Self {
        self.0.applications = applications;
        self
    }

    /// Sets the largest accepted body in bytes; the response to a larger one is 413.
    /// Default: 256 KiB.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.0.body_bytes_max = bytes;
        self
    }

    /// Sets the policy for values whose attribute is undeclared or has another type.
    /// Default: [`UnfitValues::Ignore`].
    pub fn unfit_values(mut self, policy: UnfitValues) -> Self {
        self.0.unfit_values = policy;
        self
    }

    /// Enables the conversion of values to the type of their attribute. Default: off.
    ///
    /// Losant documented the conversion in 2019 (devices/state); the current guide says "rejected".
    pub fn convert(mut self, convert: bool) -> Self {
        self.0.convert = convert;
        self
    }

    /// Sets the response to an accepted export or removeData call.
    /// Default: [`JobResponse::Success`].
    pub fn job_response(mut self, response: JobResponse) -> Self {
        self.0.job_response = response;
        self
    }

    /// Sets the form of a command's time. Default: [`TimeForm::Iso`].
    pub fn time_form(mut self, form: TimeForm) -> Self {
        self.0.time_form = form;
        self
    }

    /// Sets whether a gateway's access key also covers its peripherals. Default: on.
    ///
    /// A token of such a key may read the peripherals, including their command stream and command
    /// history, and send them commands. A gateway may report the state of its peripherals in any
    /// case (devices/gateways-peripherals).
    pub fn peripherals_covered(mut self, covered: bool) -> Self {
        self.0.peripherals_covered = covered;
        self
    }

    /// Sets the status for a device that the token may not access. Default: 403.
    ///
    /// Losant does not document this status.
    pub fn foreign_status(mut self, status: u16) -> Self {
        self.0.foreign_status = status;
        self
    }

    /// Sets the window of both throttles. Default: 15 s, as at Losant.
    pub fn throttle_window(mut self, window: Duration) -> Self {
        self.0.throttle_window = window;
        self
    }

    /// Stores devices, states, commands, logs and tokens in `directory`, which is created if it
    /// does not exist. Default: everything is kept in memory only.
    ///
    /// One sandbox at a time can use a directory.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.0.data_dir = Some(directory.into());
        self
    }

    /// Loses one in `one_in` states or values on average, although the response is 200; see
    /// [`Sandbox::lose_silently`]. Default: none.
    pub fn lose_silently(mut self, seed: u64, one_in: u32, unit: LossUnit) -> Self {
        self.0.silent_loss = Some(SilentLoss { seed, one_in, unit });
        self
    }

    /// Starts the server on a thread of its own; it serves until the sandbox is dropped.
    ///
    /// # Errors
    ///
    /// When an id is invalid or used twice, when the address cannot be bound, or when the data
    /// directory cannot be used. Correct the setting that the error names.
    pub async fn start(self) -> Result<Sandbox, Error> {
        Sandbox::from_settings(self.0).await
    }
}
