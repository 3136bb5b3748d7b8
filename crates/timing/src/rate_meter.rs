//! How often something happens, over the last minutes: older events fade, so two numbers are all that is kept.

use std::time::{Duration, Instant};

/// How long until an event counts for a third of what it did: an average over some minutes.
const FADE: Duration = Duration::from_secs(120);

/// What has been counted for less than this is averaged over this, so that one event is no flood.
const SPAN_MIN: Duration = Duration::from_secs(20);

/// Counts events.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateMeter {
    /// What is left of all events at the time of the last.
    weight: f64,
    /// When counting began, and when the last event came.
    span: Option<(Instant, Instant)>,
}

impl RateMeter {
    /// Counts so many events at `now`. Counting begins with the first call, which may count none.
    pub fn count(&mut self, events: u64, now: Instant) {
        #[expect(clippy::cast_precision_loss, reason = "an average needs no more than 52 bits")]
        let events = events as f64;
        self.weight = self.weight_at(now) + events;
        let (began, _) = self.span.unwrap_or((now, now));
        self.span = Some((began, now));
    }

    /// Events a second, seen from `now`.
    pub fn per_second(&self, now: Instant) -> f64 {
        let Some((began, _)) = self.span else { return 0.0 };
        let span = now.saturating_duration_since(began).max(SPAN_MIN);
        // A stream that has run for so long has left this much of each second's events.
        let seconds = FADE.as_secs_f64() * (1.0 - fading(span));
        self.weight_at(now) / seconds
    }

    fn weight_at(&self, now: Instant) -> f64 {
        self.span.map_or(0.0, |(_, last)| self.weight * fading(now.saturating_duration_since(last)))
    }
}

/// What is left after so long, of 1.
fn fading(after: Duration) -> f64 {
    (-after.as_secs_f64() / FADE.as_secs_f64()).exp()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    /// The frequency after so many seconds with an event each, and the time then.
    fn steady(seconds: u64) -> (RateMeter, Instant) {
        let (mut frequency, mut now) = (RateMeter::default(), Instant::now());
        frequency.count(0, now);
        for _ in 0..seconds {
            now += Duration::from_secs(1);
            frequency.count(1, now);
        }
        (frequency, now)
    }

    #[test]
    fn a_steady_stream_is_seen_as_such_from_the_first_minute_on() {
        for seconds in [30, 60, 600] {
            let (frequency, now) = steady(seconds);
            let seen = frequency.per_second(now);
            assert!((0.97..1.03).contains(&seen), "{seen} after {seconds} s");
        }
    }

    #[test]
    fn what_stops_fades_and_one_event_is_no_flood() {
        let (frequency, now) = steady(600);
        assert!(frequency.per_second(now + Duration::from_secs(600)) < 0.01);
        let mut once = RateMeter::default();
        once.count(1, now);
        assert!(once.per_second(now) < 0.06);
    }
}
