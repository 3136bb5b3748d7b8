//! Decides which batch to send to Losant and when, and classifies the responses. Does no IO.

pub mod batch_body;
pub mod declared_fit;
pub mod reporter;
pub mod response;
pub mod throttle;
pub mod throttle_log;
