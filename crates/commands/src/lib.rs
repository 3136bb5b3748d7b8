//! Decides whether a command may run, and as which write. Does no IO.

pub mod actuator;
pub mod admission;
pub mod arguments;
pub mod gap_tracker;
pub mod history;
pub mod report;
