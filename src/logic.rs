//! Every decision of the daemon: pure, with time and randomness as arguments.
//!
//! Nothing here does IO, reads a clock, spawns or holds a global.

pub mod actuator;
pub mod backoff;
pub mod call_log;
pub mod clock_trust;
pub mod decode;
mod excerpt;
pub mod expression;
pub mod frame;
pub mod gate;
pub mod mapping;
pub mod pace;
pub mod redelivery;
pub mod reporter;
pub mod sse;
pub mod stamp;
pub mod template;
pub mod topic;
pub mod unit;
pub mod verdict;
