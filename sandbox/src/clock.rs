//! The only place where the sandbox reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns milliseconds since the Unix epoch, or 0 when the clock is set to an earlier time.
#[expect(clippy::disallowed_methods, reason = "the sandbox reads the wall clock here only")]
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
