//! Tests of the machine, against a service that keeps what it is sent.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// 1 May 2026, 10:00 UTC.
const NOW_MS: i64 = 1_777_629_600_000;

const INTERVAL: Duration = Duration::from_secs(3_600);
const DELAY: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
fn start() -> Instant {
    Instant::now()
}

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn auditor(now: Instant) -> Auditor {
    Auditor::new(Settings { is_enabled: true, interval: INTERVAL, delay: DELAY }, now)
}

fn wall(after: i64) -> WallTime {
    WallTime::from_millis(NOW_MS + after)
}

fn element(after: i64) -> Bytes {
    Bytes::from(json!({ "time": wall(after), "data": { "n": after } }).to_string())
}

fn state(after: i64) -> ReadState {
    ReadState { time: wall(after), data: [("n".to_owned(), json!(after))].into() }
}

/// Confirms the states `range` of a device.
fn confirm(auditor: &mut Auditor, number: u8, range: std::ops::Range<i64>, now: Instant) {
    let elements: Vec<_> = range.map(element).collect();
    auditor.handle_confirmed(device(number), &elements, wall(0), now);
}

/// Advances to the next timeout, and returns the actions that are due then.
fn advance(auditor: &mut Auditor, now: &mut Instant) -> Vec<Action> {
    if let Some(at) = auditor.poll_timeout() {
        *now = (*now).max(at);
    }
    auditor.handle_timeout(*now);
    std::iter::from_fn(|| auditor.poll_action()).collect()
}

/// Returns the one call among the actions.
fn read(actions: &[Action]) -> Read {
    let reads = actions.iter().filter_map(|action| match action {
        Action::Read(read) => Some(*read),
        Action::Save(_) | Action::Report(_) => None,
    });
    let reads: Vec<_> = reads.collect();
    assert_eq!(reads.len(), 1, "{actions:?}");
    reads[0]
}

fn answer(auditor: &mut Auditor, read: &Read, states: Vec<ReadState>, now: Instant) {
    auditor.handle_states(read, states, None, wall(0), now);
}

#[test]
fn full_sample_is_read_after_the_delay() {
    let begin = start();
    let (mut auditor, mut now) = (auditor(begin), begin);
    confirm(&mut auditor, 1, 0..150, now);
    assert!(!auditor.is_sampling(device(1), now), "one sample per interval");
    let actions = advance(&mut auditor, &mut now);
    assert!(matches!(&actions[..], [Action::Save(sample)] if sample.times().count() == 100));
    let call = read(&advance(&mut auditor, &mut now));
    assert_eq!(now, begin + DELAY);
    assert_eq!((call.range.start, call.range.end), (wall(-1), wall(100)));
    answer(&mut auditor, &call, (0..100).map(state).collect(), now);
    // Losant may have more: the page was full.
    let rest = read(&advance(&mut auditor, &mut now));
    answer(&mut auditor, &rest, vec![state(99)], now);
    let findings = Findings { states: 100, values: 100, ..Findings::default() };
    let report = Report { device: device(1), findings };
    assert_eq!(advance(&mut auditor, &mut now), [Action::Report(report)]);
    assert_eq!((auditor.poll_timeout(), auditor.bytes()), (None, 0));
}

#[test]
fn slow_device_is_audited_once_per_interval() {
    let begin = start();
    let (mut auditor, mut now) = (auditor(begin), begin);
    let (mut calls, mut values) = (0, 0);
    // One state a minute for ten hours.
    for minute in 0..600 {
        let at = begin + Duration::from_secs(60) * minute;
        while auditor.poll_timeout().is_some_and(|due| due <= at) {
            for action in advance(&mut auditor, &mut now) {
                match action {
                    Action::Read(read) => {
                        calls += 1;
                        let (start, end) =
                            (read.range.start.as_millis(), read.range.end.as_millis());
                        let states = (start - NOW_MS..=end - NOW_MS).map(state).collect();
                        answer(&mut auditor, &read, states, now);
                    }
                    Action::Report(report) => {
                        assert_eq!(report.findings.differences, []);
                        values += report.findings.values;
                    }
                    Action::Save(_) => {}
                }
            }
        }
        now = now.max(at);
        confirm(&mut auditor, 1, i64::from(minute)..i64::from(minute) + 1, now);
    }
    assert!((10..=11).contains(&calls), "{calls} calls in ten hours");
    assert!(values > 530, "{values} of 600 values");
}

#[test]
fn difference_counts_only_if_the_second_reading_shows_it() {
    for is_late in [true, false] {
        let begin = start();
        let (mut auditor, mut now) = (auditor(begin), begin);
        confirm(&mut auditor, 1, 0..101, now);
        advance(&mut auditor, &mut now);
        let first = read(&advance(&mut auditor, &mut now));
        assert!(!first.is_second);
        answer(&mut auditor, &first, (0..99).map(state).collect(), now);
        // The state 99 is missing; nothing follows.
        let rest = read(&advance(&mut auditor, &mut now));
        answer(&mut auditor, &rest, vec![], now);
        let before = now;
        let second = read(&advance(&mut auditor, &mut now));
        assert!(second.is_second && now >= before + DELAY);
        let found = (0..if is_late { 100 } else { 99 }).map(state).collect();
        answer(&mut auditor, &second, found, now);
        let rest = read(&advance(&mut auditor, &mut now));
        answer(&mut auditor, &rest, if is_late { vec![state(99)] } else { vec![] }, now);
        let actions = advance(&mut auditor, &mut now);
        let [Action::Report(report)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(report.findings.differences.len(), usize::from(!is_late));
    }
}

#[test]
fn failed_call_is_repeated_and_a_refused_one_is_not() {
    let begin = start();
    let (mut auditor, mut now) = (auditor(begin), begin);
    confirm(&mut auditor, 1, 0..101, now);
    advance(&mut auditor, &mut now);
    let call = read(&advance(&mut auditor, &mut now));
    auditor.handle_failure(&call, Failure::Temporary, now);
    let again = read(&advance(&mut auditor, &mut now));
    assert_eq!((again, now), (call, begin + DELAY + RETRY_WAIT));
    auditor.handle_failure(&call, Failure::Permanent, now);
    assert_eq!(advance(&mut auditor, &mut now), []);
    assert!(auditor.is_sampling(device(1), begin + INTERVAL), "the next sample is tried");
}

#[test]
fn stop_saves_open_samples_and_the_next_run_reads_them() {
    let begin = start();
    let mut now = begin;
    let mut stopped = auditor(begin);
    confirm(&mut stopped, 1, 0..3, now);
    stopped.handle_stop(now);
    let saved = advance(&mut stopped, &mut now);
    let [Action::Save(sample)] = &saved[..] else { panic!("{saved:?}") };
    let sample = Sample::decode(&sample.encode()).unwrap();
    let mut auditor = auditor(now);
    auditor.resume(sample, now);
    let call = read(&advance(&mut auditor, &mut now));
    assert_eq!((call.range.start, call.range.end), (wall(-1), wall(3)));
}

#[test]
fn disabled_audit_does_nothing() {
    let now = start();
    let mut auditor = auditor(now);
    confirm(&mut auditor, 1, 0..3, now);
    auditor.handle_settings(Settings { is_enabled: false, ..Settings::default() }, now);
    confirm(&mut auditor, 1, 0..3, now);
    assert_eq!((auditor.bytes(), auditor.poll_timeout(), auditor.poll_action()), (0, None, None));
}

#[test]
fn many_devices_take_turns_within_the_memory() {
    let begin = start();
    let (mut auditor, mut now) = (auditor(begin), begin);
    let small = (0..200)
        .map(|n| {
            Bytes::from(format!(
                r#"{{"time":"{}","data":{{"text":"{}"}}}}"#,
                wall(n),
                "x".repeat(60)
            ))
        })
        .collect::<Vec<_>>();
    for number in 0..250 {
        auditor.handle_confirmed(device(number), &small, wall(0), now);
        assert!(auditor.bytes() <= MEMORY_BYTES_MAX);
    }
    let is_without = |auditor: &Auditor, number: &u8| {
        auditor.devices.get(&device(*number)).is_none_or(|audit| audit.bytes() == 0)
    };
    let without: Vec<u8> = (0..250).filter(|number| is_without(&auditor, number)).collect();
    assert!(!without.is_empty(), "the memory is full");
    for _ in 0..250 {
        for action in advance(&mut auditor, &mut now) {
            if let Action::Read(read) = action {
                auditor.handle_failure(&read, Failure::Permanent, now);
            }
        }
    }
    assert!(without.iter().all(|number| auditor.is_sampling(device(*number), now)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The calls have their gap and the memory its bound, and a service that keeps everything never
    /// has a difference.
    #[test]
    fn honest_service_has_no_difference(
        steps in prop::collection::vec((0..3_u8, 1..120_i64, 0..2_000_u64, any::<bool>()), 1..30),
    ) {
        let begin = start();
        let (mut auditor, mut now) = (auditor(begin), begin);
        let mut stored = BTreeMap::<DeviceId, i64>::new();
        let mut last_call: Option<Instant> = None;
        for (number, states, wait_s, is_failing) in steps {
            let next = stored.entry(device(number)).or_default();
            let range = *next..*next + states;
            *next += states;
            confirm(&mut auditor, number, range, now);
            prop_assert!(auditor.bytes() <= MEMORY_BYTES_MAX);
            let until = now + Duration::from_secs(wait_s);
            while auditor.poll_timeout().is_some_and(|at| at <= until) {
                for action in advance(&mut auditor, &mut now) {
                    match action {
                        Action::Read(read) if is_failing => {
                            auditor.handle_failure(&read, Failure::Temporary, now);
                        }
                        Action::Read(read) => {
                            let is_early = last_call.is_some_and(|last| now < last + CALL_GAP);
                            prop_assert!(!is_early);
                            last_call = Some(now);
                            let first = (read.range.start.as_millis() - NOW_MS).max(0);
                            let last = read.range.end.as_millis() - NOW_MS;
                            let end = (last + 1).min(stored[&read.device]);
                            let page = (first..end).take(READ_STATES_MAX).map(state).collect();
                            answer(&mut auditor, &read, page, now);
                        }
                        Action::Report(report) => {
                            prop_assert_eq!(report.findings.differences, vec![]);
                        }
                        Action::Save(sample) => prop_assert!(!sample.is_empty()),
                    }
                }
            }
            now = now.max(until);
        }
    }
}
