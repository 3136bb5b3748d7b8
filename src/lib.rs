//! tidegate: an edge gateway daemon between local sensors and the Losant Device API.
//!
//! Sensors write to *buses*. A bus yields messages; the collector turns them into states and
//! appends them to the *outbox*; the reporter posts them and deletes the states that the cloud
//! confirmed. The listener receives commands, the dispatcher admits them, and an actuator carries
//! them out on a bus.
//!
//! This package is the program: the command line, the tasks, and the application that wires them.
//! Everything that decides is in the pure crates below `crates/` and takes the time as an argument.
//! `ARCHITECTURE.md` has the whole picture.

pub mod actuators;
mod app;
mod attributes;
pub mod cli;
pub mod control;
pub mod declarations;
pub mod logging;
pub mod notify;
pub mod outbox_admin;
pub mod status;
pub mod tasks;

pub use app::App;
