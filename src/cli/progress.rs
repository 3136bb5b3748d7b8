//! How far something is, on standard error while a person looks at it.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// Between two looks; more often nobody can read.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// Steps of something, with or without a known end.
pub(super) struct Progress {
    deed: &'static str,
    done: u64,
    end: Option<u64>,
    shown: Option<Instant>,
    is_seen: bool,
}

impl Progress {
    /// With so many steps.
    pub(super) fn of(deed: &'static str, end: u64) -> Self {
        Self { end: Some(end), ..Self::without_end(deed) }
    }

    /// Nobody knows how many.
    pub(super) fn without_end(deed: &'static str) -> Self {
        Self { deed, done: 0, end: None, shown: None, is_seen: std::io::stderr().is_terminal() }
    }

    /// One more is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.is_seen && self.shown.is_none_or(|shown| shown.elapsed() >= SHOW_INTERVAL) {
            self.shown = Some(Instant::now());
            write(&format!("\r{}\x1b[K", bar(self.deed, self.done, self.end)));
        }
    }

    /// Says something beside it.
    pub(super) fn tell(&self, words: &str) {
        let clear = if self.is_seen { "\r\x1b[K" } else { "" };
        write(&format!("{clear}{words}\n"));
    }

    /// Takes it away. Returns how many steps were done.
    pub(super) fn finish(self) -> u64 {
        if self.shown.is_some() {
            write("\r\x1b[K");
        }
        self.done
    }
}

fn write(words: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody misses it where it cannot be written.
    stderr.write_all(words.as_bytes()).and_then(|()| stderr.flush()).unwrap_or_default();
}

fn bar(deed: &str, done: u64, end: Option<u64>) -> String {
    const WIDTH: u64 = 30;
    let Some(end) = end.filter(|end| *end > 0) else { return format!("{done} {deed}") };
    let done_max = done.min(end);
    let full = usize::try_from(done_max * WIDTH / end).unwrap_or_default();
    let empty = usize::try_from(WIDTH).unwrap_or_default().saturating_sub(full);
    format!("[{}{}] {done} of {end} {deed}", "#".repeat(full), ".".repeat(empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up_and_stays_full() {
        assert_eq!(bar("done", 0, Some(3)), format!("[{}] 0 of 3 done", ".".repeat(30)));
        assert_eq!(
            bar("done", 1, Some(2)),
            format!("[{}{}] 1 of 2 done", "#".repeat(15), ".".repeat(15))
        );
        assert_eq!(bar("done", 5, Some(3)), format!("[{}] 5 of 3 done", "#".repeat(30)));
        assert_eq!(bar("done", 5, None), "5 done");
    }
}
