//! The tasks between the edges: each waits in one place and decides through `logic`.

pub mod actuator;
pub mod collector;
pub mod dispatcher;
pub mod listener;
pub mod presence;
pub mod reporter;
pub mod schema;
pub mod timekeeper;
pub mod upkeep;
