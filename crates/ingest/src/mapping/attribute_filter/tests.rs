//! Tests with values at full seconds.

use super::super::window::Aggregate;
use super::*;
use tidegate_model::WallTime;

/// Returns the second and the number of each sent value: immediately sent or generated later.
fn sent(settings: &FilterSettings, values: &[(u64, f64)], end: u64) -> Vec<(u64, f64)> {
    let (mut filter, mut sent) = (AttributeFilter::new(settings.clone()), Vec::new());
    let start = instant();
    let mut values = values.iter().peekable();
    for second in 0..=end {
        let now = start + Duration::from_secs(second);
        let mut note = |time: ReadingTime, value| {
            let Value::Float(number) = value else { panic!("{value:?}") };
            assert!(
                time <= ReadingTime::from(WallTime::from_millis(
                    i64::try_from(second).unwrap() * 1_000
                ))
            );
            sent.push((second, number));
        };
        filter.handle_timeout(now);
        if let Some(Sample { time, value }) = filter.poll_action() {
            note(time, value);
        }
        assert!(filter.poll_timeout().is_none_or(|due| due > now));
        if let Some((_, number)) = values.next_if(|(at, _)| *at == second) {
            let time =
                ReadingTime::from(WallTime::from_millis(i64::try_from(second).unwrap() * 1_000));
            match filter.handle_sample(Sample { time, value: Value::Float(*number) }, now) {
                Ok(FilterResult::Send(value)) => note(time, value),
                Ok(FilterResult::Filtered(_)) | Err(_) => {}
            }
        }
    }
    assert!(values.next().is_none(), "the values are not ordered by time");
    sent
}

fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn sends_all_values_by_default() {
    let settings = FilterSettings::default();
    assert!(settings.passes_all());
    assert_eq!(sent(&settings, &[(0, 1.0), (1, 1.0)], 2), [(0, 1.0), (1, 1.0)]);
}

#[test]
fn deadband_holds_changes_back_until_the_heartbeat() {
    let deadband = Some(Deadband::Absolute(0.5));
    let settings =
        FilterSettings { deadband, heartbeat: Some(seconds(4)), ..FilterSettings::default() };
    let values = [(0, 20.0), (1, 20.5), (2, 20.6), (3, 20.2), (5, 20.7), (6, 20.8), (7, 20.7)];
    assert_eq!(sent(&settings, &values, 9), [(0, 20.0), (2, 20.6), (6, 20.8)]);
}

#[test]
fn percent_deadband_grows_with_the_value() {
    let settings =
        FilterSettings { deadband: Some(Deadband::Percent(10.0)), ..FilterSettings::default() };
    let values = [(0, 100.0), (1, 109.0), (2, 111.0), (3, 10.0), (4, 11.5)];
    assert_eq!(sent(&settings, &values, 5), [(0, 100.0), (2, 111.0), (3, 10.0), (4, 11.5)]);
}

#[test]
fn sends_the_last_value_of_a_burst_after_the_interval() {
    let settings = FilterSettings { interval_min: Some(seconds(5)), ..FilterSettings::default() };
    let values = [(0, 1.0), (1, 2.0), (2, 3.0), (11, 4.0)];
    assert_eq!(sent(&settings, &values, 20), [(0, 1.0), (5, 3.0), (11, 4.0)]);
}

#[test]
fn window_generates_one_value_at_its_end() {
    let window = WindowSettings::new(Aggregate::Mean, Duration::from_secs(4));
    let settings =
        FilterSettings { window: Some(window), decimals: Some(1), ..FilterSettings::default() };
    let values = [(0, 1.0), (1, 2.0), (2, 2.0), (7, 9.0)];
    assert_eq!(sent(&settings, &values, 12), [(4, 1.7), (11, 9.0)]);
}

#[test]
fn full_window_ends_early() {
    let window = WindowSettings::new(Aggregate::Median, Duration::from_secs(9));
    let settings = FilterSettings { window: Some(window), ..FilterSettings::default() };
    let (mut filter, now) = (AttributeFilter::new(settings), instant());
    let time = ReadingTime::from(WallTime::from_millis(0));
    for _ in 0..1_024 {
        assert!(filter.poll_timeout().is_none_or(|due| due > now));
        filter.handle_sample(Sample { time, value: Value::Integer(7) }, now).unwrap();
    }
    assert_eq!(filter.poll_timeout(), Some(now));
    filter.handle_timeout(now);
    assert_eq!(filter.poll_action(), Some(Sample { time, value: Value::Float(7.0) }));
}

#[test]
fn sends_a_change_after_it_has_lasted() {
    let settings = FilterSettings { stable_for: Some(seconds(3)), ..FilterSettings::default() };
    let values = [(0, 0.0), (4, 1.0), (5, 0.0), (6, 1.0), (7, 1.0), (12, 1.0)];
    assert_eq!(sent(&settings, &values, 15), [(3, 0.0), (5, 0.0), (9, 1.0), (12, 1.0)]);
}

#[test]
fn rejects_a_spike_and_accepts_a_step_later() {
    let settings = FilterSettings { rate_max: Some(1.0), ..FilterSettings::default() };
    let values = [(0, 20.0), (1, 85.0), (2, 21.0), (3, 30.0), (9, 28.0), (10, 28.5)];
    assert_eq!(sent(&settings, &values, 12), [(0, 20.0), (2, 21.0), (9, 28.0), (10, 28.5)]);
}

#[test]
fn stop_closes_the_window() {
    let window = WindowSettings::new(Aggregate::Sum, Duration::from_secs(60));
    let settings = FilterSettings { window: Some(window), ..FilterSettings::default() };
    let (mut filter, now) = (AttributeFilter::new(settings), instant());
    let time = ReadingTime::from(WallTime::from_millis(7));
    for number in [1.5, 2.0] {
        filter.handle_sample(Sample { time, value: Value::Float(number) }, now).unwrap();
    }
    filter.handle_stop();
    assert_eq!(filter.poll_action(), Some(Sample { time, value: Value::Float(3.5) }));
    filter.handle_stop();
    assert_eq!(filter.poll_action(), None);
}

#[test]
fn clock_set_back_does_not_block_changes() {
    let settings = FilterSettings { rate_max: Some(1.0), ..FilterSettings::default() };
    let (mut filter, start) = (AttributeFilter::new(settings), instant());
    let mut accepts = |number, time, passed| {
        let time = ReadingTime::from(WallTime::from_millis(time));
        let sample = Sample { time, value: Value::Float(number) };
        filter.handle_sample(sample, start + seconds(passed)).is_ok()
    };
    assert!(accepts(20.0, 3_600_000, 0));
    assert!(!accepts(29.0, 0, 5));
    assert!(accepts(29.0, 5_000, 10));
    // Values that the sensor buffered arrive at once, with their times of measurement.
    assert!(accepts(89.0, 65_000, 10));
}

#[test]
fn rounds_to_zero_without_a_sign() {
    let settings = FilterSettings { decimals: Some(1), ..FilterSettings::default() };
    let Value::Float(rounded) = settings.round(Value::Float(-0.04)) else { panic!("a float") };
    assert_eq!(rounded.to_string(), "0");
}
