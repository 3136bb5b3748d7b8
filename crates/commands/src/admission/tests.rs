//! Which commands are admitted, and the reasons for which others are refused.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::actuator::{SerialTemplate, WriteTemplate};
use crate::arguments::{Argument, ArgumentKind, Arguments};
use crate::history::CommandEnd;
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
        write: WriteTemplate::Serial(SerialTemplate { text, is_hex: false, reply: None }),
        arguments: Arguments::new(BTreeMap::from([open])),
        rate: RateLimit { runs_max: 3, window: Duration::from_secs(60) },
        timeout: Duration::from_secs(1),
        failsafe: None,
    })
}

/// An admission check with its history and clocks.
struct Bench {
    admission: Admission,
    history: History,
    now: Instant,
    wall: WallTime,
}

#[expect(clippy::disallowed_methods, reason = "any instant serves as the start")]
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
    let admission = Admission::new(rules, router, device(1), devices.into());
    let history = History::load(&[], 2, WallTime::from_millis(NOW).into()).unwrap();
    Bench { admission, history, now: Instant::now(), wall: WallTime::from_millis(NOW) }
}

impl Bench {
    fn decide(&mut self, source: Source, command: &Command) -> Decision {
        let clocks = Clocks { now: self.now, time: self.wall.into() };
        let Judgement { decision, record } =
            self.admission.handle_command(command, source, &self.history, clocks);
        match &decision {
            Decision::Duplicate => {}
            Decision::Run { .. } => drop(self.history.add(record)),
            Decision::Refused(_) => {
                let number = self.history.add(record);
                let (result, message) = (CommandResult::Refused, "");
                let outcome = CommandEnd { result, message, duration_ms: None };
                self.history.finish(number, outcome, self.wall.into());
            }
        }
        decision
    }

    fn live(&mut self, command: &Command) -> String {
        match self.decide(Source::Live, command) {
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
fn command_runs_once() {
    let mut bench = bench();
    assert_eq!(bench.live(&command(NOW, json!({"open": 1}))), "V1");
    assert_eq!(bench.live(&command(NOW, json!({"open": 1}))), "duplicate");
    assert_eq!(bench.live(&command(NOW + 1, json!({"open": 1}))), "V1");
}

#[test]
fn id_identifies_a_command() {
    let mut bench = bench();
    assert_eq!(bench.live(&command(NOW, json!({"open": 1, "requestId": "a"}))), "V1");
    assert_eq!(bench.live(&command(NOW + 5, json!({"open": 2, "requestId": "a"}))), "duplicate");
    assert_eq!(bench.live(&command(NOW + 5, json!({"open": 2, "requestId": 7}))), "V2");
}

#[test]
fn old_command_is_stale_unless_caught_up_in_time() {
    let mut bench = bench();
    assert_eq!(bench.live(&command(NOW - 60_001, json!({"open": 1}))), "stale");
    assert_eq!(bench.live(&command(NOW - 60_000, json!({"open": 1}))), "V1");
    assert_eq!(bench.live(&command(NOW + 60_000, json!({"open": 1}))), "V1");
    let late = command(NOW - 600_000, json!({"open": 1}));
    assert!(matches!(bench.decide(Source::CaughtUp, &late), Decision::Run { .. }));
    let later = command(NOW - 600_001, json!({"open": 1}));
    let stale = RefusalReason::Stale(Duration::from_millis(600_001));
    let Decision::Refused(refusal) = bench.decide(Source::CaughtUp, &later) else {
        panic!("it ran");
    };
    assert_eq!(refusal, stale);
}

#[test]
fn refuses_timed_commands_without_a_synchronised_clock() {
    let mut bench = bench();
    let uptime = BootTime { boot: BootId(1), uptime_ms: 90_000 };
    let clocks = Clocks { now: bench.now, time: uptime.into() };
    let old = command(NOW - 86_400_000, json!({"open": 1}));
    let judgement = bench.admission.handle_command(&old, Source::Live, &bench.history, clocks);
    let Decision::Refused(refusal) = judgement.decision else { panic!("it ran") };
    assert_eq!(refusal, RefusalReason::NoTime);
}

/// A sender can choose the time of a command, so a future time must not raise the floor.
#[test]
fn future_commands_do_not_block_later_ones() {
    let mut bench = bench();
    bench.history.set_device_count(1_000);
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
fn refusal_has_its_reason() {
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
fn command_to_the_gateway_can_name_a_peripheral() {
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
    let to_peripheral = Command { device: device(2), ..named(json!("gateway")) };
    let Decision::Run { actuator, .. } = bench.decide(Source::Live, &to_peripheral) else {
        panic!("refused");
    };
    assert_eq!(&*actuator.name, "valve-2", "only a command to the gateway can name another device");
}

#[test]
fn actuator_has_a_rate_limit() {
    let mut bench = bench();
    for time in 0..3 {
        assert_eq!(bench.live(&command(NOW + time, json!({"open": 1}))), "V1");
    }
    assert_eq!(bench.live(&command(NOW + 3, json!({"open": 1}))), "too_often");
    let attic = Command { device: device(2), ..command(NOW, json!({"open": 1})) };
    assert_eq!(bench.live(&attic), "V1", "other actuators are not affected");
    bench.now += Duration::from_secs(60);
    assert_eq!(bench.live(&command(NOW + 4, json!({"open": 1}))), "V1");
}
