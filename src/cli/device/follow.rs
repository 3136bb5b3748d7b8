//! Follows a stream: prints its events and reopens it when it ends.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::print;
use tidegate_delivery::response::ResponseClass;
use tidegate_losant::{Error, EventStream, StreamCall};
use tidegate_runtime::clock::SystemClock;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// The first wait before a stream is reopened.
const REOPEN_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a stream is reopened.
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a stream must be open to reset the back-off.
const HEALTHY: Duration = Duration::from_secs(60);

/// Prints the events until the reader closes the pipe.
///
/// # Errors
/// Fails if the first attempt fails, or if Losant refuses a later one.
pub(super) async fn follow<'a>(call: impl Fn() -> StreamCall<'a, Value>) -> anyhow::Result<()> {
    let mut rng = random::seeded();
    let mut backoff = Backoff::new(REOPEN_WAIT_MIN, REOPEN_WAIT_MAX);
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
                    let Some(wait) = retry_wait(&error) else { return Err(error.into()) };
                    print::message(&format!("{error}; retrying"));
                    tokio::time::sleep(wait).await;
                }
            }
        };
        print::message("stream reopened; events in between are missing");
    }
}

/// Returns the least wait before a retry; `None` if a retry cannot succeed.
fn retry_wait(error: &Error) -> Option<Duration> {
    let response = error.response_class();
    match response {
        ResponseClass::Offline | ResponseClass::ServerError(_) | ResponseClass::Throttled(_) => {
            Some(response.wait_min())
        }
        ResponseClass::Stored
        | ResponseClass::TooLarge
        | ResponseClass::Malformed
        | ResponseClass::Unauthorized
        | ResponseClass::Blocked => None,
    }
}

/// Prints the events of a stream. Returns `false` if the reader closed the pipe.
async fn print_all(stream: &mut EventStream<Value>) -> anyhow::Result<bool> {
    loop {
        match stream.next().await {
            Ok(json) if print::event(&json)? => {}
            Ok(_) => return Ok(false),
            Err(end) => {
                print::message(&format!("{end}; reopening the stream"));
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_delivery::response::THROTTLED_WAIT;

    fn wait(status: u16, retry_after: Option<Duration>) -> Option<Duration> {
        let message = String::new();
        retry_wait(&Error::Refused { action: "stateStream", status, message, retry_after })
    }

    #[test]
    fn refusal_ends_the_stream_and_throttling_waits() {
        for status in [400, 401, 403, 404] {
            assert_eq!(wait(status, None), None, "{status}");
        }
        assert_eq!(wait(503, None), Some(Duration::ZERO));
        assert_eq!(wait(429, None), Some(THROTTLED_WAIT));
        assert_eq!(wait(429, Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
    }
}
