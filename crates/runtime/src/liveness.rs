//! Who makes progress: a task says by when a piece of work will be done, and the watchdog is fed while all keep their word.
//!
//! Two things are a fault: a poll that does not return, as in an endless loop or a lock that never comes, and a promise that
//! is over, as of a reporter whose call never ends. A task that waits for others promises nothing.
//!
//! What has to end by itself is wrapped in [`within`], which finds the pulse of its task by itself: like the span of a log
//! line it belongs to the task, and no type on the way has to carry it. Outside of a supervised task it does nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

/// How long one poll of a task may take. Polls take microseconds; a commit to a slow card is no poll but waited for.
const POLL_MAX: Duration = Duration::from_secs(20);

/// How much later than its own timeout a piece of work may end.
pub const LATE_MAX: Duration = Duration::from_secs(60);

/// How long what waits for the disk may take. A card that tidies itself up stalls for seconds, a dying one for a minute.
pub const DISK_MAX: Duration = Duration::from_secs(10 * 60);

/// How long one call to the cloud may take: authentication, the call and a repeat of both, each at the longest timeouts that
/// can be configured, are 40 minutes.
pub const CALL_MAX: Duration = Duration::from_secs(60 * 60);

/// The pulses of all tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<String, Beat>>>);

/// The pulse of one task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulse {
    pulses: Liveness,
    name: String,
}

#[derive(Debug, Default)]
struct Beat {
    /// When the poll began that has not returned.
    polled: Option<Instant>,
    /// What the task has promised, and by when it will be done.
    promised: BTreeMap<u64, (&'static str, Instant)>,
    /// The number of the last promise.
    last: u64,
}

tokio::task_local! {
    static PULSE: Pulse;
}

/// What was promised, until this is dropped: the work is done, or given up.
#[derive(Debug)]
#[must_use]
pub struct Promise(Option<(Pulse, u64)>);

/// Does some work of which the task promises that it ends within this time. Else the task counts as stuck: the time is what
/// a daemon that is well never needs, and far above the work's own timeouts.
pub async fn with_deadline<T>(
    limit: Duration,
    work: &'static str,
    future: impl IntoFuture<Output = T>,
) -> T {
    let _promise = deadline(limit, work);
    future.await
}

/// Promises that some work will be done within this time.
pub fn deadline(limit: Duration, work: &'static str) -> Promise {
    let pulse = PULSE.try_with(Clone::clone).ok();
    Promise(pulse.map(|pulse| {
        let number = pulse.deadline(limit, work);
        (pulse, number)
    }))
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some((pulse, number)) = self.0.take() {
            // A task that was aborted has no beat any more.
            if let Some(beat) = pulse.pulses.beats().get_mut(&pulse.name) {
                beat.promised.remove(&number);
            }
        }
    }
}

impl Liveness {
    /// The pulse of a task of this name.
    pub fn of(&self, name: &str) -> Pulse {
        Pulse { pulses: self.clone(), name: name.to_owned() }
    }

    /// The first task that is stuck at `now`, in words.
    pub fn stuck(&self, now: Instant) -> Option<String> {
        self.beats().iter().find_map(|(name, beat)| {
            let is_busy = beat.polled.is_some_and(|since| now.duration_since(since) > POLL_MAX);
            let late = beat.promised.values().find(|(_, by)| now > *by);
            match (is_busy, late) {
                (true, _) => Some(format!("task {name} has not yielded for {POLL_MAX:?}")),
                (false, Some((work, _))) => Some(format!("task {name} is overdue: {work}")),
                (false, None) => None,
            }
        })
    }

    /// Runs a task so that its polls are timed.
    pub async fn watched(self, name: String, task: impl Future<Output = ()> + Send) {
        let pulse = self.of(&name);
        let mut task = std::pin::pin!(PULSE.scope(pulse.clone(), task));
        std::future::poll_fn(|context| pulse.poll(task.as_mut(), context)).await;
        self.beats().remove(&name);
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<String, Beat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    fn deadline(&self, limit: Duration, work: &'static str) -> u64 {
        let by = Instant::now() + limit;
        let mut number = 0;
        self.change(|beat| {
            beat.last += 1;
            number = beat.last;
            beat.promised.insert(number, (work, by));
        });
        number
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

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn work_that_never_ends_is_told_with_its_task_until_it_is_given_up() {
        let pulses = Liveness::default();
        let hung = async {
            let call = with_deadline(40 * SECOND, "a call", std::future::pending::<()>());
            drop(tokio::time::timeout(60 * SECOND, call).await);
            assert_eq!(pulses.stuck(Instant::now()), None, "it was given up");
        };
        let watch = async {
            tokio::time::sleep(40 * SECOND).await;
            assert_eq!(pulses.stuck(Instant::now()), None);
            tokio::time::sleep(SECOND).await;
            let told = pulses.stuck(Instant::now());
            assert_eq!(told.as_deref(), Some("task reporter is overdue: a call"));
        };
        tokio::join!(pulses.clone().watched("reporter".to_owned(), hung), watch);
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_several_promises_counts() {
        let pulses = Liveness::default();
        let busy = async {
            let (first, second) = (deadline(10 * SECOND, "first"), deadline(20 * SECOND, "second"));
            tokio::time::advance(15 * SECOND).await;
            let told = || pulses.stuck(Instant::now());
            assert_eq!(told().as_deref(), Some("task busy is overdue: first"));
            drop(first);
            assert_eq!(told(), None);
            tokio::time::advance(6 * SECOND).await;
            assert_eq!(told().as_deref(), Some("task busy is overdue: second"));
            drop(second);
        };
        pulses.clone().watched("busy".to_owned(), busy).await;
        assert_eq!(with_deadline(SECOND, "outside of a task", async { 7 }).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_does_not_return_is_told_and_a_task_that_waits_is_not() {
        let pulses = Liveness::default();
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
