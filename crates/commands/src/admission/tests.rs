//! The gate: what passes, what does not, and why.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::actuator::WriteTemplate;
use crate::arguments::{Argument, ArgumentKind, Arguments};
use crate::history::Ending;
use tidegate_model::{BootId, BootTime, CommandResult, WallTime};
use tidegate_template::Template;
use tidegate_timing::rate_limit::RateLimit;

const NOW: i64 = 1_777_629_600_000;

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn command(time_ms: i64, payload: Value) -> Command {
    let time = Some(WallTime::from_millis(time_ms));
    Command { device: device(1), name: "valve".to_owned(), time, payload, unread: None }
}

fn valve(device: DeviceId) -> Arc<Actuator> {
    let text = Template::compile("valve", "V{{ payload.open }}\n").unwrap();
    let kind = ArgumentKind::Number { minimum: 0.0, maximum: 100.0, is_integer: true };
    let open = ("open".to_owned(), Argument { kind, is_optional: false });
    Arc::new(Actuator {
        name: format!("valve-{}", device.as_bytes()[0]).parse().unwrap(),
        device,
        command: "valve".to_owned(),
        bus: Some("boiler".parse().unwrap()),
        write: WriteTemplate::Serial { text, is_hex: false, reply: None },
        arguments: Arguments::new(BTreeMap::from([open])),
        rate: RateLimit { runs_max: 3, window: Duration::from_secs(60) },
        timeout: Duration::from_secs(1),
        safe: None,
    })
}

/// A gate, its history, and a clock for its rates.
struct Bench {
    gate: Admission,
    history: History,
    now: Instant,
    wall: WallTime,
}

#[expect(clippy::disallowed_methods, reason = "any moment will do")]
fn bench() -> Bench {
    let rules = Rules {
        age_max: Duration::from_secs(60),
        catch_up_age_max: Duration::from_secs(600),
        id: Some("requestId".to_owned()),
        target: Some("device".to_owned()),
    };
    let router = Router::new([valve(device(1)), valve(device(2))]);
    let devices =
        [("gateway", 1), ("attic", 2)].map(|(name, id)| (name.parse().unwrap(), device(id)));
    let gate = Admission::new(rules, router, device(1), devices.into());
    let history = History::load(&[], 2, WallTime::from_millis(NOW).into()).unwrap();
    Bench { gate, history, now: Instant::now(), wall: WallTime::from_millis(NOW) }
}

impl Bench {
    fn judge(&mut self, source: Source, command: &Command) -> Decision {
        let now = (self.now, self.wall.into());
        let (admission, record) = self.gate.judge(command, source, &self.history, now);
        match &admission {
            Decision::Duplicate => {}
            Decision::Run { .. } => drop(self.history.begin(record)),
            Decision::Refused(_) => {
                let number = self.history.begin(record);
                let (result, message) = (CommandResult::Refused, "");
                let ending = Ending { result, message, duration_ms: None };
                self.history.finish(number, ending, self.wall.into());
            }
        }
        admission
    }

    fn live(&mut self, command: &Command) -> String {
        match self.judge(Source::Live, command) {
            Decision::Run { write: Write::Serial { bytes, .. }, .. } => {
                String::from_utf8_lossy(&bytes).trim().to_owned()
            }
            Decision::Run { write, .. } => format!("{write:?}"),
            Decision::Duplicate => "duplicate".to_owned(),
            Decision::Refused(refusal) => refusal.as_str().to_owned(),
        }
    }
}

#[test]
fn a_command_runs_once() {
    let mut bench = bench();
    assert_eq!(bench.live(&command(NOW, json!({"open": 1}))), "V1");
    assert_eq!(bench.live(&command(NOW, json!({"open": 1}))), "duplicate");
    assert_eq!(bench.live(&command(NOW + 1, json!({"open": 1}))), "V1");
}

#[test]
fn an_id_stands_for_the_command() {
    let mut bench = bench();
    assert_eq!(bench.live(&command(NOW, json!({"open": 1, "requestId": "a"}))), "V1");
    assert_eq!(bench.live(&command(NOW + 5, json!({"open": 2, "requestId": "a"}))), "duplicate");
    assert_eq!(bench.live(&command(NOW + 5, json!({"open": 2, "requestId": 7}))), "V2");
}

#[test]
fn an_old_command_is_stale_unless_it_was_caught_up_in_time() {
    let mut bench = bench();
    assert_eq!(bench.live(&command(NOW - 60_001, json!({"open": 1}))), "stale");
    assert_eq!(bench.live(&command(NOW - 60_000, json!({"open": 1}))), "V1");
    assert_eq!(bench.live(&command(NOW + 60_000, json!({"open": 1}))), "V1");
    let late = command(NOW - 600_000, json!({"open": 1}));
    assert!(matches!(bench.judge(Source::CaughtUp, &late), Decision::Run { .. }));
    let later = command(NOW - 600_001, json!({"open": 1}));
    let stale = Refusal::Stale(Duration::from_millis(600_001));
    let Decision::Refused(refusal) = bench.judge(Source::CaughtUp, &later) else {
        panic!("it ran");
    };
    assert_eq!(refusal, stale);
}

#[test]
fn without_a_time_of_day_no_command_is_taken_for_fresh() {
    let mut bench = bench();
    let uptime = BootTime { boot: BootId(1), uptime_ms: 90_000 };
    let moment = (bench.now, uptime.into());
    let old = command(NOW - 86_400_000, json!({"open": 1}));
    let (admission, _) = bench.gate.judge(&old, Source::Live, &bench.history, moment);
    let Decision::Refused(refusal) = admission else { panic!("it ran") };
    assert_eq!(refusal, Refusal::NoTime);
}

/// A sender may choose the time. None that is far ahead is taken for the last word.
#[test]
fn commands_that_are_dated_ahead_do_not_keep_later_ones_from_running() {
    let mut bench = bench();
    bench.history.share(1_000);
    for year in 1..200 {
        let ahead = command(NOW + year * 31_536_000_000, json!({"open": 1}));
        assert_eq!(bench.live(&ahead), "ahead");
    }
    bench.wall = bench.wall.plus(AHEAD_MAX + Duration::from_secs(1));
    let later = command(bench.wall.as_millis(), json!({"open": 1}));
    assert_eq!(bench.live(&later), "V1");
    assert_eq!(bench.live(&later), "duplicate");
}

#[test]
fn what_is_not_allowed_is_refused_with_its_reason() {
    let mut bench = bench();
    let other = |name: &str, device| Command {
        name: name.into(),
        device,
        ..command(NOW, json!({"open": 1}))
    };
    assert_eq!(bench.live(&other("pump", device(1))), "unknown");
    assert_eq!(bench.live(&other("valve", device(3))), "unknown");
    assert_eq!(bench.live(&command(NOW, json!({"open": 101}))), "arguments");
    assert_eq!(bench.live(&command(NOW, json!({"open": 1, "also": 1}))), "arguments");
    let unread = |why| Command { unread: Some(why), ..command(NOW, json!(null)) };
    assert_eq!(bench.live(&unread(Unread::TooLarge)), "too_large");
    let another = Command { time: None, ..unread(Unread::Malformed) };
    assert_eq!(bench.live(&another), "malformed");
    let records: Vec<_> = bench.history.records().map(|record| record.result).collect();
    assert_eq!(records, [CommandResult::Refused; 6]);
}

#[test]
fn a_command_to_the_gateway_can_name_a_device_of_its_own() {
    let mut bench = bench();
    let named = |device: Value| command(NOW, json!({"open": 5, "device": device}));
    for (device, expected) in [
        (json!("attic"), "V5"),
        (json!("020202020202020202020202"), "V5"),
        (json!("cellar"), "unknown_device"),
        (json!("030303030303030303030303"), "unknown_device"),
        (json!({"a": 1}), "unknown_device"),
    ] {
        assert_eq!(bench.live(&named(device.clone())), expected, "{device}");
    }
    let record = bench.history.records().next().unwrap();
    assert_eq!((record.device, record.target), (device(1), device(2)));
    let from_a_peripheral = Command { device: device(2), ..named(json!("gateway")) };
    let Decision::Run { actuator, .. } = bench.judge(Source::Live, &from_a_peripheral) else {
        panic!("refused");
    };
    assert_eq!(&*actuator.name, "valve-2", "only the gateway speaks for others");
}

#[test]
fn an_actuator_runs_only_so_often() {
    let mut bench = bench();
    for time in 0..3 {
        assert_eq!(bench.live(&command(NOW + time, json!({"open": 1}))), "V1");
    }
    assert_eq!(bench.live(&command(NOW + 3, json!({"open": 1}))), "too_often");
    let attic = Command { device: device(2), ..command(NOW, json!({"open": 1})) };
    assert_eq!(bench.live(&attic), "V1", "others are not held back");
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.live(&command(NOW + 4, json!({"open": 1}))), "V1");
}
