//! Services for all tasks: the clock, liveness, supervision, randomness and a bounded HTTP server.

pub mod clock;
pub mod http_server;
pub mod liveness;
pub mod random;
pub mod supervisor;
pub mod wait;
