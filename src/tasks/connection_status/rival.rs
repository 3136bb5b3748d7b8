//! Decides from the connection log whether another client reports for the device of this gateway.
//!
//! Losant accepts several clients with one device id. Each reports itself as connected, which adds
//! an entry to the connection log (`setConnectionStatus`). If the latest entry is not the one that
//! this gateway caused, another client has reported. The gateway then reports again, at most once
//! in [`REPORT_INTERVAL`]. So the other client can notice it, too, and its end is visible: the new
//! entry stays the latest one.

use std::time::Duration;

use tidegate_losant::ConnectionEntry;
use tokio::time::Instant;

/// The wait between two reads of the log after the start and after each change.
const READ_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// How long the log is read that often: 12 reads.
const ALERT_PERIOD: Duration = Duration::from_secs(120);

/// The wait between two reads of the log at other times.
const READ_INTERVAL_MAX: Duration = Duration::from_secs(600);

/// The shortest time between two reports because of another client. Losant counts each as a
/// payload.
const REPORT_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// How long the own entry must be the latest to show that the other client is gone. The other
/// client may be a tidegate that reads and reports as rarely.
const UNDISTURBED_MIN: Duration = Duration::from_secs(30 * 60);

/// What to do after a read of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// Read again later.
    Wait,
    /// Report the gateway as connected again.
    Report,
}

/// Compares the latest entry of the connection log with the own one.
#[derive(Debug)]
pub(super) struct RivalDetector {
    /// The entry that this gateway caused; `None` until it is read.
    own: Option<ConnectionEntry>,
    /// The latest entry of another client.
    foreign: Option<ConnectionEntry>,
    /// When the entry of another client was last seen as the latest.
    foreign_at: Option<Instant>,
    /// The last report because of another client.
    reported_at: Option<Instant>,
    /// The start, or the last change.
    changed_at: Instant,
}

impl RivalDetector {
    pub(super) fn new(now: Instant) -> Self {
        Self { own: None, foreign: None, foreign_at: None, reported_at: None, changed_at: now }
    }

    /// Records that this gateway has reported itself as connected.
    pub(super) fn handle_report(&mut self, now: Instant) {
        self.own = None;
        self.changed_at = now;
    }

    /// Judges the latest entry of the log.
    pub(super) fn handle_read(&mut self, entry: ConnectionEntry, now: Instant) -> Advice {
        let Some(own) = &self.own else {
            // The own report cannot be distinguished from one that came right after it. The next
            // report of the other client is visible.
            self.own = Some(entry);
            return Advice::Wait;
        };
        if entry == *own {
            if self.foreign_at.is_some_and(|at| now.duration_since(at) >= UNDISTURBED_MIN) {
                self.forget();
            }
            return Advice::Wait;
        }
        if self.foreign.as_ref() != Some(&entry) {
            self.changed_at = now;
        }
        if entry.is_connected {
            (self.foreign, self.foreign_at) = (Some(entry), Some(now));
        } else {
            // The other client has stopped, and Losant shows the gateway as disconnected.
            self.forget();
        }
        let may_report =
            self.reported_at.is_none_or(|at| now.duration_since(at) >= REPORT_INTERVAL);
        // A stop is reported at once, but a client that starts again and again is not followed.
        let is_due = may_report || self.foreign.is_none() && self.is_calm(now);
        if !is_due {
            return Advice::Wait;
        }
        self.reported_at = Some(now);
        Advice::Report
    }

    fn forget(&mut self) {
        (self.foreign, self.foreign_at) = (None, None);
    }

    /// Returns whether the last report is at least one read ago.
    fn is_calm(&self, now: Instant) -> bool {
        self.reported_at.is_none_or(|at| now.duration_since(at) >= READ_INTERVAL_MIN)
    }

    /// Returns the wait before the next read.
    pub(super) fn read_interval(&self, now: Instant) -> Duration {
        let is_alert = now.duration_since(self.changed_at) < ALERT_PERIOD;
        if is_alert { READ_INTERVAL_MIN } else { READ_INTERVAL_MAX }
    }

    /// Returns how it shows that another client reports for the device.
    pub(super) fn evidence(&self) -> Option<String> {
        self.foreign_at?;
        let time = self.foreign.as_ref().map(|entry| entry.time.as_str()).unwrap_or_default();
        Some(format!("another client reported this device as connected at {time}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn entry(time: u32, is_connected: bool) -> ConnectionEntry {
        ConnectionEntry { time: time.to_string(), is_connected }
    }

    #[tokio::test(start_paused = true)]
    async fn foreign_entry_shows_another_client_until_its_end() {
        let mut now = Instant::now();
        let mut detector = RivalDetector::new(now);
        assert_eq!(detector.handle_read(entry(1, true), now), Advice::Wait);
        assert_eq!(detector.handle_read(entry(1, true), now), Advice::Wait);
        assert_eq!(detector.evidence(), None);
        assert_eq!(detector.handle_read(entry(2, true), now), Advice::Report);
        detector.handle_report(now);
        assert!(detector.evidence().is_some());
        now += 10 * SECOND;
        assert_eq!(detector.handle_read(entry(3, true), now), Advice::Wait, "the own report");
        assert_eq!(detector.handle_read(entry(4, true), now), Advice::Wait, "too early");
        assert!(detector.evidence().is_some());
        now += 10 * SECOND;
        assert_eq!(detector.handle_read(entry(5, false), now), Advice::Report);
        assert_eq!(detector.evidence(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn undisturbed_entry_shows_that_the_other_client_is_gone() {
        let mut now = Instant::now();
        let mut detector = RivalDetector::new(now);
        detector.handle_read(entry(1, true), now);
        detector.handle_read(entry(2, true), now);
        detector.handle_report(now);
        detector.handle_read(entry(3, true), now);
        now += UNDISTURBED_MIN / 2;
        detector.handle_read(entry(3, true), now);
        assert!(detector.evidence().is_some());
        detector.handle_read(entry(3, true), now + UNDISTURBED_MIN / 2);
        assert_eq!(detector.evidence(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn two_gateways_report_rarely() {
        let mut now = Instant::now();
        let mut detector = RivalDetector::new(now);
        let (mut reports, mut reads, start) = (0, 0, now);
        while now - start < Duration::from_secs(24 * 3_600) {
            reads += 1;
            if detector.handle_read(entry(reads, reads % 3 > 0), now) == Advice::Report {
                reports += 1;
                detector.handle_report(now);
            }
            now += detector.read_interval(now);
        }
        assert!(reports < 6 * 24 * 60, "{reports} reports in {reads} reads");
    }
}
