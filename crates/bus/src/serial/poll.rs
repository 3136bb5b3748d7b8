//! Polls an instrument that sends only on request.

use std::io;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Exchange, now};
use tidegate_config::SerialPoll;
use tidegate_ingest::serial_poll::{PollAction, PollSchedule, PollTiming};
use tidegate_model::Name;
use tidegate_timing::machine::Machine as _;

/// Sends the requests of one line, if it has any.
#[derive(Debug)]
pub(super) struct Poller<'a> {
    bus: Name,
    poll: Option<&'a SerialPoll>,
    schedule: PollSchedule,
    /// Whether the missing replies were logged.
    is_silent: bool,
}

impl<'a> Poller<'a> {
    pub(super) fn new(bus: Name, poll: Option<&'a SerialPoll>) -> Self {
        let count = poll.map_or(0, |poll| poll.questions.len());
        let [interval, timeout, gap] =
            poll.map(|poll| [poll.interval, poll.timeout, poll.gap]).unwrap_or_default();
        let schedule = PollSchedule::new(count, PollTiming { interval, timeout, gap }, now());
        Self { bus, poll, schedule, is_silent: false }
    }

    /// Returns the time of the next [`Poller::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.poll_timeout().map(Instant::from_std)
    }

    /// Returns whether a reply is due.
    pub(super) fn is_awaiting(&self) -> bool {
        self.schedule.is_awaiting()
    }

    /// Records bytes of the instrument, which may have left a frame partial.
    pub(super) fn handle_bytes(&mut self, is_partial: bool) {
        self.schedule.handle_bytes(is_partial, now());
    }

    /// Sends the request that is due, or logs a missing reply. Both drop what has arrived of an
    /// earlier reply.
    ///
    /// # Errors
    /// If the line is lost.
    pub(super) async fn handle_timeout(&mut self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        self.schedule.handle_timeout(now());
        match self.schedule.poll_action() {
            Some(PollAction::Send(index)) => {
                let request = self.poll.and_then(|poll| poll.questions.get(index)).cloned();
                exchange.ask(&request.unwrap_or_default()).await
            }
            Some(PollAction::ReportTimeout(index)) => {
                if !std::mem::replace(&mut self.is_silent, true) {
                    warn!(
                        bus = %self.bus,
                        request = index,
                        "the instrument does not answer; see poll_timeout"
                    );
                }
                exchange.drop_partial()
            }
            None => Ok(()),
        }
    }

    /// Takes a frame for the reply that is due, if one is. Returns its topic.
    pub(super) fn handle_frame(&mut self) -> &'a str {
        let asked = self.schedule.unanswered();
        let topic = self.poll.zip(asked).and_then(|(poll, index)| poll.topics.get(index));
        if self.schedule.handle_message(now()) && std::mem::take(&mut self.is_silent) {
            info!(bus = %self.bus, "the instrument answers again");
        }
        topic.map_or("", String::as_str)
    }
}
