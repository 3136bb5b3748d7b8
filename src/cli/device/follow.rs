//! Follows a stream for ever: opens it again whenever it ends.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::print;
use tidegate_delivery::reporter::{PARK, THROTTLE_WAIT};
use tidegate_delivery::response::ResponseClass;
use tidegate_losant::{Error, EventStream, StreamCall};
use tidegate_runtime::clock::SystemClock;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first and the longest wait before a stream is opened again.
const REOPEN_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Only a stream that lived so long counts as healthy and resets the waits.
const HEALTHY: Duration = Duration::from_secs(60);

/// Prints what comes until nobody reads any more. A first try that fails is the end; later ones are
/// repeated, unless Losant refuses.
pub(super) async fn follow<'a>(call: impl Fn() -> StreamCall<'a, Value>) -> anyhow::Result<()> {
    let mut rng = random::seeded();
    let mut backoff = Backoff::new(REOPEN_WAIT.0, REOPEN_WAIT.1);
    let mut stream = call().open(SystemClock.read()).await?;
    loop {
        let opened = Instant::now();
        if !print_all(&mut stream).await? {
            return Ok(());
        }
        if opened.elapsed() >= HEALTHY {
            backoff.reset();
        }
        stream = loop {
            tokio::time::sleep(backoff.next_delay(&mut rng)).await;
            match call().open(SystemClock.read()).await {
                Ok(stream) => break stream,
                Err(error) => {
                    let Some(wait) = least_wait(&error) else { return Err(error.into()) };
                    print::tell(&format!("{error}; trying again"));
                    tokio::time::sleep(wait).await;
                }
            }
        };
        print::tell("the stream is open again; what was sent meanwhile is not in it");
    }
}

/// How long to wait at least before another try; `None` if none would help.
fn least_wait(error: &Error) -> Option<Duration> {
    match error.response_class() {
        ResponseClass::Offline => Some(Duration::ZERO),
        ResponseClass::ServerError(wait) => Some(wait.unwrap_or_default().min(PARK)),
        ResponseClass::RateLimited(wait) => {
            Some(wait.unwrap_or_default().clamp(THROTTLE_WAIT, PARK))
        }
        ResponseClass::Stored
        | ResponseClass::TooLarge
        | ResponseClass::Malformed
        | ResponseClass::Unauthorized
        | ResponseClass::Blocked => None,
    }
}

/// `false` if nobody reads any more.
async fn print_all(stream: &mut EventStream<Value>) -> anyhow::Result<bool> {
    loop {
        match stream.next().await {
            Ok(json) if print::event(&json)? => {}
            Ok(_) => return Ok(false),
            Err(end) => {
                print::tell(&format!("{end}; opening it again"));
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(status: u16, retry_after: Option<Duration>) -> Option<Duration> {
        let message = String::new();
        least_wait(&Error::Refused { action: "stateStream", status, message, retry_after })
    }

    #[test]
    fn refusal_ends_the_stream_and_throttling_waits() {
        for status in [400, 401, 403, 404] {
            assert_eq!(wait(status, None), None, "{status}");
        }
        assert_eq!(wait(503, None), Some(Duration::ZERO));
        assert_eq!(wait(429, None), Some(THROTTLE_WAIT));
        assert_eq!(wait(429, Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
    }
}
