//! Every decision of the daemon: pure, with time and randomness as arguments.
//!
//! Nothing here does IO, reads a clock, spawns or holds a global.

pub mod actuator;
pub mod decode;
mod excerpt;
pub mod frame;
pub mod mapping;
pub mod sse;
pub mod template;
pub mod topic;
