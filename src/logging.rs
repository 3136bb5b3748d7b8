//! Logging: to the journal with structured fields under systemd, else to standard error.

mod journal;
mod repeats;
mod suppressor;

use tokio_util::sync::CancellationToken;
use tracing::warn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use journal::JournalLayer;
use suppressor::Suppressor;
use tidegate_config::Problem;

/// The most weaknesses of a configuration that are logged.
const WARNINGS_MAX: usize = 50;

/// An error of the logger.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level or directive is invalid.
    #[error(
        "log.level: {0}; use error, warn, info, debug or trace, or directives such \
         as \"info,tidegate_bus=debug\""
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process already has a logger.
    #[error("cannot install the logger")]
    Install(#[from] TryInitError),
    /// The logger no longer exists.
    #[error("cannot change the log level")]
    Change(#[from] reload::Error),
}

/// Logs the weaknesses of a configuration.
pub fn log_warnings(warnings: &[Problem]) {
    for problem in warnings.iter().take(WARNINGS_MAX) {
        warn!(%problem, "a part of the configuration probably does not do what is meant");
    }
}

/// Changes the level while the daemon runs, and reports suppressed lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    suppressor: Suppressor,
}

impl LogControl {
    /// Sets a level or a list of tracing directives.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        Ok(self.filter.reload(EnvFilter::try_new(level)?)?)
    }

    /// Reports the counts of suppressed lines until `stop`.
    pub async fn report_suppressed(self, stop: CancellationToken) {
        self.suppressor.report(stop).await;
    }
}

/// Starts logging at `level`, a level or a list of tracing directives.
pub fn start(level: &str) -> Result<LogControl, LoggingError> {
    let (to_filter, filter) = reload::Layer::new(EnvFilter::try_new(level)?);
    let (suppressor, to_journal) = (Suppressor::default(), JournalLayer::connect());
    let to_terminal = to_journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
    });
    let layers = tracing_subscriber::registry().with(to_filter).with(suppressor.clone());
    layers.with(to_journal).with(to_terminal).try_init()?;
    Ok(LogControl { filter, suppressor })
}
