//! What an instrument on a serial line is asked.

use tokio::time::Instant;
use tracing::{info, warn};

use super::tty::Tty;
use tidegate_config::SerialPoll;
use tidegate_ingest::serial_poll::{PollAction, PollSchedule, PollTiming};
use tidegate_model::Name;
use tidegate_timing::machine::Machine as _;

/// The questions of one line, if it is asked any.
#[derive(Debug)]
pub(super) struct Questions<'a> {
    bus: Name,
    poll: Option<&'a SerialPoll>,
    schedule: PollSchedule,
    /// Whether the silence of the instrument was told.
    is_silent: bool,
}

impl<'a> Questions<'a> {
    pub(super) fn new(bus: Name, poll: Option<&'a SerialPoll>) -> Self {
        let count = poll.map_or(0, |poll| poll.questions.len());
        let [interval, timeout, gap] =
            poll.map(|poll| [poll.interval, poll.timeout, poll.gap]).unwrap_or_default();
        let schedule = PollSchedule::new(count, PollTiming { interval, timeout, gap }, now());
        Self { bus, poll, schedule, is_silent: false }
    }

    /// When [`Questions::proceed`] is to be called next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.poll_timeout().map(Instant::from_std)
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.schedule.is_awaiting()
    }

    /// Asks what is due, or tells that an answer is overdue. `Err` when the line is broken.
    pub(super) async fn proceed(&mut self, tty: &mut Tty) -> Result<(), String> {
        self.schedule.handle_timeout(now());
        match self.schedule.poll_action() {
            Some(PollAction::Send(index)) => {
                let question = self.poll.and_then(|poll| poll.questions.get(index));
                tty.send(question.map_or(&[][..], |question| question)).await
            }
            Some(PollAction::ReportTimeout(index)) => {
                if !std::mem::replace(&mut self.is_silent, true) {
                    warn!(bus = %self.bus, question = index, "the instrument does not answer; see poll_timeout");
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Records a message of the instrument.
    pub(super) fn handle_answer(&mut self) {
        if self.schedule.handle_message(now()) && std::mem::take(&mut self.is_silent) {
            info!(bus = %self.bus, "the instrument answers again");
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
