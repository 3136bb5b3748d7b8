//! The writes that commands cause, and the writes that they cannot cause.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use tidegate_model::{DeviceId, HttpMethod, WallTime};
use tidegate_template::Template;

#[test]
fn renders_a_serial_line() {
    let pump = serial("SET {{ payload.speed }} {{ name }} {{ device }} {{ time }}\n");
    assert_eq!(
        pump.write_for(&command(json!({"speed": 3}))),
        Ok(Write::Serial {
            bytes: "SET 3 setSpeed 010101010101010101010101 1970-01-01T00:00:00.000Z\n".into(),
            reply: None,
        })
    );
}

#[test]
fn renders_an_mqtt_message() {
    let lamp = mqtt("house/{{ payload.room }}/set", r#"{"on": {{ payload.on }}}"#);
    assert_eq!(
        lamp.write_for(&command(json!({"room": "hall", "on": true}))),
        Ok(Write::Mqtt {
            topic: "house/hall/set".to_owned(),
            payload: r#"{"on": true}"#.into(),
            qos: 1,
            retain: false,
            reply: None,
        })
    );
}

#[test]
fn command_cannot_add_a_second_line() {
    let pump = serial("SAY {{ payload | tojson }}\n");
    for payload in [
        json!({"text": "hi\nSTOP"}),
        json!({"text": ["hi\r"]}),
        json!({"a\nb": 1}),
        json!("\u{7f}"),
        json!("\u{85}"),
    ] {
        let error = pump.write_for(&command(payload.clone())).unwrap_err();
        assert!(matches!(error, WriteError::ControlCharacter { .. }), "{payload}: {error}");
    }
    let named = Command { name: "say\nSTOP".to_owned(), ..command(json!(1)) };
    assert!(pump.write_for(&named).is_err());
    assert!(pump.write_for(&command(json!({"text": "grün"}))).is_ok());
}

#[test]
fn rejects_invalid_topics() {
    let lamp = mqtt("{{ payload.topic }}", "x");
    for topic in ["", "house/#", "house/+", "a\nb"] {
        let error = lamp.write_for(&command(json!({"topic": topic}))).unwrap_err();
        assert!(matches!(error, WriteError::Topic(_)), "{topic:?}: {error}");
    }
}

#[test]
fn command_cannot_choose_another_topic_level() {
    let lamp = mqtt("house/{{ payload.room }}/set", "x");
    for room in ["a/b", "/", "../hall"] {
        let error = lamp.write_for(&command(json!({"room": room}))).unwrap_err();
        assert!(matches!(error, WriteError::Levels { .. }), "{room:?}: {error}");
    }
    let divided = mqtt("house/{{ (payload.room / 2) | int }}/set", "x");
    assert!(divided.write_for(&command(json!({"room": 4}))).is_ok());
}

#[test]
fn missing_variable_is_an_error() {
    let error = serial("SET {{ payload.speed }}\n").write_for(&command(json!(null))).unwrap_err();
    assert!(error.to_string().contains("`payload.speed`"), "{error}");
}

#[test]
fn writes_have_a_maximum_length() {
    let long = command(json!("x".repeat(4_096)));
    assert!(serial("{{ payload }}").write_for(&long).is_ok());
    assert_eq!(
        serial("{{ payload }}\n").write_for(&long),
        Err(WriteError::TooLong { bytes: 4_096 + 1, bytes_max: 4_096 })
    );
    assert_eq!(serial("{{ payload }}").write_for(&command(json!(""))), Err(WriteError::Empty));
    assert!(mqtt("a", "{{ payload }}").write_for(&command(json!("x".repeat(262_144)))).is_ok());
    let longer = command(json!("x".repeat(262_144 + 1)));
    assert!(mqtt("a", "{{ payload }}").write_for(&longer).is_err());
}

#[test]
fn router_finds_by_device_and_exact_name() {
    let router = Router::new([Arc::new(serial("x"))]);
    let name = |device, command| router.find(device, command).map(|found| found.name.to_string());
    assert_eq!(name(device(1), "setSpeed").as_deref(), Some("pump"));
    assert_eq!(name(device(1), "setspeed"), None);
    assert_eq!(name(device(2), "setSpeed"), None);
}

#[test]
fn hex_template_writes_bytes() {
    let text = template("A0 {{ payload.level | hex(4) }}{{ [1, 2] | crc16 }}");
    let pump = actuator(WriteTemplate::Serial(SerialTemplate { text, is_hex: true, reply: None }));
    let write = pump.write_for(&command(json!({"level": 258}))).unwrap();
    let bytes = [0xa0, 1, 2, 0x81, 0xe1];
    assert_eq!(write, Write::Serial { bytes: bytes.to_vec().into(), reply: None });
    let text = template("{{ payload }}");
    let pump = actuator(WriteTemplate::Serial(SerialTemplate { text, is_hex: true, reply: None }));
    for payload in ["0", "0g", "ü0"] {
        let error = pump.write_for(&command(json!(payload))).unwrap_err();
        assert!(matches!(error, WriteError::NotHex { .. }), "{payload}: {error}");
    }
}

#[test]
fn program_gets_arguments_unchanged() {
    let program = "/usr/bin/say".into();
    let arguments = vec![template("--text"), template("{{ payload.text }}")];
    let write = WriteTemplate::Exec(ExecTemplate { program, arguments, output_bytes_max: 10 });
    let text = "$(reboot); rm -rf / | `id` ' \"";
    let Ok(Write::Exec(execution)) = actuator(write).write_for(&command(json!({"text": text})))
    else {
        panic!("no execution");
    };
    assert_eq!(execution.arguments, ["--text", text]);
}

#[test]
fn command_cannot_lead_a_program_to_another_file() {
    let play = |argument: &str, payload| {
        let (program, arguments) = ("/usr/bin/aplay".into(), vec![template(argument)]);
        let write = WriteTemplate::Exec(ExecTemplate { program, arguments, output_bytes_max: 10 });
        actuator(write).write_for(&command(payload)).map(drop)
    };
    let sound = "/srv/sounds/{{ payload.sound }}.wav";
    assert_eq!(play(sound, json!({"sound": "bell"})), Ok(()));
    assert_eq!(play(sound, json!({"sound": "..bell.."})), Ok(()));
    for climber in ["../../etc/shadow", "a/../../b", "/etc/shadow", "sub/bell"] {
        let refused = play(sound, json!({"sound": climber}));
        assert!(matches!(refused, Err(WriteError::Levels { .. })), "{climber}: {refused:?}");
    }
    let list = "/srv/{{ payload.room }}/list";
    let refused = play(list, json!({"room": ".."}));
    assert!(matches!(refused, Err(WriteError::Climbs { .. })), "{refused:?}");
    assert_eq!(play("{{ payload.path }}", json!({"path": "../a"})), Ok(()), "only command data");
    assert_eq!(play("echo a >> ../b/c", json!({})), Ok(()), "only the template");
}

#[test]
fn command_cannot_change_host_or_path() {
    let relay = |url: &str| {
        actuator(WriteTemplate::Http(HttpTemplate {
            method: HttpMethod::Post,
            origin: "http://10.0.0.5".to_owned(),
            url: template(url),
            body: None,
        }))
    };
    let below = relay("http://10.0.0.5/relay/{{ payload.n }}?on=1");
    assert!(below.write_for(&command(json!({"n": 3}))).is_ok());
    for n in ["..", "a/b", "%2e%2E", "a%2fb", "a b", "a#", "\\..", "x\r\nHost: y"] {
        assert!(below.write_for(&command(json!({"n": n}))).is_err(), "{n}");
    }
    let beside = relay("http://10.0.0.5{{ payload.n }}");
    for n in [".evil.example", ":81", "@evil.example", "0"] {
        assert!(beside.write_for(&command(json!({"n": n}))).is_err(), "{n}");
    }
}

fn serial(text: &str) -> Actuator {
    let text = template(text);
    actuator(WriteTemplate::Serial(SerialTemplate { text, is_hex: false, reply: None }))
}

fn mqtt(topic: &str, payload: &str) -> Actuator {
    let (topic, payload) = (template(topic), template(payload));
    let template = MqttTemplate { topic, payload, qos: 1, retain: false, reply: None };
    actuator(WriteTemplate::Mqtt(template))
}

fn actuator(write: WriteTemplate) -> Actuator {
    let command = "setSpeed".to_owned();
    let (name, bus) = ("pump".parse().unwrap(), "boiler".parse().unwrap());
    Actuator {
        name,
        device: device(1),
        command,
        bus: Some(bus),
        write,
        arguments: Arguments::default(),
        rate: RateLimit { runs_max: 10, window: Duration::from_secs(60) },
        timeout: Duration::from_secs(1),
        failsafe: None,
    }
}

fn template(text: &str) -> Template {
    Template::compile("actuator.pump", text).unwrap()
}

fn command(payload: serde_json::Value) -> Command {
    let time = Some(WallTime::from_millis(0));
    Command { device: device(1), name: "setSpeed".to_owned(), time, payload, unread: None }
}

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}
