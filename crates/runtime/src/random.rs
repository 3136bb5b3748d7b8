//! Creates random number generators for delays.
//!
//! Pure code takes the generator as an argument, so that tests are repeatable.

use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};

/// Creates a generator with a seed of the operating system.
///
/// The seed is 0 if the system has no entropy yet. No secret depends on this generator.
pub fn seeded() -> StdRng {
    StdRng::try_from_rng(&mut SysRng).unwrap_or_else(|_| StdRng::seed_from_u64(0))
}
