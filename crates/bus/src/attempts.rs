//! How often a connection is tried again, and which of its losses are worth a line.
//!
//! One that opens and is lost at once, again and again, must neither be opened twice a second nor fill the journal: an adapter
//! with a bad cable, a broker that ends each session, or two clients with one id that push each other out.

use std::time::Duration;

use tokio::time::Instant;

use super::RECONNECT_WAIT;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// A connection that lasted so long was well.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// Between two lines about the same trouble.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// The attempts at one connection.
#[derive(Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    opened: Option<Instant>,
    told: Option<(String, Instant)>,
    /// Whether it was there since the last line.
    is_again: bool,
}

impl Attempts {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(RECONNECT_WAIT.0, RECONNECT_WAIT.1);
        Self { backoff, opened: None, told: None, is_again: false }
    }

    /// The connection is there.
    pub(super) fn opened(&mut self) {
        self.opened = Some(Instant::now());
        self.is_again = true;
    }

    /// The connection is not there. `true` if that is worth a line: it is another trouble, or it came back since, and the last
    /// line is not of this minute.
    pub(super) fn lost(&mut self, trouble: &str) -> bool {
        let lasted = self.opened.take().map(|opened| opened.elapsed());
        let was_well = lasted.is_some_and(|lasted| lasted >= WELL_AFTER);
        if was_well {
            self.backoff.reset();
        }
        let is_told = self.told.as_ref().is_some_and(|(told, at)| {
            let is_early = at.elapsed() < TELL_INTERVAL;
            told == trouble && !was_well && (is_early || !self.is_again)
        });
        if !is_told {
            self.told = Some((trouble.to_owned(), Instant::now()));
            self.is_again = false;
        }
        !is_told
    }

    /// How long to wait before the next.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay(&mut random::seeded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_opens_and_is_lost_at_once_is_tried_less_often_and_told_once_a_minute() {
        let mut attempts = Attempts::new();
        let (start, mut tries, mut lines) = (Instant::now(), 0, 0);
        while start.elapsed() < Duration::from_secs(600) {
            attempts.opened();
            lines += u32::from(attempts.lost("it ended"));
            tokio::time::advance(attempts.next_delay()).await;
            tries += 1;
        }
        assert!((60..300).contains(&tries), "{tries} tries in ten minutes");
        assert!((8..=10).contains(&lines), "{lines} lines in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_absent_is_told_once_and_again_after_it_was_well() {
        let mut attempts = Attempts::new();
        assert!(attempts.lost("absent"));
        for _ in 0..100 {
            tokio::time::advance(attempts.next_delay()).await;
            assert!(!attempts.lost("absent"));
        }
        assert!(attempts.lost("busy"));
        attempts.opened();
        tokio::time::advance(WELL_AFTER).await;
        assert!(attempts.lost("busy"));
        assert!(attempts.next_delay() <= 2 * RECONNECT_WAIT.0);
    }
}
