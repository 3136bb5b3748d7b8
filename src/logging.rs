//! Where log lines go: to the journal with their fields when systemd started us, else to standard error for people.

use std::fmt;

use systemd_journal_logger::{JournalLog, connected_to_journal};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

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

/// Changes the level while the daemon runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogControl(reload::Handle<EnvFilter, Registry>);

impl LogControl {
    /// Sets a level or a list of tracing directives.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        Ok(self.0.reload(EnvFilter::try_new(level)?)?)
    }
}

/// Starts logging at `level`, a level or a list of tracing directives.
pub fn start(level: &str) -> Result<LogControl, LoggingError> {
    let (filter, control) = reload::Layer::new(EnvFilter::try_new(level)?);
    let journal = connected_to_journal().then(|| JournalLog::new().ok()).flatten();
    let to_journal =
        journal.map(|log| JournalLayer { log: log.with_syslog_identifier("tidegate".to_owned()) });
    let to_person = to_journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
    });
    tracing_subscriber::registry().with(filter).with(to_journal).with(to_person).try_init()?;
    Ok(LogControl(control))
}

/// Sends each event as one journal entry: `journalctl -u tidegate BUS=boiler` finds by field.
///
/// systemd-journal-logger is a backend of the `log` crate. Its bridge from tracing would flatten the fields into the text,
/// so this layer builds the record itself.
struct JournalLayer {
    log: JournalLog,
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let pairs: Vec<(&str, &str)> =
            fields.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let pairs = pairs.as_slice();
        let mut record = log::Record::builder();
        record
            .level(journal_level(*metadata.level()))
            .target(metadata.target())
            .module_path(metadata.module_path())
            .file(metadata.file())
            .line(metadata.line())
            .key_values(&pairs);
        let sent = self.log.journal_send(&record.args(format_args!("{fields}")).build());
        // There is nowhere left to report that the journal does not take an entry.
        sent.unwrap_or_default();
    }
}

/// The crate maps log levels to syslog priorities from "notice" down; one step lower each is what systemd's own tools
/// print and filter as info and debug.
fn journal_level(level: tracing::Level) -> log::Level {
    match level {
        tracing::Level::ERROR => log::Level::Error,
        tracing::Level::WARN => log::Level::Warn,
        tracing::Level::INFO => log::Level::Debug,
        tracing::Level::DEBUG | tracing::Level::TRACE => log::Level::Trace,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    pairs: Vec<(&'static str, String)>,
}

/// The message and its fields on one line, for a reader of the plain journal.
impl fmt::Display for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        self.pairs.iter().try_for_each(|(name, value)| write!(formatter, " {name}={value}"))
    }
}

impl Fields {
    fn take(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.pairs.push((field.name(), text));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }
}
