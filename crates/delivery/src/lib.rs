//! Decides which batch goes to Losant when, and what an answer means. Does no IO.

pub mod batch_body;
pub mod reporter;
pub mod response;
pub mod throttle;
pub mod throttle_log;
