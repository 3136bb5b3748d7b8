//! Decides when a connection is opened again, and which of its losses are logged as warnings.
//!
//! A connection that opens and is lost at once must neither be opened twice a second nor fill the
//! journal: an adapter with a bad cable, a broker that ends each session, or two clients with one
//! id that disconnect each other.

use std::time::Duration;

use tokio::time::Instant;

use crate::{RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN};
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// A connection that lasted this long counts as stable.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The shortest time between two warnings about the same error.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The attempts to keep one connection open.
#[derive(Debug)]
pub(crate) struct Reconnect {
    backoff: Backoff,
    opened: Option<Instant>,
    /// The last warning.
    logged: Option<Logged>,
    /// Whether the connection was open since the last warning.
    was_open: bool,
}

#[derive(Debug)]
struct Logged {
    error: String,
    at: Instant,
}

impl Reconnect {
    /// Starts without a connection and without delay.
    pub(crate) fn new() -> Self {
        let backoff = Backoff::new(RECONNECT_DELAY_MIN, RECONNECT_DELAY_MAX);
        Self { backoff, opened: None, logged: None, was_open: false }
    }

    /// Records that the connection is open.
    pub(crate) fn opened(&mut self) {
        self.opened = Some(Instant::now());
        self.was_open = true;
    }

    /// Records that the connection is lost, or could not be opened.
    ///
    /// Returns whether to log a warning: the error is another one, the connection was stable, or it
    /// was open since the last warning and that is a minute old.
    pub(crate) fn lost(&mut self, error: &str) -> bool {
        let was_stable = self.opened.take().is_some_and(|opened| opened.elapsed() >= STABLE_AFTER);
        if was_stable {
            self.backoff.reset();
        }
        let is_logged = self.logged.as_ref().is_some_and(|logged| {
            let is_recent = logged.at.elapsed() < LOG_INTERVAL;
            logged.error == error && !was_stable && (is_recent || !self.was_open)
        });
        if !is_logged {
            self.logged = Some(Logged { error: error.to_owned(), at: Instant::now() });
            self.was_open = false;
        }
        !is_logged
    }

    /// Returns the delay before the next attempt.
    pub(crate) fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay(&mut random::seeded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn flapping_connection_is_retried_slowly_and_logged_rarely() {
        let mut reconnect = Reconnect::new();
        let (start, mut tries, mut lines) = (Instant::now(), 0, 0);
        while start.elapsed() < Duration::from_secs(600) {
            reconnect.opened();
            lines += u32::from(reconnect.lost("it ended"));
            tokio::time::advance(reconnect.next_delay()).await;
            tries += 1;
        }
        assert!((60..300).contains(&tries), "{tries} tries in ten minutes");
        assert!((8..=10).contains(&lines), "{lines} lines in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn absence_is_logged_once_until_the_connection_was_stable() {
        let mut reconnect = Reconnect::new();
        assert!(reconnect.lost("absent"));
        for _ in 0..100 {
            tokio::time::advance(reconnect.next_delay()).await;
            assert!(!reconnect.lost("absent"));
        }
        assert!(reconnect.lost("busy"));
        reconnect.opened();
        tokio::time::advance(STABLE_AFTER).await;
        assert!(reconnect.lost("busy"));
        assert!(reconnect.next_delay() <= 2 * RECONNECT_DELAY_MIN);
    }
}
