//! Waits that tasks share: for an optional instant, and for blocking work.

use tokio::time::Instant;

/// Sleeps until `due`; forever if there is none. Cancel-safe.
pub async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Runs blocking work, such as disk access, on a thread of its own and returns its result.
///
/// The work starts with the first poll. It then runs to its end, even if this future is dropped.
/// Wrap the future in [`crate::liveness::with_deadline`] where the work must end in time.
///
/// # Panics
/// When the work panics: a panic is a fault of the task that asked for the work.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down: no task goes on.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeps_until_an_instant_or_forever() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        sleep_until(Some(start + second)).await;
        assert_eq!(start.elapsed(), second);
        assert!(tokio::time::timeout(second, sleep_until(None)).await.is_err());
    }

    #[tokio::test]
    async fn returns_the_result_of_blocking_work() {
        assert_eq!(blocking(|| 7).await, 7);
    }

    #[tokio::test]
    #[should_panic(expected = "the store is broken")]
    async fn a_panic_of_blocking_work_reaches_the_task() {
        blocking(|| panic!("the store is broken")).await;
    }
}
