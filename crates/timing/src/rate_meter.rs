//! Measures the rate of events over the last minutes. Older events count less.

use std::time::{Duration, Instant};

/// The time after which the weight of an event has fallen to 1/e, about a third.
const FADE: Duration = Duration::from_secs(120);

/// The shortest time to average over, so that a single first event does not show a high rate.
const SPAN_MIN: Duration = Duration::from_secs(20);

/// Counts events and computes their rate.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateMeter {
    /// The weight of all events at the time of the last event.
    weight: f64,
    span: Option<Span>,
}

/// The times of the first and the last count.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: Instant,
    last: Instant,
}

impl RateMeter {
    /// Counts `events` at `now`. The measurement begins with the first call, even with 0 events.
    pub fn count(&mut self, events: u64, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "an average needs no more than 52 bits")]
        let events = events as f64;
        self.weight = self.weight_at(now) + events;
        let began = self.span.map_or(now, |span| span.began);
        self.span = Some(Span { began, last: now });
    }

    /// Returns the number of events per second at `now`.
    pub fn per_second(&self, now: Instant) -> f64 {
        let Some(Span { began, .. }) = self.span else { return 0.0 };
        let span = now.saturating_duration_since(began).max(SPAN_MIN);
        // The weight that a stream of one event per second has after `span`.
        let seconds = FADE.as_secs_f64() * (1.0 - fading(span));
        self.weight_at(now) / seconds
    }

    fn weight_at(&self, now: Instant) -> f64 {
        self.span.map_or(0.0, |span| self.weight * fading(now.saturating_duration_since(span.last)))
    }
}

/// Returns the weight of an event, from 1 to 0, after a time.
fn fading(after: Duration) -> f64 {
    (-after.as_secs_f64() / FADE.as_secs_f64()).exp()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    /// Returns a meter after `seconds` with one event per second, and the time then.
    fn steady(seconds: u64) -> (RateMeter, Instant) {
        let (mut meter, mut now) = (RateMeter::default(), Instant::now());
        meter.count(0, now);
        for _ in 0..seconds {
            now += Duration::from_secs(1);
            meter.count(1, now);
        }
        (meter, now)
    }

    #[test]
    fn measures_a_steady_stream_within_a_minute() {
        for seconds in [30, 60, 600] {
            let (meter, now) = steady(seconds);
            let seen = meter.per_second(now);
            assert!((0.97..1.03).contains(&seen), "{seen} after {seconds} s");
        }
    }

    #[test]
    fn rate_fades_and_one_event_counts_little() {
        let (meter, now) = steady(600);
        assert!(meter.per_second(now + Duration::from_secs(600)) < 0.01);
        let mut once = RateMeter::default();
        once.count(1, now);
        assert!(once.per_second(now) < 0.06);
    }
}
