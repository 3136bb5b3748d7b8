//! Decides about time: clock trust, unique timestamps, back-off, rates. Reads no clock.

pub mod backoff;
pub mod clock_trust;
pub mod forecast;
pub mod log_limit;
pub mod machine;
pub mod rate_limit;
pub mod rate_meter;
pub mod unique_timestamps;
