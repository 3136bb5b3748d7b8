//! A progress bar on standard error, shown only on a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// The time between two updates of the bar.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// Counts steps, with or without a known total.
pub(super) struct Progress {
    /// The past participle after the count, such as "exported".
    verb: &'static str,
    done: u64,
    total: Option<u64>,
    /// The time of the last update.
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// Starts a bar with this many steps.
    pub(super) fn with_total(verb: &'static str, total: u64) -> Self {
        Self { total: Some(total), ..Self::without_total(verb) }
    }

    /// Starts a count of an unknown number of steps.
    pub(super) fn without_total(verb: &'static str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { verb, done: 0, total: None, shown: None, is_terminal }
    }

    /// Counts one step.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.is_terminal && self.shown.is_none_or(|shown| shown.elapsed() >= SHOW_INTERVAL) {
            self.shown = Some(Instant::now());
            write(&format!("\r{}\x1b[K", bar(self.verb, self.done, self.total)));
        }
    }

    /// Prints a message above the bar.
    pub(super) fn print(&self, text: &str) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        write(&format!("{clear}{text}\n"));
    }

    /// Removes the bar. Returns the number of steps.
    pub(super) fn finish(self) -> u64 {
        if self.shown.is_some() {
            write("\r\x1b[K");
        }
        self.done
    }
}

fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // A progress bar that cannot be written is no reason to fail.
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).unwrap_or_default();
}

fn bar(verb: &str, done: u64, total: Option<u64>) -> String {
    const WIDTH: u64 = 30;
    let Some(total) = total.filter(|total| *total > 0) else { return format!("{done} {verb}") };
    let done_max = done.min(total);
    let full = usize::try_from(done_max * WIDTH / total).unwrap_or_default();
    let empty = usize::try_from(WIDTH).unwrap_or_default().saturating_sub(full);
    format!("[{}{}] {done} of {total} {verb}", "#".repeat(full), ".".repeat(empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_fills_up_and_stays_full() {
        assert_eq!(bar("done", 0, Some(3)), format!("[{}] 0 of 3 done", ".".repeat(30)));
        assert_eq!(
            bar("done", 1, Some(2)),
            format!("[{}{}] 1 of 2 done", "#".repeat(15), ".".repeat(15))
        );
        assert_eq!(bar("done", 5, Some(3)), format!("[{}] 5 of 3 done", "#".repeat(30)));
        assert_eq!(bar("done", 5, None), "5 done");
    }
}
