//! Decides when the failsafe write of an actuator is due.
//!
//! The [`FailsafeTimer`] is a [`Machine`]. Its inputs are the state of the command stream, a
//! finished command and the outcome of a failsafe write. Its only action is the reason for which
//! the failsafe write must be executed now.

use std::time::{Duration, Instant};

use tidegate_model::Write;
use tidegate_timing::machine::Machine;

/// The wait before a failed failsafe write is repeated.
const RETRY_WAIT: Duration = Duration::from_secs(5);

/// The failsafe write of an actuator, and when it is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failsafe {
    /// The write that leaves the output harmless.
    pub write: Write,
    /// How long the command stream may be closed before the write; `None` disables it.
    pub offline_after: Option<Duration>,
    /// Whether it is written when the daemon stops.
    pub at_stop: bool,
    /// How long a command may last unless another one follows: for outputs that must not stay on.
    pub max_on_time: Option<Duration>,
}

/// Why a failsafe write is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailsafeReason {
    /// The last command exceeded [`Failsafe::max_on_time`].
    MaxOnTime,
    /// The command stream was closed for [`Failsafe::offline_after`].
    Offline,
    /// The actuator's task stops.
    Stop,
}

impl FailsafeReason {
    /// Returns the text for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxOnTime => "maximum on-time reached",
            Self::Offline => "no command stream",
            Self::Stop => "stopping",
        }
    }
}

/// The timer of one actuator.
#[derive(Debug)]
pub struct FailsafeTimer {
    offline_after: Option<Duration>,
    at_stop: bool,
    max_on_time: Option<Duration>,
    is_online: bool,
    offline_due: Option<Instant>,
    on_time_due: Option<Instant>,
    /// The reason that `poll_action` returns next.
    action: Option<FailsafeReason>,
}

impl FailsafeTimer {
    /// Creates a timer. Without a failsafe it never returns an action.
    pub fn new(failsafe: Option<&Failsafe>) -> Self {
        Self {
            offline_after: failsafe.and_then(|failsafe| failsafe.offline_after),
            at_stop: failsafe.is_some_and(|failsafe| failsafe.at_stop),
            max_on_time: failsafe.and_then(|failsafe| failsafe.max_on_time),
            is_online: true,
            offline_due: None,
            on_time_due: None,
            action: None,
        }
    }

    /// Starts the offline timer when the command stream closes, and cancels it when it opens.
    pub fn handle_stream(&mut self, is_online: bool, now: Instant) {
        if std::mem::replace(&mut self.is_online, is_online) != is_online {
            self.offline_due = self.offline_after.filter(|_| !is_online).map(|after| now + after);
        }
    }

    /// Starts the on-time timer. A failed command counts too: it may have had an effect.
    pub fn handle_command_run(&mut self, now: Instant) {
        self.on_time_due = self.max_on_time.map(|after| now + after);
    }

    /// Stops both timers after a successful failsafe write. Schedules a retry after a failed one.
    pub fn handle_written(&mut self, is_success: bool, now: Instant) {
        let retry_at = (!is_success).then(|| now + RETRY_WAIT);
        self.offline_due = retry_at.filter(|_| !self.is_online);
        self.on_time_due = retry_at;
    }

    /// Requests the failsafe write if it is due at a stop, or if a command is still in effect.
    pub fn handle_stop(&mut self) {
        if self.at_stop || self.on_time_due.is_some() {
            self.action = Some(FailsafeReason::Stop);
        }
    }
}

impl Machine for FailsafeTimer {
    type Action = FailsafeReason;

    fn handle_timeout(&mut self, now: Instant) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.on_time_due) {
            self.action = Some(FailsafeReason::MaxOnTime);
        } else if is_due(self.offline_due) {
            self.action = Some(FailsafeReason::Offline);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.on_time_due, self.offline_due].into_iter().flatten().min()
    }

    fn poll_action(&mut self) -> Option<FailsafeReason> {
        self.action.take()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const OFFLINE: Duration = Duration::from_secs(60);
    const ON_TIME: Duration = Duration::from_secs(10);

    fn timer(at_stop: bool) -> FailsafeTimer {
        FailsafeTimer::new(Some(&Failsafe {
            write: Write::Serial { bytes: Bytes::from_static(b"OFF\n"), reply: None },
            offline_after: Some(OFFLINE),
            at_stop,
            max_on_time: Some(ON_TIME),
        }))
    }

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the start")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Passes the next timeout to the timer and returns the action with its delay.
    fn next(timer: &mut FailsafeTimer, now: &mut Instant) -> Option<(FailsafeReason, Duration)> {
        let due = timer.poll_timeout()?;
        timer.handle_timeout(due);
        let delay = due - std::mem::replace(now, due);
        timer.poll_action().map(|reason| (reason, delay))
    }

    #[test]
    fn is_due_after_the_time_without_a_stream() {
        let (mut timer, mut now) = (timer(false), start());
        assert_eq!(next(&mut timer, &mut now), None);
        timer.handle_stream(false, now);
        assert_eq!(next(&mut timer, &mut now), Some((FailsafeReason::Offline, OFFLINE)));
        timer.handle_written(true, now);
        assert_eq!(next(&mut timer, &mut now), None, "it is written once");
    }

    #[test]
    fn open_stream_cancels_the_offline_timer() {
        let (mut timer, mut now) = (timer(false), start());
        timer.handle_stream(false, now);
        timer.handle_stream(true, now + OFFLINE / 2);
        assert_eq!(next(&mut timer, &mut now), None);
    }

    #[test]
    fn is_due_after_the_maximum_on_time() {
        let (mut timer, mut now) = (timer(false), start());
        timer.handle_command_run(now);
        timer.handle_command_run(now + ON_TIME / 2);
        let expected = Some((FailsafeReason::MaxOnTime, ON_TIME + ON_TIME / 2));
        assert_eq!(next(&mut timer, &mut now), expected, "the last command counts");
    }

    #[test]
    fn failed_write_is_retried_until_it_succeeds() {
        let (mut timer, mut now) = (timer(false), start());
        timer.handle_command_run(now);
        assert!(next(&mut timer, &mut now).is_some());
        timer.handle_written(false, now);
        let (_, delay) = next(&mut timer, &mut now).unwrap();
        assert_eq!(delay, RETRY_WAIT);
        timer.handle_written(true, now);
        assert_eq!(next(&mut timer, &mut now), None);
    }

    #[test]
    fn stop_writes_if_configured_or_if_a_command_lasts() {
        let mut idle = timer(false);
        idle.handle_stop();
        assert_eq!(idle.poll_action(), None);
        let mut configured = timer(true);
        configured.handle_stop();
        assert_eq!(configured.poll_action(), Some(FailsafeReason::Stop));
        let mut lasting = timer(false);
        lasting.handle_command_run(start());
        lasting.handle_stop();
        assert_eq!(lasting.poll_action(), Some(FailsafeReason::Stop));
    }

    #[test]
    fn actuator_without_failsafe_has_no_timer() {
        let mut timer = FailsafeTimer::new(None);
        timer.handle_stream(false, start());
        timer.handle_command_run(start());
        timer.handle_stop();
        assert_eq!((timer.poll_timeout(), timer.poll_action()), (None, None));
    }
}
