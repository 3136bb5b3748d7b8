//! Forecasts the number of payloads of a month from the current rate.

use std::time::Duration;

/// The length of a month in Losant's limits: about 30 days.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// The shortest time that allows a forecast.
const SPAN_MIN: Duration = Duration::from_secs(60);

/// Returns the payloads of a month at the rate of `payloads` in `span`.
///
/// `None` if `span` is shorter than a minute or the number does not fit.
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
    fn extrapolates_to_a_month() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(payloads_a_month(10, minutes(10)), Some(43_200), "one a minute");
        assert_eq!(payloads_a_month(0, minutes(10)), Some(0));
        assert_eq!(payloads_a_month(1, Duration::from_secs(59)), None);
        assert_eq!(payloads_a_month(u64::MAX, minutes(1)), None, "the number does not fit");
    }
}
