//! The tasks between the edges: each waits in one place and decides through `logic`.

pub mod actuator;
pub mod attribute_check;
pub mod audit;
pub mod collector;
pub mod connection_status;
pub mod dispatcher;
pub mod listener;
pub mod reporter;
pub mod retention;
pub mod timekeeper;
