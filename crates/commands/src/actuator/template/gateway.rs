//! Actions of the gateway itself.

use super::checks::text;
use super::{Render, Variables, WriteError};
use tidegate_model::{Command, GatewayAction, Write};
use tidegate_template::Template;

/// An action of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub enum GatewayTemplate {
    /// Sets the log level that the template renders.
    LogLevel(Template),
    /// Reports a summary of the status.
    ReportStatus,
    /// Sends the backlog without waiting for the next batch or retry.
    FlushNow,
    /// Reloads the configuration.
    Reload,
}

impl Render for GatewayTemplate {
    fn render(&self, _command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError> {
        Ok(Write::Gateway(match self {
            Self::LogLevel(level) => GatewayAction::LogLevel(text(level, variables)?),
            Self::ReportStatus => GatewayAction::ReportStatus,
            Self::FlushNow => GatewayAction::FlushNow,
            Self::Reload => GatewayAction::Reload,
        }))
    }
}
