//! Randomness for delays: where a task gets it. `logic` takes it as an argument, so that tests can repeat it.

use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};

/// A generator that the operating system seeded. Nothing secret depends on it, so a fixed seed will do where there is no
/// entropy yet.
pub fn seeded() -> StdRng {
    StdRng::try_from_rng(&mut SysRng).unwrap_or_else(|_| StdRng::seed_from_u64(0))
}
