//! Decides whether a command may run and renders the write that it causes. Does no IO.
//!
//! [`GapTracker`](gap_tracker::GapTracker) and [`FailsafeTimer`](failsafe::FailsafeTimer) are
//! machines: they implement [`Machine`](tidegate_timing::machine::Machine).
//! [`Admission`](admission::Admission) decides at once: `handle_command` returns the decision, so
//! there is no timeout and no action to poll. [`History`](history::History) is a table: its owner
//! writes the changes that `take_changes` returns.

pub mod actuator;
pub mod admission;
pub mod arguments;
pub mod failsafe;
pub mod gap_tracker;
pub mod history;
pub mod report;
