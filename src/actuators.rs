//! Drivers, which execute the writes of actuators: a bus, a program, an HTTP request, the gateway.
//!
//! A driver executes each write once. It never repeats one, whatever fails.
//!
//! The driver of an actuator on a bus passes the write to the task of the bus. CONTRIBUTING.md has
//! the recipe for another kind of actuator.

mod bus;
mod exec;
mod gateway;
mod http;

use std::pin::Pin;

use tokio::sync::watch;

pub use exec::ExecError;
pub use gateway::Gateway;
pub use http::{HttpError, client};

use crate::logging::LoggingError;
use tidegate_bus::Handles;
use tidegate_commands::actuator::Actuator;
use tidegate_model::Write;

/// Returns the driver of an actuator of one kind, and `None` for all other kinds.
type DriverKind = fn(&Actuator, &DriverContext) -> Option<Box<dyn Driver>>;

/// The kinds of drivers.
const KINDS: &[DriverKind] = &[bus::driver, exec::driver, http::driver, gateway::driver];

/// Executes the writes of one actuator.
pub trait Driver: Send + Sync {
    /// Executes one write and returns the answer of the other side.
    ///
    /// A caller that drops the future gives the write up; a program is killed then.
    ///
    /// # Errors
    /// Fails if the write was not confirmed. It may have had an effect all the same.
    fn execute(&self, write: Write) -> Execution<'_>;
}

/// The execution of one write.
pub type Execution<'a> = Pin<Box<dyn Future<Output = Result<String, DriverError>> + Send + 'a>>;

/// The parts of the daemon that drivers need.
#[derive(Debug, Clone)]
pub struct DriverContext {
    /// The buses, by name. A reload may replace a connection.
    pub buses: watch::Receiver<Handles>,
    /// The HTTP client.
    pub http: reqwest::Client,
    /// The gateway.
    pub gateway: Gateway,
}

impl DriverContext {
    /// Creates the driver of an actuator; `None` if its kind has no driver.
    pub fn driver(&self, actuator: &Actuator) -> Option<Box<dyn Driver>> {
        KINDS.iter().find_map(|driver| driver(actuator, self))
    }
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The bus did not confirm the write.
    #[error(transparent)]
    Bus(#[from] tidegate_bus::WriteError),
    /// The program failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The HTTP request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The log level is invalid.
    #[error(transparent)]
    LogLevel(#[from] LoggingError),
    /// The write is for another kind of actuator.
    #[error("the write is for another kind of actuator")]
    WrongKind,
}
