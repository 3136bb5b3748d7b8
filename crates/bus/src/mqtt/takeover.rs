//! Detects another client with the same client id.
//!
//! A broker ends a session when another client connects with its client id (MQTT 3.1.1, 3.1.4; MQTT
//! 5, 3.1.4). Two such clients end the sessions of each other again and again. An MQTT 5 broker
//! names the reason. An MQTT 3.1.1 broker only closes the connection, so several sessions must end
//! soon after they began.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::client::ConnectionError;
use crate::BusContext;

/// The number of short sessions in [`PERIOD`] that show another client, with MQTT 3.1.1.
const SHORT_SESSIONS: usize = 3;

/// How long a session must last to show that there is no other client.
///
/// Another tidegate waits at most 10 s before it connects again.
const LASTING: Duration = Duration::from_secs(20);

/// The period in which short sessions are counted.
const PERIOD: Duration = Duration::from_secs(120);

/// Counts the sessions of one bus that the broker ended soon.
#[derive(Debug, Default)]
pub(super) struct TakeoverDetector {
    /// The ends of short sessions in the last [`PERIOD`]; [`SHORT_SESSIONS`] at most.
    ends: VecDeque<Instant>,
    /// When the present session began to run.
    began: Option<Instant>,
    is_reported: bool,
}

impl TakeoverDetector {
    /// Runs a session. If it lasts, reports that there is no other client.
    pub(super) async fn watch<T>(
        &mut self,
        context: &BusContext,
        session: impl Future<Output = T>,
    ) -> T {
        self.began = Some(Instant::now());
        let mut session = pin!(session);
        tokio::select! {
            end = &mut session => return end,
            () = tokio::time::sleep(LASTING) => {}
        }
        self.ends.clear();
        if std::mem::take(&mut self.is_reported) {
            context.monitor.set_session_conflict(&context.bus, None);
        }
        session.await
    }

    /// Judges the end of a session that the broker had accepted.
    pub(super) fn handle_lost(
        &mut self,
        context: &BusContext,
        error: &ConnectionError,
        client_id: &str,
    ) {
        let is_named = matches!(error, ConnectionError::TakenOver);
        if !is_named && !self.count_end(error, Instant::now()) {
            return;
        }
        self.is_reported = true;
        let evidence = if is_named {
            format!("another client with the id \"{client_id}\" took the session over")
        } else {
            format!(
                "the broker ended {SHORT_SESSIONS} sessions soon after it had accepted them; \
                 another client probably has the id \"{client_id}\""
            )
        };
        context.monitor.set_session_conflict(&context.bus, Some(&evidence));
    }

    /// Counts a session that the broker closed. Returns whether too many of them were short.
    fn count_end(&mut self, error: &ConnectionError, now: Instant) -> bool {
        let is_short = self.began.is_some_and(|began| now.duration_since(began) < LASTING);
        if !error.is_closed_by_broker() || !is_short {
            return false;
        }
        self.ends.retain(|end| now.duration_since(*end) < PERIOD);
        self.ends.truncate(SHORT_SESSIONS - 1);
        self.ends.push_front(now);
        self.ends.len() == SHORT_SESSIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> ConnectionError {
        let aborted = rumqttc::StateError::ConnectionAborted;
        ConnectionError::V3(Box::new(rumqttc::ConnectionError::MqttState(aborted)))
    }

    #[tokio::test(start_paused = true)]
    async fn three_short_sessions_show_another_client() {
        let mut detector = TakeoverDetector::default();
        let mut lose = |seconds, error: &ConnectionError| {
            let began = Instant::now();
            detector.began = Some(began);
            detector.count_end(error, began + Duration::from_secs(seconds))
        };
        assert!(!lose(1, &closed()));
        assert!(!lose(30, &closed()), "a long session");
        assert!(!lose(1, &ConnectionError::Refused), "not closed by the broker");
        assert!(!lose(1, &closed()));
        assert!(lose(1, &closed()));
        tokio::time::advance(PERIOD * 2).await;
        assert!(!lose(1, &closed()), "the others are old");
    }
}
