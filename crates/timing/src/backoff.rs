//! Computes the delay before the next try after a failure: exponential, with full jitter.
//!
//! Used for lost connections and server errors. After a 429 the wait is fixed or comes from
//! `Retry-After`: `tidegate_delivery::response` has it.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Computes random delays below a ceiling that doubles from `min` to `max`.
///
/// Full jitter spreads the retries of a fleet over the whole delay. So the gateways do not overload
/// the cloud when it returns after an outage.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Creates delays of at least `min` and at most `max`; a `max` below `min` counts as `min`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), failures: 0 }
    }

    /// Counts a failure and returns the delay before the next try.
    pub fn next_delay(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling =
            self.min.saturating_mul(2_u32.saturating_pow(self.failures + 1)).min(self.max);
        self.failures = self.failures.saturating_add(1).min(31);
        rng.random_range(self.min..=ceiling.max(self.min))
    }

    /// Resets the count of failures after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    proptest! {
        #[test]
        fn keeps_delays_between_minimum_and_maximum(
            seed: u64, min_ms in 0..10_000_u64, max_ms in 0..600_000_u64, failures in 1..100_usize,
        ) {
            let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
            let mut backoff = Backoff::new(min, max);
            let mut rng = StdRng::seed_from_u64(seed);
            for _ in 0..failures {
                let delay = backoff.next_delay(&mut rng);
                prop_assert!(delay >= min && delay <= max.max(min));
            }
        }
    }

    #[test]
    fn doubles_the_ceiling_until_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut rng = StdRng::seed_from_u64(1);
        let first: Vec<_> = (0..6).map(|_| backoff.next_delay(&mut rng)).collect();
        for (failures, delay) in first.iter().enumerate() {
            assert!(*delay <= Duration::from_secs(2 << failures), "{delay:?} after {failures}");
        }
        assert!(first.iter().any(|delay| *delay > Duration::from_secs(4)));
        backoff.reset();
        assert!(backoff.next_delay(&mut rng) <= Duration::from_secs(2));
    }
}
