//! The configuration as a whole: the annotated file and the reported problems.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::annotated::{ANY, general, uncommented};
use super::raw::Raw;
use super::shape::{Shape, Shaped as _};
use super::*;

const MINIMAL: &str = r#"
[losant]
device_id = "575ecf887ae143cd83dc4aa2"
[bus.serial.probe]
path = "/dev/ttyUSB0"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "t", attribute = "temperature" }]
"#;

fn load_text(text: &str) -> Result<Config, String> {
    let directory = TempDir::new().unwrap();
    write_private(&directory.path().join("credentials.toml"), "key = \"k\"\nsecret = \"s\"");
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, text).unwrap();
    load(&file).map_err(|problems| {
        problems.to_string().replace(&format!("{}/", directory.path().display()), "")
    })
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The configuration with each line changed by `change`.
fn changed(change: impl Fn(&str) -> String) -> Result<Config, String> {
    load_text(&MINIMAL.lines().map(change).collect::<Vec<_>>().join("\n"))
}

#[test]
fn defaults_fill_in_missing_options() {
    let config = load_text(MINIMAL).unwrap();
    assert_eq!(config.cloud.url, "https://api.losant.com");
    assert_eq!(config.reporter.batch_states_max, 100);
    assert_eq!(config.reporter.batch_bytes_max, 200_000);
    assert_eq!(config.outbox.path, Path::new("/var/lib/tidegate/outbox"));
    assert_eq!(config.devices.len(), 1);
}

#[test]
fn annotated_file_has_every_option_and_is_valid() {
    let text = uncommented();
    let tree: Value = load::parse(&text).unwrap().try_deserialize().unwrap();
    let (mut options, mut written) = (BTreeSet::new(), BTreeSet::new());
    collect_options(Raw::shape(), "", &mut options);
    collect_written(&tree, "", &mut written);
    let missing: Vec<_> = options.difference(&written).collect();
    assert!(missing.is_empty(), "config/tidegate.toml does not name {missing:?}");
    let directory = TempDir::new().unwrap();
    write_private(&directory.path().join("credentials.toml"), "token = \"t\"");
    write_private(&directory.path().join("broker.toml"), "user = \"u\"\npassword = \"p\"");
    write_private(&directory.path().join("push-token"), "t");
    let own = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    write_private(&directory.path().join("losant-ca.pem"), &certificate);
    write_private(&directory.path().join("broker-ca.pem"), &certificate);
    write_private(&directory.path().join("client.pem"), &format!("{certificate}{key}"));
    let file = directory.path().join("tidegate.toml");
    std::fs::write(&file, text).unwrap();
    let config = load(&file).map_err(|problems| problems.to_string()).unwrap();
    assert_eq!((config.buses.len(), config.actuators.len()), (19, 8));
}

/// The general key of every option that there is.
fn collect_options(shape: Shape, key: &str, options: &mut BTreeSet<String>) {
    match shape {
        Shape::Table(inner) => {
            for (name, shape) in inner {
                collect_options(shape(), &format!("{key}.{name}"), options);
            }
        }
        Shape::Named(shape) | Shape::List(shape) => {
            collect_options(shape(), &format!("{key}.{ANY}"), options);
        }
        Shape::WordOr(shape) => collect_options(shape(), key, options),
        Shape::Value(_) => {
            options.insert(key.trim_start_matches('.').to_owned());
        }
    }
}

/// The general key of every value in a tree.
fn collect_written(value: &Value, key: &str, written: &mut BTreeSet<String>) {
    let inner: Vec<_> = match value {
        Value::Object(table) => table.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => (0..).map(|i: usize| i.to_string()).zip(items).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    written.insert(general(key.trim_start_matches('.')));
    for (name, value) in inner {
        collect_written(value, &format!("{key}.{name}"), written);
    }
}

#[test]
fn mistakes_are_reported_with_key_and_fix() {
    let cases = [
        (
            "device_id",
            "device_id = \"575ecf\"",
            "losant.device_id: \"575ecf\" is not a Losant id; an id is 24",
        ),
        (
            "path",
            "path = \"/dev/ttyUSB0\"\nparity = \"evn\"",
            "bus.serial.probe.parity: \"evn\" is not known; did you mean \"even\"?",
        ),
        ("path", "baud_rate = 9600", "bus.serial.probe.path: is missing"),
        (
            "path",
            "path = \"/dev/x\"\nbaud_rate = 10",
            "bus.serial.probe.baud_rate: is 10; give a value from 50 to 12000000",
        ),
        (
            "bus = ",
            "bus = \"prob\"",
            "sensor.probe.bus: there is no bus \"prob\"; did you mean \"probe\"?",
        ),
        (
            "format",
            "format = \"yaml\"",
            "sensor.probe.format: \"yaml\" is not known; use one of key-value, csv",
        ),
        (
            "format",
            "format = \"json\"\ntopic = \"a\"",
            "sensor.probe.topic: serial buses have no topics; remove it",
        ),
        (
            "format",
            "format = \"json\"\ndevice = \"attic\"",
            "sensor.probe.device: there is no device \"attic\"; there are gateway",
        ),
        ("map", "map = []", "sensor.probe.map: is missing or empty"),
        (
            "map",
            "map = [{ channel = \"t\", attribute = \"a.b\" }]",
            "sensor.probe.map.0.attribute: \"a.b\" is not an attribute",
        ),
        (
            "map",
            "map = [{ channel = \"t\", attribute = \"{{ topic[\" }]",
            "sensor.probe.map.0.attribute:",
        ),
    ];
    assert_reported(&cases);
}

#[test]
fn invalid_frames_formats_and_mappings_are_reported() {
    let cases = [
        (
            "path",
            "path = \"/dev/x\"\nframe.kind = \"lenght\"",
            "bus.serial.probe.frame.kind: \"lenght\" is not known; did you mean \"length\"?",
        ),
        (
            "path",
            "path = \"/dev/x\"\nframe.checksum = \"crc-16-modbsu\"",
            "frame.checksum: \"crc-16-modbsu\" is not known; did you mean \"crc-16-modbus\"?",
        ),
        (
            "path",
            "path = \"/dev/x\"\nframe = { kind = \"fixed\", size = 4, \
             start = \"0xaac0\", end = \"abc\" }",
            "frame.size: is 4, and start, checksum and end take more; count all bytes",
        ),
        (
            "path",
            "path = \"/dev/x\"\nframe = { kind = \"fixed\", size = 4, idle_time = \"1 s\" }",
            "frame.idle_time: is not for kind = \"fixed\"; remove it, or write kind = \"idle\"",
        ),
        (
            "path",
            "path = \"/dev/x\"\nframe = { kind = \"delimiter\", delimiter = \"0x0\" }",
            "frame.delimiter: \"0x0\" begins with 0x, but is not bytes; write",
        ),
        (
            "format",
            "format = \"regex\"\npattern = '(?<t>'",
            "sensor.probe.pattern: invalid pattern: unclosed group; channels are",
        ),
        (
            "format",
            "format = \"binary\"\nfields = [{ name = \"t\", offset = 0, kind = \"u17\" }]",
            "sensor.probe.fields.0.kind: \"u17\" is not known; did you mean",
        ),
        (
            "format",
            "format = \"json\"\ntime = { channel = \"at\", format = \"%F %T\", \
             zone = \"Europe/Belrin\" }",
            "sensor.probe.time.zone: there is no time zone \"Europe/Belrin\"; take one",
        ),
        (
            "format",
            "format = \"json\"\ntime = { channel = \"at\", format = \"%d.%m. %H:%M\", \
             zone = \"UTC\" }",
            "sensor.probe.time.format: a time written with the pattern cannot be parsed: ",
        ),
        (
            "map",
            "map = [{ channel = \"t\", attribute = \"a\", from_unit = \"°C\", to_unit = \"bar\" }]",
            "map.0.to_unit: is a unit of pressure, and from_unit is one of temperature; take two",
        ),
        (
            "map",
            "map = [{ channel = \"t\", attribute = \"a\", aggregate = \"mean\" }]",
            "map.0.aggregate: needs window, and the reverse; give both",
        ),
        (
            "map",
            "map = [{ expression = \"u *\", attribute = \"a\" }]",
            "sensor.probe.map.0.expression: template sensor.probe.map.0.expression: syntax error",
        ),
    ];
    assert_reported(&cases);
}

#[test]
fn options_of_values_over_time_are_reported() {
    let map =
        |options: &str| format!("map = [{{ channel = \"t\", attribute = \"a\", {options} }}]");
    for (options, expected) in [
        ("derive = \"diff\"", "map.0.derive: \"diff\" is not known; use "),
        ("derive = \"rate\", rate_unit = \"hour\"", "map.0.rate_unit: \"hour\" is not known; "),
        (
            "rate_unit = \"h\"",
            "map.0.rate_unit: is not the option of a rate; add derive = \"rate\"",
        ),
        (
            "derive = \"delta\", counter_max = 65535",
            "map.0.counter_max: is not the option of a counter; add derive = \"increase\"",
        ),
        ("derive = \"total\", counter_max = 0", "map.0.counter_max: is 0; give the largest number"),
        ("derive = \"total\", offset = 5", "map.0.offset: moves the 0 at which a counter starts"),
        (
            "derive = \"increase\", deadband = 0",
            "map.0.deadband: loses increases of the counter; use aggregate = \"sum\" with a window",
        ),
        ("window_start = \"clock\"", "map.0.window_start: needs window; add window"),
        (
            "aggregate = \"sum\", window = \"7 min\", window_start = \"clock\"",
            "map.0.window_start: needs a window of which a whole number is a day; use a length",
        ),
        (
            "aggregate = \"sum\", window = \"1 h\", window_zone = \"UTC\"",
            "map.0.window_zone: is not the option of a window that follows the clock; add",
        ),
        (
            "aggregate = \"sum\", window = \"1 h\", window_start = \"clock\", \
             window_zone = \"CTE\"",
            "map.0.window_zone: there is no time zone \"CTE\"; take one from",
        ),
    ] {
        assert_reported(&[("map", &map(options), expected)]);
    }
    let good = "derive = \"increase\", counter_max = 65535, scale = 0.2, aggregate = \"sum\", \
                window = \"1 day\", window_start = \"clock\", window_zone = \"Europe/Berlin\"";
    changed(|line| if line.starts_with("map") { map(good) } else { line.to_owned() }).unwrap();
}

#[test]
fn impossible_channels_are_reported() {
    let cases = [
        (
            "format",
            "format = \"csv\"\ncolumns = [\"temp\", \"hum\"]",
            "sensor.probe.map.0.channel: \"t\" is not known; did you mean \"temp\"?",
        ),
        (
            "format",
            "format = \"csv\"\ncolumns = [\"t\", \"\", \"\", \"t\"]",
            "sensor.probe.columns: \"t\" is there twice; give each its own name",
        ),
        (
            "format",
            "format = \"binary\"\nfields = [{ name = \"t\", offset = 0, kind = \"u8\" }, \
             { name = \"t\", offset = 1, kind = \"u8\" }]",
            "sensor.probe.fields: \"t\" is there twice; give each its own name",
        ),
    ];
    assert_reported(&cases);
    let problem = changed(|line| match line.split(' ').next() {
        Some("path") => "path = \"/dev/x\"\nframe.checksum = \"nmea\"".to_owned(),
        Some("format") => "format = \"nmea\"".to_owned(),
        Some("map") => "map = [{ channel = \"windSped\", attribute = \"a\" }, \
             { channel = \"xdr_C_AIR\", attribute = \"b\" }, \
             { expression = \"xdr_C_AIR + engineSpeed2\", attribute = \"c\" }]"
            .to_owned(),
        Some(_) | None => line.to_owned(),
    });
    let problem = problem.unwrap_err();
    assert!(
        problem.contains("map.0.channel: \"windSped\" is not known; did you mean \"windSpeed\"?"),
        "{problem}"
    );
    assert_eq!(problem.lines().count(), 1, "{problem}");
}

/// Replaces the line that starts with the first text by the second, and expects the third as the
/// only problem.
fn assert_reported(cases: &[(&str, &str, &str)]) {
    for (key, replacement, expected) in cases {
        let problem = changed(|line| {
            if line.starts_with(*key) { (*replacement).to_owned() } else { line.to_owned() }
        });
        let problem = problem.unwrap_err();
        assert!(problem.contains(expected), "expected: {expected}\nin: {problem}");
        assert_eq!(
            problem.lines().count(),
            if expected.contains("there is no bus") { 2 } else { 1 },
            "{problem}"
        );
    }
}

#[test]
fn command_of_a_device_has_one_actuator() {
    let actuator = |name: &str| {
        format!("[actuator.{name}]\ncommand = \"c\"\nbus = \"probe\"\nwrite = \"x\"\n")
    };
    let problem = load_text(&format!("{MINIMAL}{}{}", actuator("a"), actuator("b"))).unwrap_err();
    assert_eq!(
        problem,
        "tidegate.toml:15: actuator.b.command: another actuator has the same command; \
         give each command of a device one actuator"
    );
}

#[test]
fn cloud_options_are_resolved() {
    let losant = "[losant]\nproxy = \"http://proxy.example:3128\"\n\
                  token_ttl = \"24 h\"\nrequested_scopes = [\"all.Device\"]";
    let cloud = load_text(&MINIMAL.replace("[losant]", losant)).unwrap().cloud;
    assert_eq!(cloud.proxy, Proxy::At("http://proxy.example:3128".to_owned()));
    assert_eq!(cloud.token_ttl, Some(std::time::Duration::from_secs(86_400)));
    assert_eq!(cloud.requested_scopes, ["all.Device"]);
    let cloud = load_text(MINIMAL).unwrap().cloud;
    assert_eq!((cloud.proxy, cloud.token_ttl), (Proxy::Environment, None));
}

#[test]
fn invalid_cloud_options_are_reported() {
    for (written, problem) in [
        ("proxy = \"proxy.example:3128\"", "losant.proxy: is not a proxy; write"),
        ("proxy = \"http://me:hunter2@proxy\"", "losant.proxy: must not contain a password"),
        ("url = \"https://me:hunter2@api.losant.com\"", "losant.url: must not contain a password"),
        ("token_ttl = \"0 s\"", "losant.token_ttl: is 0s; give a value from 1m"),
        ("ca_file = \"none.pem\"", "none.pem: cannot read it"),
        ("ca_file = \"tidegate.toml\"", "tidegate.toml: has no certificate"),
        (
            "client_certificate = \"credentials.toml\"",
            "credentials.toml: is not a certificate with a private key",
        ),
        ("requested_scopes = [\"device.delete\"]", "a device cannot ask for \"device.delete\""),
        (
            "requested_scopes = [\"device.sendState\"]",
            "does not allow what tidegate does; add device.setConnectionStatus",
        ),
    ] {
        let problems =
            load_text(&MINIMAL.replace("[losant]", &format!("[losant]\n{written}"))).unwrap_err();
        assert!(problems.contains(problem), "{problem}\nin {problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

#[test]
fn token_is_read_from_a_private_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    for text in ["eyJ.a-b_c.d\n", "token = \"eyJ.a-b_c.d\"\n"] {
        write_private(&file, text);
        assert_eq!(read_token(&file).unwrap().expose(), "eyJ.a-b_c.d");
    }
    for text in ["", "two words", "key = \"k\"\nsecret = \"hunter2\"", "token = hunter2"] {
        write_private(&file, text);
        let problems = read_token(&file).unwrap_err().to_string();
        assert!(problems.contains("does not hold a token alone"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(read_token(&file).unwrap_err().to_string().contains("chmod 600"));
}
