//! What is shown can be read: each configuration is rendered, read in another directory, and must
//! mean the same.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Map, Number, Value};
use tempfile::TempDir;

use super::annotated::uncommented;
use super::check::Purpose;
use super::explain::{entries, explain_for};
use super::option_info::OptionInfos;
use super::origin::Origins;
use super::*;

/// The gateway that an example for a fragment does not name.
const GATEWAY: &str = "[losant]\ndevice_id = \"575ecf887ae143cd83dc4aa2\"\n";

/// The broker that a preset does not name.
const BROKER: &str = "\n[bus.mqtt.house]\nhost = \"127.0.0.1\"\n";

/// One line of so many is left out. All of them take a minute.
const STEP: usize = 5;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A directory with the files that the annotated file and the examples name.
fn directory_with_secrets() -> TempDir {
    let directory = TempDir::new().unwrap();
    let own = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    for (name, text) in [
        ("credentials.toml", "key = \"k\"\nsecret = \"s\""),
        ("broker.toml", "user = \"u\"\npassword = \"p\""),
        ("push-token", "t"),
        ("losant-ca.pem", &certificate),
        ("broker-ca.pem", &certificate),
        ("client.pem", &format!("{certificate}{key}")),
    ] {
        write_private(&directory.path().join(name), text);
    }
    directory
}

/// Renders the valid configuration in `directory`, reads the result elsewhere and compares.
/// Returns false if the configuration is not valid.
fn survives(directory: &Path, what: &str) -> bool {
    let file = directory.join("tidegate.toml");
    let Ok((mut config, entries)) = explain_for(Purpose::Daemon, &file) else { return false };
    let elsewhere = TempDir::new().unwrap();
    let copy = elsewhere.path().join("last-good.toml");
    let text = render(&portable(&entries, &file));
    std::fs::write(&copy, &text).unwrap();
    let (mut same, _) = explain_for(Purpose::Daemon, &copy)
        .unwrap_or_else(|problems| panic!("{what}: {problems}\n{text}"));
    // They name the files.
    (config.warnings, same.warnings) = (Vec::new(), Vec::new());
    assert!(same == config, "{what}\n{text}\n{config:#?}\n{same:#?}");
    true
}

fn text_survives(directory: &TempDir, text: &str, what: &str) -> bool {
    std::fs::write(directory.path().join("tidegate.toml"), text).unwrap();
    survives(directory.path(), what)
}

#[test]
fn every_example_means_the_same_when_shown() {
    let directory = directory_with_secrets();
    let mut survivors = 0;
    for place in ["config/examples", "config/examples/sensors", "config/examples/presets"] {
        for entry in std::fs::read_dir(root().join(place)).unwrap() {
            let path = entry.unwrap().path();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let is_preset = place.ends_with("presets") && !text.contains("\n[bus.");
            let text = if text.contains("[losant]") { text } else { format!("{GATEWAY}{text}") };
            let text = if is_preset { format!("{text}{BROKER}") } else { text };
            assert!(text_survives(&directory, &text, &path.display().to_string()), "{path:?}");
            survivors += 1;
        }
    }
    assert!(survivors >= 25, "{survivors}");
}

#[test]
fn every_test_case_means_the_same_when_shown() {
    let mut survivors = 0;
    for case in std::fs::read_dir(root().join("tests/config")).unwrap() {
        let case = case.unwrap().path();
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("conf.d")).unwrap();
        for part in ["", "conf.d"] {
            let Ok(files) = std::fs::read_dir(case.join(part)) else { continue };
            for path in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
                let text = std::fs::read_to_string(&path).unwrap();
                write_private(&directory.path().join(part).join(path.file_name().unwrap()), &text);
            }
        }
        survivors += usize::from(survives(directory.path(), &case.display().to_string()));
    }
    assert!(survivors >= 1, "{survivors}");
}

#[test]
fn annotated_file_without_one_line_survives() {
    let directory = directory_with_secrets();
    let text = uncommented();
    let lines: Vec<_> = text.lines().collect();
    assert!(text_survives(&directory, &text, "all lines"));
    let mut survivors = 0;
    for (index, line) in lines.iter().enumerate().step_by(STEP) {
        let others = lines.iter().enumerate().filter(|(other, _)| *other != index);
        let text = others.map(|(_, line)| *line).collect::<Vec<_>>().join("\n");
        survivors += usize::from(text_survives(&directory, &text, line));
    }
    assert!(survivors > 50, "{survivors}");
}

#[test]
fn unusual_names_and_texts_survive() {
    let directory = directory_with_secrets();
    let text = r#"
[losant]
device_id = "575ecf887ae143cd83dc4aa2"
[device.attic]
id = "575ecf887ae143cd83dc4aa3"
[bus.mqtt.house]
host = "127.0.0.1"
[bus.system.pi]
[bus.serial.tty]
path = "tty with blank"
[sensor.a]
bus = "house"
topic = "a/+"
format = "json"
device = "{{ payload['m.a c'] }}"
map = [
  { channel = "/a", attribute = "a", values = { "on, 1.5" = 1.5, "" = true, "é\n\t\"'" = "x" } },
  { channel = "/b # \\ \u0001", attribute = "b", scale = 1e-7, offset = -2.0, values = {} },
]
ignore = '''^#
"quoted" '''
[sensor.a.devices]
"a4:c1.38" = "attic"
"two words" = "attic"
"it's \"x\"" = "gateway"
token = "attic"
"" = "attic"
"Küche" = "attic"
[sensor.a.stale]
after = "5 min"
attribute = "online"
[sensor.a.time]
channel = "/t"
format = "%Y-%m-%d %H:%M:%S"
zone = "UTC"
[sensor.b]
bus = "pi"
format = "json"
map = [{ channel = "/load/1", attribute = "load" }]
[sensor.c]
bus = "tty"
format = "regex"
pattern = "(?<a>\\d+)\n'''\"\"\""
map = [{ channel = "a", attribute = "c" }]
[actuator.fan]
command = "fän \"1\" # x"
bus = "tty"
write = "FAN {{ payload['s.p'] }}\r\n"
safe = '{"s.p": 1}'
safe_at_stop = true
[actuator.fan.argument."s.p"]
kind = "number"
[actuator.lamp]
command = "lamp"
exec = ["/bin/lamp", "", "a b", "'\"", "{{ payload.on }}"]
argument.on.kind = "boolean"
argument.name = { choices = ["a", "b c"], optional = true }
"#;
    std::fs::write(directory.path().join("tidegate.toml"), text).unwrap();
    let read = explain_for(Purpose::Daemon, &directory.path().join("tidegate.toml"));
    if let Err(problems) = read {
        panic!("{problems}");
    }
    assert!(text_survives(&directory, text, "unusual"));
}

/// Any text, and often one with characters that TOML must quote or escape.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,8}",
        "[\u{0}-\u{20}\"'\\\\\n\r\t.=#\\[\\]]{0,6}",
        any::<String>(),
        Just("1979-05-27T07:32:00Z".to_owned()),
        Just("true".to_owned()),
        Just("1_000".to_owned()),
    ]
    .prop_filter("an address with a password is masked", |text| !text.contains("://"))
}

fn any_value() -> impl Strategy<Value = Value> {
    let finite = any::<f64>().prop_filter_map("not finite", Number::from_f64);
    let leaf = prop_oneof![
        any_text().prop_map(Value::String),
        any::<i64>().prop_map(Value::from),
        finite.prop_map(Value::Number),
        any::<bool>().prop_map(Value::Bool),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            any_table(inner).prop_map(Value::Object),
        ]
    })
}

fn any_table(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let names = prop_oneof![any_text(), "[a-z]{1,3}"];
    proptest::collection::btree_map(names, value, 0..5).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn any_values_are_read_as_they_were(tables in any_table(any_value())) {
        // At the top there are tables only, and a top-level table without content is no difference.
        let is_full = |value: &Value| value.as_object().is_some_and(|table| !table.is_empty());
        let tree: Map<String, Value> = tables.into_iter().filter(|(_, v)| is_full(v)).collect();
        let origins = Origins::new(Path::new("a\nb.toml"));
        let text = render(&entries(&tree, &OptionInfos::default(), &origins));
        let read: Map<String, Value> = toml::from_str(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(Value::Object(read), Value::Object(tree), "{}", text);
    }
}
