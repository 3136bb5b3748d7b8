//! The wall clock: the one place that reads it.

use std::sync::Arc;
use std::time::SystemTime;

use crate::model::Timestamp;

/// Tells the time of day. Tests put a clock of their own in its place.
pub trait Clock: Send + Sync + 'static {
    /// The time of day now.
    fn now(&self) -> Timestamp;
}

/// A clock that tasks share.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}
