//! Executes the actions of the gateway itself.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::{Driver, DriverContext, DriverError, Execution};
use crate::logging::LogControl;
use crate::status::StatusRegistry;
use tidegate_commands::actuator::{Actuator, WriteTemplate};
use tidegate_model::{GatewayAction, Write};

/// The driver of an actuator that is the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The control of the log level.
    pub log: LogControl,
    /// The source of the summary.
    pub status: StatusRegistry,
    /// Wakes the reporter.
    pub flush: Arc<Notify>,
    /// Requests a reload. One pending request covers all further ones.
    pub reload: mpsc::Sender<()>,
}

/// Returns the driver of an actuator that is the gateway.
pub(super) fn driver(actuator: &Actuator, context: &DriverContext) -> Option<Box<dyn Driver>> {
    matches!(actuator.write, WriteTemplate::Gateway(_))
        .then(|| Box::new(context.gateway.clone()) as _)
}

impl Driver for Gateway {
    fn execute(&self, write: Write) -> Execution<'_> {
        Box::pin(async move {
            let Write::Gateway(action) = write else { return Err(DriverError::WrongKind) };
            self.act(&action)
        })
    }
}

impl Gateway {
    /// Executes an action and returns a message for the report.
    fn act(&self, action: &GatewayAction) -> Result<String, DriverError> {
        match action {
            GatewayAction::LogLevel(level) => {
                self.log.set(level)?;
                Ok(format!("the log level is {level} until the next start"))
            }
            GatewayAction::FlushNow => {
                self.flush.notify_one();
                Ok("sending the backlog".to_owned())
            }
            GatewayAction::Reload => {
                self.reload.try_send(()).unwrap_or_default();
                Ok("reload requested; see the log or the status for its result".to_owned())
            }
            GatewayAction::ReportStatus => {
                let status = self.status.data();
                let streams_open = status.streams.values().filter(|is_open| **is_open).count();
                Ok(format!(
                    "version {version}, {streams_open} of {streams} streams open, \
                     {stored} states stored, {executed} commands executed, {failed} failed",
                    version = env!("CARGO_PKG_VERSION"),
                    streams = status.streams.len(),
                    stored = status.cloud.states_stored,
                    executed = status.commands.executed,
                    failed = status.commands.failed,
                ))
            }
        }
    }
}
