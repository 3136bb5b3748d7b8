//! Tests with values at full seconds.

use super::super::attribute_filter::{AttributeFilter, FilterResult, FilterSettings};
use super::super::window::{Aggregate, WindowSettings};
use super::super::window_clock::WindowStart;
use super::*;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tidegate_model::{Value, WallTime};
use tidegate_timing::machine::Machine;

fn settings(kind: &str, range: Option<f64>) -> DeriveSettings {
    let kind = Derive::named(kind).unwrap();
    DeriveSettings { kind, per: Duration::from_secs(60), range }
}

fn time(second: u64) -> ReadingTime {
    WallTime::from_millis(i64::try_from(second).unwrap() * 1_000).into()
}

fn sample(second: u64, number: f64) -> Sample {
    Sample { time: time(second), value: Value::Float(number) }
}

fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Returns what follows from values at these seconds; `None` for a value without a result.
fn derived(settings: DeriveSettings, values: &[(u64, f64)]) -> Vec<Option<f64>> {
    let (mut deriver, start) = (Deriver::new(settings), instant());
    let derive = |(second, number): &(u64, f64)| {
        let now = start + Duration::from_secs(*second);
        deriver.handle_sample(&sample(*second, *number), None, now).unwrap()
    };
    values.iter().map(derive).collect()
}

#[test]
fn differences_and_rates_may_be_negative() {
    let values = [(0, 21.5), (30, 22.0), (60, 21.9)];
    assert_eq!(derived(settings("delta", None), &values), [None, Some(0.5), Some(-0.1)]);
    assert_eq!(derived(settings("rate", None), &values), [None, Some(1.0), Some(-0.2)]);
    let numbers = [(0, 12_345.671), (1, 12_345.678)];
    assert_eq!(derived(settings("delta", None), &numbers), [None, Some(0.007)]);
    // Two values of one time have no rate, and count together later.
    let same = [(0, 1.0), (0, 2.0), (60, 3.0)];
    assert_eq!(derived(settings("rate", None), &same), [None, None, Some(2.0)]);
}

#[test]
fn lower_value_of_a_counter_is_a_wrap_or_a_reset() {
    let values = [(0, 65_530.0), (1, 4.0), (2, 2.0), (3, 2.0)];
    // 65,535 is followed by 0. The fall from 4 to 2 is too far for a wrap.
    let increases = derived(settings("increase", Some(65_536.0)), &values);
    assert_eq!(increases, [None, Some(10.0), Some(2.0), Some(0.0)]);
    let increases = derived(settings("increase", None), &values);
    assert_eq!(increases, [None, Some(4.0), Some(2.0), Some(0.0)]);
    // Half of the range is the border.
    let half = |value| derived(settings("increase", Some(100.0)), &[(0, 90.0), (1, value)])[1];
    assert_eq!((half(40.0), half(41.0)), (Some(50.0), Some(41.0)));
}

#[test]
fn total_continues_after_a_reset() {
    let values = [(0, 100.5), (1, 101.0), (2, 0.25), (3, 1.0)];
    let totals = derived(settings("total", None), &values);
    assert_eq!(totals, [Some(100.5), Some(101.0), Some(101.25), Some(102.0)]);
    let rates = derived(settings("increase-rate", None), &values);
    assert_eq!(rates, [None, Some(30.0), Some(15.0), Some(45.0)]);
}

#[test]
fn glitch_of_a_counter_costs_itself() {
    let (mut deriver, start) = (Deriver::new(settings("increase", None)), instant());
    let mut derive = |second, number| {
        let now = start + Duration::from_secs(second);
        deriver.handle_sample(&sample(second, number), Some(1.0), now)
    };
    assert_eq!(derive(0, 500.0), Ok(None));
    // A zero that is none, and the real value after it.
    assert_eq!(derive(1, 0.0), Ok(Some(0.0)));
    assert_eq!(derive(2, 501.0).unwrap_err().reason, Reason::TooFast);
    assert_eq!(derive(3, 501.5), Ok(Some(0.5)));
}

#[test]
fn rejects_what_is_no_count() {
    let mut deriver = Deriver::new(settings("increase", Some(100.0)));
    let text = Sample { time: time(0), value: Value::Text("off".to_owned()) };
    let mut reason = |sample| deriver.handle_sample(&sample, None, instant()).unwrap_err().reason;
    assert_eq!(reason(text), Reason::Malformed);
    assert_eq!(reason(sample(0, 100.0)), Reason::OutOfRange);
}

/// A rain gauge: the sum of each clock hour of 60 s.
fn rain() -> FilterSettings {
    let start = WindowStart::Clock(TimeZone::UTC);
    let length = Duration::from_secs(60);
    FilterSettings {
        derive: Some(settings("increase", None)),
        window: Some(WindowSettings { aggregate: Aggregate::Sum, length, start }),
        ..FilterSettings::default()
    }
}

/// Passes a value to the filter. Returns the sum of a window that ended.
fn pass(filter: &mut AttributeFilter, start: Instant, second: u64, number: f64) -> Option<Sample> {
    let now = start + Duration::from_secs(second);
    filter.handle_time(time(second), now);
    filter.handle_timeout(now);
    let generated = filter.poll_action();
    let result = filter.handle_sample(sample(second, number), now).unwrap();
    assert!(matches!(result, FilterResult::Filtered(_)), "{result:?}");
    generated
}

#[test]
fn windows_of_the_clock_have_whole_sums() {
    let (mut filter, start) = (AttributeFilter::new(rain()), instant());
    assert_eq!(pass(&mut filter, start, 50, 7.0), None);
    assert_eq!(pass(&mut filter, start, 55, 7.2), None);
    assert_eq!(pass(&mut filter, start, 59, 7.4), None);
    assert_eq!(pass(&mut filter, start, 60, 7.6), Some(sample(59, 0.4)));
    assert_eq!(filter.poll_timeout(), Some(start + Duration::from_secs(120)));
    filter.handle_timeout(start + Duration::from_secs(120));
    assert_eq!(filter.poll_action(), Some(sample(60, 0.2)));
}

/// Returns the filter after a restart: with the record as the outbox stores it.
fn restarted(filter: &AttributeFilter, now: Instant) -> AttributeFilter {
    let stored = serde_json::to_vec(&filter.record().unwrap()).unwrap();
    let record: CounterRecord = serde_json::from_slice(&stored).unwrap();
    assert!(record.is_valid());
    let mut filter = AttributeFilter::new(rain());
    filter.restore(&record, now);
    filter
}

#[test]
fn restart_neither_loses_nor_doubles_a_count() {
    let (mut filter, start) = (AttributeFilter::new(rain()), instant());
    pass(&mut filter, start, 1, 7.0);
    pass(&mut filter, start, 10, 7.2);
    // A stop keeps the window open.
    filter.handle_stop();
    assert_eq!(filter.poll_action(), None);
    let mut filter = restarted(&filter, start + Duration::from_secs(15));
    // What fell meanwhile counts, once, and the window ends at its end.
    assert_eq!(pass(&mut filter, start, 20, 7.8), None);
    assert_eq!(pass(&mut filter, start, 61, 8.0), Some(sample(20, 0.8)));
    // A stop over the end of a window.
    let mut filter = restarted(&filter, start + Duration::from_secs(62));
    assert_eq!(pass(&mut filter, start, 200, 8.5), Some(sample(61, 0.2)));
    filter.handle_timeout(start + Duration::from_secs(240));
    assert_eq!(filter.poll_action(), Some(sample(200, 0.5)));
}

#[test]
fn restored_window_ends_without_a_value() {
    let (mut filter, start) = (AttributeFilter::new(rain()), instant());
    pass(&mut filter, start, 1, 7.0);
    pass(&mut filter, start, 10, 7.2);
    let mut filter = restarted(&filter, start);
    assert_eq!(filter.poll_timeout(), Some(start + Duration::from_secs(50)));
    filter.handle_timeout(start + Duration::from_secs(50));
    assert_eq!(filter.poll_action(), Some(sample(10, 0.2)));
}

proptest! {
    #[test]
    fn increases_add_up_over_any_restarts(
        steps in prop::collection::vec((0..50_u32, any::<bool>()), 1..60),
    ) {
        let (mut filter, start) = (AttributeFilter::new(rain()), instant());
        let (mut count, mut second, mut total) = (0.0, 1_u64, 0.0);
        pass(&mut filter, start, second, count);
        let add = |sample: Option<Sample>| sample.and_then(|one| number(&one.value)).unwrap_or(0.0);
        for (step, is_restarted) in &steps {
            if *is_restarted {
                filter.handle_stop();
                prop_assert_eq!(filter.poll_action(), None);
                filter = restarted(&filter, start + Duration::from_secs(second));
            }
            (count, second) = (count + f64::from(*step), second + 7);
            total += add(pass(&mut filter, start, second, count));
        }
        filter.handle_timeout(start + Duration::from_secs(second + 60));
        total += add(filter.poll_action());
        prop_assert!((total - count).abs() < 1e-9, "{total} of {count}");
    }
}
