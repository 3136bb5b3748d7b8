//! Detects stuck tasks. The daemon feeds the watchdog while no task is stuck.
//!
//! A task is stuck if one of its polls does not return, for example in an endless loop, or if a
//! deadline of its work has passed, for example of a call to the cloud. A task that waits for other
//! tasks sets no deadline.
//!
//! [`with_deadline`] wraps work that must end by itself. It finds the current task in a task-local
//! variable, so callers need not pass it on. Outside of a supervised task it does nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

/// The longest time of one poll. A poll takes microseconds; slow disk writes run outside of polls.
const POLL_MAX: Duration = Duration::from_secs(20);

/// The longest time by which work may exceed its own timeout.
pub const LATE_MAX: Duration = Duration::from_secs(60);

/// The longest time of work that waits for the disk.
///
/// A healthy SD card stalls for seconds, a failing card for a minute.
pub const DISK_MAX: Duration = Duration::from_secs(10 * 60);

/// The longest time of one call to the cloud.
///
/// Authentication, the call and a retry of both take 40 minutes at the longest timeouts that can be
/// configured.
pub const CALL_MAX: Duration = Duration::from_secs(60 * 60);

/// Tracks the liveness of all tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<String, TaskState>>>);

/// Tracks the liveness of one task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TaskLiveness {
    liveness: Liveness,
    name: String,
}

#[derive(Debug, Default)]
struct TaskState {
    /// The start of the poll that has not returned yet.
    polled: Option<Instant>,
    /// The deadlines of the task's work, by number.
    deadlines: BTreeMap<u64, Deadline>,
    /// The number of the last deadline.
    last: u64,
}

#[derive(Debug)]
struct Deadline {
    work: &'static str,
    at: Instant,
}

tokio::task_local! {
    static CURRENT_TASK: TaskLiveness;
}

/// Keeps a deadline until it is dropped, when the work has ended or was cancelled.
#[derive(Debug)]
#[must_use]
pub struct DeadlineGuard(Option<(TaskLiveness, u64)>);

/// Runs some work with a deadline.
///
/// The task counts as stuck after `limit`. So `limit` must be far above the work's own timeouts.
pub async fn with_deadline<T>(
    limit: Duration,
    work: &'static str,
    future: impl IntoFuture<Output = T>,
) -> T {
    let _guard = deadline(limit, work);
    future.await
}

/// Sets a deadline for some work, until the result is dropped.
pub fn deadline(limit: Duration, work: &'static str) -> DeadlineGuard {
    let task_liveness = CURRENT_TASK.try_with(Clone::clone).ok();
    DeadlineGuard(task_liveness.map(|task_liveness| {
        let number = task_liveness.deadline(limit, work);
        (task_liveness, number)
    }))
}

impl Drop for DeadlineGuard {
    fn drop(&mut self) {
        if let Some((task_liveness, number)) = self.0.take() {
            // An aborted task has no entry any more.
            if let Some(state) = task_liveness.liveness.tasks().get_mut(&task_liveness.name) {
                state.deadlines.remove(&number);
            }
        }
    }
}

impl Liveness {
    /// Returns the liveness of the task `name`.
    pub fn task(&self, name: &str) -> TaskLiveness {
        TaskLiveness { liveness: self.clone(), name: name.to_owned() }
    }

    /// Describes the first task that is stuck at `now`.
    pub fn stuck(&self, now: Instant) -> Option<String> {
        self.tasks().iter().find_map(|(name, state)| {
            let is_busy = state.polled.is_some_and(|since| now.duration_since(since) > POLL_MAX);
            let late = state.deadlines.values().find(|deadline| now > deadline.at);
            match (is_busy, late) {
                (true, _) => Some(format!("task {name} has not yielded for {POLL_MAX:?}")),
                (false, Some(late)) => Some(format!("task {name} is overdue: {}", late.work)),
                (false, None) => None,
            }
        })
    }

    /// Runs a task and measures its polls.
    pub async fn watched(self, name: String, task: impl Future<Output = ()> + Send) {
        let task_liveness = self.task(&name);
        let mut task = std::pin::pin!(CURRENT_TASK.scope(task_liveness.clone(), task));
        std::future::poll_fn(|context| task_liveness.poll(task.as_mut(), context)).await;
        self.tasks().remove(&name);
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<String, TaskState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskLiveness {
    fn deadline(&self, limit: Duration, work: &'static str) -> u64 {
        let at = Instant::now() + limit;
        let mut number = 0;
        self.change(|state| {
            state.last += 1;
            number = state.last;
            state.deadlines.insert(number, Deadline { work, at });
        });
        number
    }

    fn poll(
        &self,
        task: Pin<&mut impl Future<Output = ()>>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.change(|state| state.polled = Some(Instant::now()));
        let polled = task.poll(context);
        self.change(|state| state.polled = None);
        polled
    }

    fn change(&self, change: impl FnOnce(&mut TaskState)) {
        change(self.liveness.tasks().entry(self.name.clone()).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn reports_overdue_work_until_it_is_cancelled() {
        let liveness = Liveness::default();
        let hung = async {
            let call = with_deadline(40 * SECOND, "a call", std::future::pending::<()>());
            drop(tokio::time::timeout(60 * SECOND, call).await);
            assert_eq!(liveness.stuck(Instant::now()), None, "the work was cancelled");
        };
        let watch = async {
            tokio::time::sleep(40 * SECOND).await;
            assert_eq!(liveness.stuck(Instant::now()), None);
            tokio::time::sleep(SECOND).await;
            let report = liveness.stuck(Instant::now());
            assert_eq!(report.as_deref(), Some("task reporter is overdue: a call"));
        };
        tokio::join!(liveness.clone().watched("reporter".to_owned(), hung), watch);
    }

    #[tokio::test(start_paused = true)]
    async fn checks_each_deadline_of_a_task() {
        let liveness = Liveness::default();
        let busy = async {
            let (first, second) = (deadline(10 * SECOND, "first"), deadline(20 * SECOND, "second"));
            tokio::time::advance(15 * SECOND).await;
            let report = || liveness.stuck(Instant::now());
            assert_eq!(report().as_deref(), Some("task busy is overdue: first"));
            drop(first);
            assert_eq!(report(), None);
            tokio::time::advance(6 * SECOND).await;
            assert_eq!(report().as_deref(), Some("task busy is overdue: second"));
            drop(second);
        };
        liveness.clone().watched("busy".to_owned(), busy).await;
        assert_eq!(with_deadline(SECOND, "outside of a task", async { 7 }).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn reports_a_stuck_poll_but_not_a_wait() {
        let liveness = Liveness::default();
        let (sender, wait) = tokio::sync::oneshot::channel::<()>();
        let task = {
            let liveness = liveness.clone();
            async move {
                wait.await.unwrap();
                tokio::time::advance(POLL_MAX + Duration::from_millis(1)).await;
                assert_eq!(liveness.stuck(Instant::now()), None, "a wait counts as a poll");
            }
        };
        let watched = liveness.clone().watched("idle".to_owned(), task);
        tokio::join!(watched, async { sender.send(()).unwrap() });

        liveness.task("wedged").change(|state| state.polled = Some(Instant::now()));
        let later = Instant::now() + POLL_MAX + Duration::from_millis(1);
        let report = liveness.stuck(later).unwrap();
        assert_eq!(report, "task wedged has not yielded for 20s");
    }
}
