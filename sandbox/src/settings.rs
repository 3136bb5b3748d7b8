//! The settings of a sandbox.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::devices::ApplicationSpec;
use crate::silent_loss::LossUnit;

/// Decides what happens to a value whose attribute is undeclared or has another type.
///
/// Losant documents that it rejects such values. It documents neither whether it rejects the value
/// or the whole body, nor the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnfitValues {
    /// Drops the value, counts it, and responds with 200.
    #[default]
    Ignore,
    /// Rejects the whole body with 400.
    Reject,
    /// Stores the value.
    Accept,
}

/// Selects the response to an accepted export or removeData call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobResponse {
    /// Responds with 200 and `{"success": true}`, as documented in rest-api/device.
    #[default]
    Success,
    /// Responds with 202 and a job id, as documented in the API description of the current clients
    /// (API 1.30.0).
    Enqueued,
}

/// Selects the form of a command's time in responses and streams. The schema allows all three.
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

/// Holds all settings. [`Builder`](crate::Builder) documents each of them.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// Not empty once a sandbox has started.
    pub(crate) applications: Vec<ApplicationSpec>,
    pub(crate) body_bytes_max: usize,
    pub(crate) unfit_values: UnfitValues,
    pub(crate) convert: bool,
    pub(crate) job_response: JobResponse,
    pub(crate) time_form: TimeForm,
    pub(crate) peripherals_covered: bool,
    pub(crate) foreign_status: u16,
    pub(crate) throttle_window: Duration,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) silent_loss: Option<SilentLoss>,
}

/// The share of states or values that are silently lost from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SilentLoss {
    pub(crate) seed: u64,
    pub(crate) one_in: u32,
    pub(crate) unit: LossUnit,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            applications: vec![ApplicationSpec::default()],
            body_bytes_max: BODY_BYTES_MAX,
            unfit_values: UnfitValues::default(),
            convert: false,
            job_response: JobResponse::default(),
            time_form: TimeForm::default(),
            peripherals_covered: true,
            foreign_status: 403,
            throttle_window: THROTTLE_WINDOW,
            data_dir: None,
            silent_loss: None,
        }
    }
}

/// Largest body in bytes. Losant documents 413 but no limit for REST, so this is the limit of an
/// MQTT message (references/message-throttling).
const BODY_BYTES_MAX: usize = 262_144;

/// Window of both throttles (rest-api/overview, "Throttles And Limits").
const THROTTLE_WINDOW: Duration = Duration::from_secs(15);
