//! Infers buses and sensors from the messages and bytes of unknown instruments. Does no IO.

pub mod mqtt;
pub mod serial;
