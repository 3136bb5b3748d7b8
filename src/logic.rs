//! Every decision of the daemon: pure, with time and randomness as arguments.
//!
//! Nothing here does IO, reads a clock, spawns or holds a global.

pub mod actuator;
pub mod arguments;
pub mod asker;
pub mod backoff;
pub mod call_log;
pub mod catch_up;
pub mod clock_trust;
pub mod decode;
pub mod excerpt;
pub mod expression;
pub mod forecast;
pub mod frame;
pub mod frequency;
pub mod gate;
pub mod gpio;
pub mod guess;
pub mod history;
pub mod joined;
pub mod learn;
pub mod mapping;
pub mod modbus;
pub mod pace;
pub mod rate;
pub mod redelivery;
pub mod repeats;
pub mod report;
pub mod reporter;
pub mod retained;
pub mod sse;
pub mod stamp;
pub mod template;
pub mod thin;
pub mod topic;
pub mod unit;
pub mod verdict;
pub mod vitals;
