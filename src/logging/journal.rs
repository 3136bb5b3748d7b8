//! The journal as a place for log lines.

use std::fmt;

use systemd_journal_logger::{JournalLog, connected_to_journal};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Sends each event as one journal entry: `journalctl -u tidegate BUS=boiler` finds by field.
///
/// systemd-journal-logger is a backend of the `log` crate. Its bridge from tracing would flatten the fields into the text,
/// so this layer builds the record itself.
pub(super) struct JournalLayer {
    log: JournalLog,
}

impl JournalLayer {
    /// The journal, if systemd connected our standard error to it.
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
