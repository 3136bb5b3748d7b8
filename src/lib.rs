//! tidegate: an edge gateway daemon between local sensors and the Losant Device API.
//!
//! Sensors write to *buses*; a bus yields [`model::Reading`]s; the collector turns them into [`model::State`]s and appends
//! them to the *outbox*; the reporter posts them and deletes what the cloud confirmed. Commands come in through the
//! listener, pass the gate and are dispatched to an actuator on a bus.
//!
//! Everything that decides is in [`logic`] and takes the time as an argument; everything that waits is a task.
//! `ARCHITECTURE.md` has the whole picture.

pub mod actuate;
mod app;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod logging;
pub mod logic;
pub mod losant;
pub mod manage;
pub mod model;
pub mod notify;
pub mod outbox;
pub mod pulse;
pub mod random;
pub mod status;
pub mod supervisor;
pub mod task;

pub use app::App;
pub use config::Config;
