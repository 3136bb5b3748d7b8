//! Who makes progress: each task says by when it will be heard again, and the watchdog is fed while all keep their word.
//!
//! Two things are a fault: a poll that does not return, as in an endless loop or a lock that never comes, and a promise that
//! is over, as of a reporter whose call never ends. A task that waits for others promises nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

/// How long one poll of a task may take. Polls take microseconds; a commit to a slow card is no poll but waited for.
const POLL_MAX: Duration = Duration::from_secs(20);

/// The pulses of all tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulses(Arc<Mutex<BTreeMap<String, Beat>>>);

/// The pulse of one task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulse {
    pulses: Pulses,
    name: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Beat {
    /// When the poll began that has not returned.
    polled: Option<Instant>,
    /// By when the task will be heard again.
    promised: Option<Instant>,
}

impl Pulses {
    /// The pulse of a task of this name.
    pub fn of(&self, name: &str) -> Pulse {
        Pulse { pulses: self.clone(), name: name.to_owned() }
    }

    /// The first task that is stuck at `now`, in words.
    pub fn stuck(&self, now: Instant) -> Option<String> {
        self.beats().iter().find_map(|(name, beat)| {
            let is_busy = beat.polled.is_some_and(|since| now.duration_since(since) > POLL_MAX);
            let is_late = beat.promised.is_some_and(|by| now > by);
            match (is_busy, is_late) {
                (true, _) => Some(format!("task {name} has not yielded for {POLL_MAX:?}")),
                (false, true) => Some(format!("task {name} is overdue")),
                (false, false) => None,
            }
        })
    }

    /// Runs a task so that its polls are timed.
    pub async fn watched(self, name: String, task: impl Future<Output = ()> + Send) {
        let pulse = self.of(&name);
        let mut task = std::pin::pin!(task);
        std::future::poll_fn(|context| pulse.poll(task.as_mut(), context)).await;
        self.beats().remove(&name);
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<String, Beat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The task will be heard again within this time, however things go.
    pub fn promise(&self, within: Duration) {
        self.change(|beat| beat.promised = Some(Instant::now() + within));
    }

    /// The task waits for others, for as long as they like.
    pub fn rest(&self) {
        self.change(|beat| beat.promised = None);
    }

    fn poll(
        &self,
        task: Pin<&mut impl Future<Output = ()>>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.change(|beat| beat.polled = Some(Instant::now()));
        let polled = task.poll(context);
        self.change(|beat| beat.polled = None);
        polled
    }

    fn change(&self, change: impl FnOnce(&mut Beat)) {
        change(self.pulses.beats().entry(self.name.clone()).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_broken_promise_is_told_until_it_is_kept() {
        let pulses = Pulses::default();
        let reporter = pulses.of("reporter");
        reporter.promise(Duration::from_secs(40));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(pulses.stuck(Instant::now()), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(pulses.stuck(Instant::now()).as_deref(), Some("task reporter is overdue"));
        reporter.rest();
        assert_eq!(pulses.stuck(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_does_not_return_is_told_and_a_task_that_waits_is_not() {
        let pulses = Pulses::default();
        let (sender, wait) = tokio::sync::oneshot::channel::<()>();
        let task = {
            let pulses = pulses.clone();
            async move {
                wait.await.unwrap();
                tokio::time::advance(POLL_MAX + Duration::from_millis(1)).await;
                assert_eq!(pulses.stuck(Instant::now()), None, "a wait counts as a poll");
            }
        };
        let watched = pulses.clone().watched("idle".to_owned(), task);
        tokio::join!(watched, async { sender.send(()).unwrap() });

        pulses.of("wedged").change(|beat| beat.polled = Some(Instant::now()));
        let later = Instant::now() + POLL_MAX + Duration::from_millis(1);
        let told = pulses.stuck(later).unwrap();
        assert_eq!(told, "task wedged has not yielded for 20s");
    }
}
