//! No command payload causes a panic, and each write keeps the form of its template.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tidegate_commands::actuator::{
    Actuator, MqttTemplate, Router, SerialTemplate, WriteTemplate,
};
use tidegate_commands::admission::{Admission, Clocks, Decision, Rules};
use tidegate_commands::arguments::{Argument, ArgumentKind, Arguments};
use tidegate_commands::history::History;
use tidegate_timing::rate_limit::RateLimit;
use tidegate_template::Template;
use tidegate_model::{Command, DeviceId, Source, WallTime, Write};

fn template(text: &str) -> Template {
    Template::compile("t", text).unwrap()
}

fn actuator(command: &str, write: WriteTemplate, arguments: Arguments) -> Actuator {
    Actuator {
        name: command.parse().unwrap(),
        device: DeviceId::from([1; 12]),
        command: command.to_owned(),
        bus: None,
        write,
        arguments,
        rate: RateLimit { runs_max: 1_000, window: Duration::from_secs(1) },
        timeout: Duration::from_secs(1),
        failsafe: None,
    }
}

fn actuators() -> [Actuator; 3] {
    let kind = ArgumentKind::Number { minimum: 0.0, maximum: 9.0, is_integer: true };
    let argument = Argument { kind, is_optional: false };
    let arguments = Arguments::new([("n".to_owned(), argument)].into());
    let serial = |text| {
        let text = template(text);
        WriteTemplate::Serial(SerialTemplate { text, is_hex: false, reply: None })
    };
    let line = serial("SAY {{ payload.t }}\n");
    let digit = serial("N{{ payload.n }}\n");
    let message = WriteTemplate::Mqtt(MqttTemplate {
        topic: template("lamps/{{ payload.t }}/set"),
        payload: template("{{ payload | tojson }}"),
        qos: 1,
        retain: false,
        reply: None,
    });
    [
        actuator("line", line, Arguments::default()),
        actuator("digit", digit, arguments),
        actuator("message", message, Arguments::default()),
    ]
}

fuzz_target!(|input: (u8, &[u8])| {
    static ACTUATORS: LazyLock<[Actuator; 3]> = LazyLock::new(actuators);
    let (choice, bytes) = input;
    let Ok(payload) = serde_json::from_slice(bytes) else { return };
    let rules = Rules {
        age_max: Duration::from_secs(60),
        catch_up_age_max: Duration::from_secs(600),
        id: Some("id".to_owned()),
        target: Some("device".to_owned()),
    };
    let router = Router::new(ACTUATORS.iter().cloned().map(Into::into));
    let device = DeviceId::from([1; 12]);
    let devices = [("gateway".parse().unwrap(), device)].into();
    let mut admission = Admission::new(rules, router, device, devices);
    let now = WallTime::from_millis(1_777_629_600_000);
    let history = History::load(&[], 1, now.into()).unwrap();
    let name = ["line", "digit", "message"][usize::from(choice) % 3].to_owned();
    let command = Command { device, name, time: Some(now), payload, unread: None };
    let clocks = Clocks { now: Instant::now(), time: now.into() };
    let judgement = admission.handle_command(&command, Source::Live, &history, clocks);
    let Decision::Run { write, .. } = judgement.decision else { return };
    match write {
        Write::Serial { bytes, .. } => {
            let ends = bytes.iter().filter(|byte| byte.is_ascii_control()).count();
            assert_eq!((ends, bytes.last()), (1, Some(&b'\n')), "one line");
            if command.name == "digit" {
                let digit: f64 = std::str::from_utf8(&bytes[1..]).unwrap().trim().parse().unwrap();
                assert!((0.0..=9.0).contains(&digit), "{digit}");
            }
        }
        Write::Mqtt { topic, .. } => {
            let levels: Vec<_> = topic.split('/').collect();
            assert_eq!((levels.len(), levels[0], levels[2]), (3, "lamps", "set"), "{topic}");
            assert!(!topic.contains(['+', '#']), "{topic}");
        }
        other => panic!("{other:?} is of another kind"),
    }
});
