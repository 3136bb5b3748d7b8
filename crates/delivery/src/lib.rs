//! Decides which batch to send to Losant and when, classifies the responses, and compares what was
//! sent with what Losant has. Does no IO.

pub mod audit;
pub mod batch_body;
pub mod declared_fit;
mod element;
pub mod reporter;
pub mod response;
pub mod throttle;
pub mod throttle_log;
