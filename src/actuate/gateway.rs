//! What the gateway itself does when it is told.

use crate::logging::LogControl;
use crate::model::GatewayAction;
use crate::status::Board;

/// The gateway as an actuator.
#[derive(Debug, Clone)]
pub struct Gateway {
    log: LogControl,
    board: Board,
}

impl Gateway {
    /// One that sets this log and tells of this board.
    pub fn new(log: LogControl, board: Board) -> Self {
        Self { log, board }
    }

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
            GatewayAction::ReportStatus => {
                let notes = self.board.notes();
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
