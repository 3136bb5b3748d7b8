//! Values at seconds, and what of them is sent.

use super::super::window::Aggregate;
use super::*;
use tidegate_model::{ReadingTime, WallTime};

/// What becomes of numbers that come at these seconds: sent as they come, or made later; others are left out.
fn sent(flow: &Flow, values: &[(u64, f64)], end: u64) -> Vec<(u64, f64)> {
    let (mut gauge, mut sent) = (AttributeFilter::default(), Vec::new());
    let start = tokio::time::Instant::now().into_std();
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
        if let Some((time, value)) = gauge.handle_timeout(flow, now) {
            note(time, value);
        }
        assert!(gauge.poll_timeout(flow, now).is_none_or(|due| due > now));
        if let Some((_, number)) = values.next_if(|(at, _)| *at == second) {
            let time =
                ReadingTime::from(WallTime::from_millis(i64::try_from(second).unwrap() * 1_000));
            match gauge.take(flow, Value::Float(*number), time, now) {
                Ok(Outcome::Send(value)) => note(time, value),
                Ok(Outcome::Filtered(_)) | Err(_) => {}
            }
        }
    }
    assert!(values.next().is_none(), "the values are not in the order of their time");
    sent
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn without_a_wish_all_values_are_sent() {
    let flow = Flow::default();
    assert!(flow.is_plain());
    assert_eq!(sent(&flow, &[(0, 1.0), (1, 1.0)], 2), [(0, 1.0), (1, 1.0)]);
}

#[test]
fn a_deadband_keeps_small_changes_back_until_the_heartbeat() {
    let deadband = Some(Deadband::Absolute(0.5));
    let flow = Flow { deadband, heartbeat: Some(seconds(4)), ..Flow::default() };
    let values = [(0, 20.0), (1, 20.5), (2, 20.6), (3, 20.2), (5, 20.7), (6, 20.8), (7, 20.7)];
    assert_eq!(sent(&flow, &values, 9), [(0, 20.0), (2, 20.6), (6, 20.8)]);
}

#[test]
fn a_deadband_in_percent_grows_with_the_value() {
    let flow = Flow { deadband: Some(Deadband::Percent(10.0)), ..Flow::default() };
    let values = [(0, 100.0), (1, 109.0), (2, 111.0), (3, 10.0), (4, 11.5)];
    assert_eq!(sent(&flow, &values, 5), [(0, 100.0), (2, 111.0), (3, 10.0), (4, 11.5)]);
}

#[test]
fn the_last_value_of_a_burst_is_sent_at_the_end_of_the_interval() {
    let flow = Flow { interval_min: Some(seconds(5)), ..Flow::default() };
    let values = [(0, 1.0), (1, 2.0), (2, 3.0), (11, 4.0)];
    assert_eq!(sent(&flow, &values, 20), [(0, 1.0), (5, 3.0), (11, 4.0)]);
}

#[test]
fn a_window_becomes_one_value_when_it_ends() {
    let settings = WindowSettings { aggregate: Aggregate::Mean, length: Duration::from_secs(4) };
    let flow = Flow { window: Some(settings), decimals: Some(1), ..Flow::default() };
    let values = [(0, 1.0), (1, 2.0), (2, 2.0), (7, 9.0)];
    assert_eq!(sent(&flow, &values, 12), [(4, 1.7), (11, 9.0)]);
}

#[test]
fn a_full_window_ends_early() {
    let settings = WindowSettings { aggregate: Aggregate::Count, length: Duration::from_secs(9) };
    let flow = Flow { window: Some(settings), ..Flow::default() };
    let (mut gauge, now) = (AttributeFilter::default(), tokio::time::Instant::now().into_std());
    let time = ReadingTime::from(WallTime::from_millis(0));
    for _ in 0..1_024 {
        assert!(gauge.poll_timeout(&flow, now).is_none_or(|due| due > now));
        gauge.take(&flow, Value::Boolean(true), time, now).unwrap();
    }
    assert_eq!(gauge.poll_timeout(&flow, now), Some(now));
    assert_eq!(gauge.handle_timeout(&flow, now), Some((time, Value::Integer(1_024))));
}

#[test]
fn a_change_counts_when_it_has_lasted() {
    let flow = Flow { stable_for: Some(seconds(3)), ..Flow::default() };
    let values = [(0, 0.0), (4, 1.0), (5, 0.0), (6, 1.0), (7, 1.0), (12, 1.0)];
    assert_eq!(sent(&flow, &values, 15), [(3, 0.0), (5, 0.0), (9, 1.0), (12, 1.0)]);
}

#[test]
fn a_spike_is_rejected_and_a_step_is_believed_in_time() {
    let flow = Flow { rate_max: Some(1.0), ..Flow::default() };
    let values = [(0, 20.0), (1, 85.0), (2, 21.0), (3, 30.0), (9, 28.0), (10, 28.5)];
    assert_eq!(sent(&flow, &values, 12), [(0, 20.0), (2, 21.0), (9, 28.0), (10, 28.5)]);
}

#[test]
fn what_is_open_at_a_stop_is_made_then() {
    let settings = WindowSettings { aggregate: Aggregate::Sum, length: Duration::from_secs(60) };
    let flow = Flow { window: Some(settings), ..Flow::default() };
    let (mut gauge, now) = (AttributeFilter::default(), tokio::time::Instant::now().into_std());
    let time = ReadingTime::from(WallTime::from_millis(7));
    for number in [1.5, 2.0] {
        gauge.take(&flow, Value::Float(number), time, now).unwrap();
    }
    assert_eq!(gauge.finish(&flow), Some((time, Value::Float(3.5))));
    assert_eq!(gauge.finish(&flow), None);
}

#[test]
fn a_clock_that_is_put_back_does_not_stop_all_change() {
    let flow = Flow { rate_max: Some(1.0), ..Flow::default() };
    let (mut gauge, start) = (AttributeFilter::default(), tokio::time::Instant::now().into_std());
    let mut take = |number, time, passed| {
        let time = ReadingTime::from(WallTime::from_millis(time));
        gauge.take(&flow, Value::Float(number), time, start + seconds(passed)).is_ok()
    };
    assert!(take(20.0, 3_600_000, 0));
    assert!(!take(29.0, 0, 5));
    assert!(take(29.0, 5_000, 10));
    // Values that were kept at the sensor come at once, with the times at which they were measured.
    assert!(take(89.0, 65_000, 10));
}

#[test]
fn what_rounds_to_nothing_has_no_sign() {
    let flow = Flow { decimals: Some(1), ..Flow::default() };
    let Value::Float(rounded) = flow.round(Value::Float(-0.04)) else { panic!("a float") };
    assert_eq!(rounded.to_string(), "0");
}
