//! What a month will cost, if all goes on as it does.

use std::time::Duration;

/// A month, as Losant's limits have it: about 30 days.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// A shorter time tells nothing.
const SPAN_MIN: Duration = Duration::from_secs(60);

/// The payloads of a month, if there were so many in this time; `None` before a minute is over.
///
/// Losant counts each state as a payload (organizations/resource-limits).
pub fn payloads_a_month(payloads: u64, span: Duration) -> Option<u64> {
    let month = u128::from(payloads) * MONTH.as_millis();
    let forecast = (span >= SPAN_MIN).then(|| month / span.as_millis().max(1))?;
    u64::try_from(forecast).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_the_time_so_far_many_times_over() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(payloads_a_month(10, minutes(10)), Some(43_200), "one a minute");
        assert_eq!(payloads_a_month(0, minutes(10)), Some(0));
        assert_eq!(payloads_a_month(1, Duration::from_secs(59)), None);
        assert_eq!(payloads_a_month(u64::MAX, minutes(1)), None, "no number that means something");
    }
}
