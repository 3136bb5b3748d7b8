//! Keeps equal lines from filling the log: see [`crate::logging::repeats`].

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

/// How often is looked for counts to tell.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// What a line is about. One with a number of its own is never folded.
const NUMBER: &str = "number";

/// The lines that were heard. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Fold(Arc<Mutex<Repeats<Line>>>);

/// What is told again of a line.
#[derive(Debug, Clone)]
struct Line {
    level: Level,
    message: String,
    bus: Option<String>,
    device_id: Option<String>,
}

/// What makes two lines equal: where they are said, and their words, with digits left out, which count or measure.
struct Identity {
    hasher: DefaultHasher,
    line: Line,
    is_unique: bool,
}

impl Fold {
    /// Tells from time to time what was counted, and the rest at the stop.
    pub(super) async fn tell(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_some() {
            let counts = self.repeats().due(Instant::now().into_std());
            counts.iter().for_each(tell);
        }
        let counts = self.repeats().rest(Instant::now().into_std());
        counts.iter().for_each(tell);
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(Count { what, count, within }: &Count<Line>) {
    let Line { level, message, bus, device_id } = what;
    let (bus, device_id) = (bus.as_deref(), device_id.as_deref());
    let within_s = within.as_secs();
    match *level {
        Level::ERROR => error!(bus, device_id, count, within_s, "said again: {message}"),
        Level::WARN => warn!(bus, device_id, count, within_s, "said again: {message}"),
        Level::INFO | Level::DEBUG | Level::TRACE => {
            info!(bus, device_id, count, within_s, "said again: {message}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Fold {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Who asks for debug lines wants all of them; and a count is not counted.
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
        is_unique || self.repeats().hear(hasher.finish(), || line, Instant::now().into_std())
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

    /// How often these words are in what `say` says.
    fn count(fold: &Fold, words: &str, say: impl FnOnce()) -> usize {
        let page = Page::default();
        let to_page = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(page.clone());
        let subscriber = tracing_subscriber::registry().with(fold.clone()).with(to_page);
        tracing::subscriber::with_default(subscriber, say);
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        text.matches(words).count()
    }

    #[test]
    fn equal_lines_are_folded_and_others_are_not() {
        let fold = Fold::default();
        let said = count(&fold, "no broker", || {
            for port in 0..20 {
                for bus in ["house1", "house2"] {
                    warn!(bus, port, error = format!("refused by {port}"), "no broker");
                }
            }
        });
        assert_eq!(said, 10, "five of each bus");
        let said =
            count(&fold, "executed", || (0..20).for_each(|number| info!(number, "executed")));
        assert_eq!(said, 20, "each has a number of its own");
        let said = count(&fold, "detail", || (0..20).for_each(|_| debug!("detail")));
        assert_eq!(said, 20, "debug lines are never folded");
        let told = count(&fold, "said again: no broker bus=\"house1\" count=15", || {
            fold.repeats().rest(Instant::now().into_std()).iter().for_each(tell);
        });
        assert_eq!(told, 1);
    }
}
