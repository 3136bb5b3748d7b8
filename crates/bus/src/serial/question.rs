//! What an instrument on a serial line is asked.

use tokio::time::Instant;
use tracing::{info, warn};

use super::tty::Tty;
use tidegate_config::SerialPoll;
use tidegate_ingest::serial_poll::{Asker, Turn};
use tidegate_model::Name;

/// The questions of one line, if it is asked any.
#[derive(Debug)]
pub(super) struct Questions<'a> {
    bus: Name,
    poll: Option<&'a SerialPoll>,
    asker: Asker,
    /// Whether the silence of the instrument was told.
    is_silent: bool,
}

impl<'a> Questions<'a> {
    pub(super) fn new(bus: Name, poll: Option<&'a SerialPoll>) -> Self {
        let count = poll.map_or(0, |poll| poll.questions.len());
        let timing = poll.map(|poll| (poll.interval, poll.timeout, poll.gap)).unwrap_or_default();
        let asker = Asker::new(count, timing, now());
        Self { bus, poll, asker, is_silent: false }
    }

    /// When [`Questions::proceed`] is to be called next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asker.poll_timeout().map(Instant::from_std)
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.asker.is_awaiting()
    }

    /// Asks what is due, or tells that an answer is overdue. `Err` when the line is broken.
    pub(super) async fn proceed(&mut self, tty: &mut Tty) -> Result<(), String> {
        match self.asker.handle_timeout(now()) {
            Some(Turn::Ask(index)) => {
                let question = self.poll.and_then(|poll| poll.questions.get(index));
                tty.send(question.map_or(&[][..], |question| question)).await
            }
            Some(Turn::Missed(index)) => {
                if !std::mem::replace(&mut self.is_silent, true) {
                    warn!(bus = %self.bus, question = index, "the instrument does not answer; see poll_timeout");
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The instrument said something.
    pub(super) fn hear(&mut self) {
        if self.asker.handle_answer(now()) && std::mem::take(&mut self.is_silent) {
            info!(bus = %self.bus, "the instrument answers again");
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
