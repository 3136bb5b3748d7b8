//! Suppresses repeated lines, so that they do not fill the log: see [`crate::logging::repeats`].

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, error, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::logging::repeats::{Count, Repeats};

/// The interval between two reports of suppressed lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// The field that makes a line unique. A line with this field is never suppressed.
const NUMBER: &str = "number";

/// Counts repeated lines and suppresses them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Suppressor(Arc<Mutex<Repeats<Line>>>);

/// The parts of a line that a report repeats.
#[derive(Debug, Clone)]
struct Line {
    level: Level,
    message: String,
    bus: Option<String>,
    device_id: Option<String>,
}

/// The identity of a line: its place in the source and its text without digits, which count or
/// measure.
struct Identity {
    hasher: DefaultHasher,
    line: Line,
    is_unique: bool,
}

impl Suppressor {
    /// Reports the counts at intervals, and the rest at the stop.
    pub(super) async fn report(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(REPORT_INTERVAL)).await.is_some() {
            let counts = self.repeats().due(Instant::now().into_std());
            counts.iter().for_each(report);
        }
        let counts = self.repeats().rest(Instant::now().into_std());
        counts.iter().for_each(report);
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(Count { line, suppressed: count, within }: &Count<Line>) {
    let Line { level, message, bus, device_id } = line;
    let (bus, device_id) = (bus.as_deref(), device_id.as_deref());
    let within_s = within.as_secs();
    match *level {
        Level::ERROR => error!(bus, device_id, count, within_s, "repeated: {message}"),
        Level::WARN => warn!(bus, device_id, count, within_s, "repeated: {message}"),
        Level::INFO | Level::DEBUG | Level::TRACE => {
            info!(bus, device_id, count, within_s, "repeated: {message}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Suppressor {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Debug lines are never suppressed, nor are the reports.
        if *metadata.level() > Level::INFO || metadata.target() == module_path!() {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        metadata.callsite().hash(&mut hasher);
        let (message, level) = (String::new(), *metadata.level());
        let line = Line { level, message, bus: None, device_id: None };
        let mut identity = Identity { hasher, line, is_unique: false };
        event.record(&mut identity);
        let Identity { hasher, line, is_unique } = identity;
        is_unique || self.repeats().admit(hasher.finish(), || line, Instant::now().into_std())
    }
}

impl Identity {
    fn take(&mut self, field: &Field, text: String) {
        field.name().hash(&mut self.hasher);
        text.bytes()
            .filter(|byte| !byte.is_ascii_digit())
            .for_each(|byte| self.hasher.write_u8(byte));
        match field.name() {
            "message" => self.line.message = text,
            "bus" => {
                // Names may differ by a digit alone.
                text.hash(&mut self.hasher);
                self.line.bus = Some(text);
            }
            "device_id" => {
                text.hash(&mut self.hasher);
                self.line.device_id = Some(text);
            }
            "device" | "sensor" | "actuator" | "path" | "subject" => text.hash(&mut self.hasher),
            NUMBER => self.is_unique = true,
            _ => {}
        }
    }
}

impl Visit for Identity {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing::debug;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// Counts a text in the lines that `log` logs.
    fn count(suppressor: &Suppressor, text: &str, log: impl FnOnce()) -> usize {
        let page = Page::default();
        let to_page = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(page.clone());
        let subscriber = tracing_subscriber::registry().with(suppressor.clone()).with(to_page);
        tracing::subscriber::with_default(subscriber, log);
        let logged = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        logged.matches(text).count()
    }

    #[test]
    fn suppresses_only_repeated_lines() {
        let suppressor = Suppressor::default();
        let logged = count(&suppressor, "no broker", || {
            for port in 0..20 {
                for bus in ["house1", "house2"] {
                    warn!(bus, port, error = format!("refused by {port}"), "no broker");
                }
            }
        });
        assert_eq!(logged, 10, "five of each bus");
        let logged =
            count(&suppressor, "executed", || (0..20).for_each(|number| info!(number, "executed")));
        assert_eq!(logged, 20, "each has a number of its own");
        let logged = count(&suppressor, "detail", || (0..20).for_each(|_| debug!("detail")));
        assert_eq!(logged, 20, "debug lines are never suppressed");
        let reported = count(&suppressor, "repeated: no broker bus=\"house1\" count=15", || {
            suppressor.repeats().rest(Instant::now().into_std()).iter().for_each(report);
        });
        assert_eq!(reported, 1);
    }
}
