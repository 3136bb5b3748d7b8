//! The journal as a destination of log lines.

use std::fmt;

use systemd_journal_logger::{JournalLog, connected_to_journal};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Sends each event as one journal entry with fields: `journalctl -u tidegate BUS=boiler`.
///
/// systemd-journal-logger is a backend of the `log` crate. The bridge from tracing to `log` would
/// flatten the fields into the text, so this layer builds the record itself.
pub(super) struct JournalLayer {
    log: JournalLog,
}

impl JournalLayer {
    /// Connects to the journal if systemd connected standard error to it.
    pub(super) fn connect() -> Option<Self> {
        let log = connected_to_journal().then(|| JournalLog::new().ok()).flatten()?;
        Some(Self { log: log.with_syslog_identifier("tidegate".to_owned()) })
    }
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
        // An error of the journal cannot be logged anywhere else.
        sent.unwrap_or_default();
    }
}

/// Maps a level. The crate maps `Info` to the syslog priority "notice"; one step lower each gives
/// the priorities that systemd's own tools print and filter as info and debug.
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

/// Writes the message and its fields on one line.
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
