//! Where log lines go: to the journal with their fields when systemd started us, else to standard error for people.

mod fold;
mod journal;
mod repeats;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use fold::Fold;
use journal::JournalLayer;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level or directive cannot be read.
    #[error(
        "log.level: {0}; use error, warn, info, debug or trace, or directives such as \"info,tidegate::bus=debug\""
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else took the place of the process's logger.
    #[error("cannot install the logger")]
    Install(#[from] TryInitError),
    /// The logger is gone.
    #[error("the log's level cannot be changed")]
    Change(#[from] reload::Error),
}

/// Changes the level while the daemon runs, and tells what was folded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    fold: Fold,
}

impl LogControl {
    /// Sets a level or a list of tracing directives.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        Ok(self.filter.reload(EnvFilter::try_new(level)?)?)
    }

    /// Tells how often lines came that were not said, until the stop.
    pub async fn tell_folded(self, stop: CancellationToken) {
        self.fold.tell(stop).await;
    }
}

/// Starts logging at `level`, a level or a list of tracing directives.
pub fn start(level: &str) -> Result<LogControl, LoggingError> {
    let (to_filter, filter) = reload::Layer::new(EnvFilter::try_new(level)?);
    let (fold, to_journal) = (Fold::default(), JournalLayer::connect());
    let to_person = to_journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
    });
    let layers = tracing_subscriber::registry().with(to_filter).with(fold.clone());
    layers.with(to_journal).with(to_person).try_init()?;
    Ok(LogControl { filter, fold })
}
