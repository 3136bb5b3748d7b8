//! What the gateway itself does when it is told.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::logging::LogControl;
use crate::status::StatusRegistry;
use tidegate_model::GatewayAction;

/// The gateway as an actuator.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The level of the log.
    pub log: LogControl,
    /// What is told of the daemon.
    pub board: StatusRegistry,
    /// Wakes the reporter.
    pub flush: Arc<Notify>,
    /// Asks for a reload. One that waits already does for all.
    pub reload: mpsc::Sender<()>,
}

impl Gateway {
    /// Does it, and returns what there is to say.
    ///
    /// # Errors
    /// When the log's level is none.
    pub(super) fn act(&self, action: &GatewayAction) -> Result<String, String> {
        match action {
            GatewayAction::LogLevel(level) => {
                self.log.set(level).map_err(|error| error.to_string())?;
                Ok(format!("the log level is {level} until the next start"))
            }
            GatewayAction::FlushNow => {
                self.flush.notify_one();
                Ok("what waits is sent as fast as the cloud takes it".to_owned())
            }
            GatewayAction::Reload => {
                self.reload.try_send(()).unwrap_or_default();
                Ok("the configuration is read again; the log and the status tell the outcome"
                    .to_owned())
            }
            GatewayAction::ReportStatus => {
                let notes = self.board.data();
                let streams = notes.streams.values().filter(|is_open| **is_open).count();
                Ok(format!(
                    "version {}, {} of {} streams open, {} states stored, {} commands executed, {} failed",
                    env!("CARGO_PKG_VERSION"),
                    streams,
                    notes.streams.len(),
                    notes.cloud.states_stored,
                    notes.commands.executed,
                    notes.commands.failed,
                ))
            }
        }
    }
}
