//! What all tasks share: the clock, liveness, supervision and randomness.

pub mod clock;
pub mod liveness;
pub mod random;
pub mod supervisor;
pub mod wait;
