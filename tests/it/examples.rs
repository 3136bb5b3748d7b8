//! The example of each format, run against recorded input: frames, decoding and mapping without a
//! daemon.

use std::time::Duration;

use bytes::Bytes;
use tidegate_config::{BusKind, Config};
use tidegate_ingest::frame::{Frame, Framer};
use tidegate_ingest::mapping::{Outgoing, Pipeline};
use tidegate_model::{BusMessage, Ledger, WallTime};
use tidegate_timing::machine::Machine as _;

use crate::support::write_private;

/// Bytes of a stream come in pieces of this size.
const CHUNK_BYTES: usize = 7;

fn load(example: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = directory.path().join("tidegate.toml");
    std::fs::copy(root.join("config/examples/sensors").join(example), &file).unwrap();
    write_private(&directory.path().join("credentials.toml"), "key = \"k\"\nsecret = \"s\"");
    write_private(&directory.path().join("push-token"), "token-of-the-scripts");
    tidegate_config::load(&file).map_err(|problems| panic!("{example}: {problems}")).unwrap()
}

/// What an example makes of its recording, a line for each state and count; what a window holds
/// comes at the end.
fn run(name: &str, recording: &str, topic: &str) -> Vec<String> {
    let config = load(&format!("{name}.toml"));
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(root.join("tests/data").join(recording)).unwrap();
    let devices: Vec<_> = config.devices.clone().into_iter().collect();
    let (bus, settings) = config.buses.into_iter().next().unwrap();
    let now = tokio::time::Instant::now().into_std();
    let mut frames = Vec::new();
    if let BusKind::Serial(serial) = &settings.kind {
        let mut framer = Framer::new(serial.framing.clone());
        for chunk in bytes.chunks(CHUNK_BYTES) {
            framer.handle_bytes(chunk, now);
        }
        framer.handle_timeout(now + Duration::from_secs(60));
        frames.extend(framer.drain_frames());
    } else {
        frames.push(Frame::Whole(Bytes::from(bytes)));
    }
    let mut pipeline = Pipeline::new(settings.sensors, config.devices);
    let (mut lines, mut ledger) = (Vec::new(), Ledger::new());
    let account = ledger.entry(bus.clone()).or_default();
    let time = WallTime::parse("2026-05-01T10:00:05Z").unwrap().into();
    let mut note = |states: Vec<Outgoing>| {
        for Outgoing { device, state, .. } in states {
            let (name, _) = devices.iter().find(|(_, id)| *id == device).unwrap();
            lines.push(format!("{name} {}", serde_json::to_string(&state).unwrap()));
        }
    };
    for frame in frames {
        let Frame::Whole(payload) = frame else {
            *account.dropped.entry(tidegate_model::Reason::BadChecksum).or_default() += 1;
            continue;
        };
        let (bus, topic) = (bus.clone(), topic.to_owned());
        pipeline.handle_message(&BusMessage { bus, time, topic, payload, origin: None }, now);
        let output = pipeline.poll_action().unwrap();
        note(output.states);
        note(output.generated);
        for (reason, readings) in output.rejected {
            account.reject(reason, readings);
        }
        for (reason, readings) in output.filtered {
            account.filter_out(reason, readings);
        }
    }
    pipeline.handle_stop();
    note(pipeline.poll_action().unwrap_or_default().generated);
    for counts in [&account.rejected, &account.skipped, &account.filtered, &account.dropped] {
        lines.extend(counts.iter().map(|(reason, readings)| format!("{readings} {reason}")));
    }
    lines
}

/// A state of the arrival's time.
fn state(device: &str, data: &str) -> String {
    format!(r#"{device} {{"time":"2026-05-01T10:00:05.000Z","data":{data}}}"#)
}

#[test]
fn pairs() {
    assert_eq!(
        run("key-value", "key-value.txt", ""),
        [
            state("gateway", r#"{"flowTemperature":41.2,"pump":true,"returnTemperature":35.0}"#),
            state("gateway", r#"{"online":true}"#),
            state("gateway", r#"{"pump":true,"returnTemperature":35.1}"#),
            state("gateway", r#"{"flowTemperature":99.9,"returnTemperature":35.2}"#),
            "1 unknown_value".to_owned(),
            "1 ignored".to_owned(),
            "1 unchanged".to_owned(),
        ]
    );
}

#[test]
fn csv_with_a_header_and_a_table_of_devices() {
    let at = |device: &str, data: &str| {
        format!(r#"{device} {{"time":"2026-05-01T10:00:00.000Z","data":{data}}}"#)
    };
    assert_eq!(
        run("csv", "csv.txt", "stations/log"),
        [
            at("greenhouse", r#"{"humidity":40,"temperature":21.5}"#),
            at("workshop", r#"{"humidity":44,"temperature":19.0}"#),
            "2 unknown_device".to_owned(),
        ]
    );
}

#[test]
fn json_with_several_messages() {
    assert_eq!(
        run("json", "json.txt", "meters/all"),
        [
            state("greenhouse", r#"{"power":460.0,"temperature":70.7}"#),
            state("workshop", r#"{"temperature":66.2}"#),
        ]
    );
}

#[test]
fn a_scale_by_a_pattern() {
    assert_eq!(
        run("regex", "regex.txt", ""),
        [
            state("gateway", r#"{"stable":true}"#),
            state("gateway", r#"{"stable":false}"#),
            state("gateway", r#"{"weight":12.62}"#),
            "1 malformed".to_owned(),
            "2 aggregated".to_owned(),
        ]
    );
}

#[test]
fn binary_frames_with_noise_and_damage_between_them() {
    assert_eq!(
        run("binary", "binary.bin", ""),
        [
            state("gateway", r#"{"leak":false,"serialNumber":12345,"volume":123.456}"#),
            state("gateway", r#"{"leak":true,"serialNumber":12345,"volume":123.47}"#),
            "2 bad_checksum".to_owned(),
        ]
    );
}

#[test]
fn blocks_of_a_solar_charger_with_messages_inside() {
    assert_eq!(
        run("vedirect", "vedirect.bin", ""),
        [
            state("gateway", r#"{"batteryVoltage":12.8,"solarPower":104}"#),
            state("gateway", r#"{"batteryVoltage":12.81,"solarPower":105}"#),
            "2 bad_checksum".to_owned(),
        ]
    );
}

#[test]
fn long_frames_of_a_heat_meter() {
    let one = r#"{"flowTemperature":71.2,"heatPower":-200.0,"meterSerial":12345678}"#;
    let two = r#"{"flowTemperature":71.3,"heatPower":1500.0,"meterSerial":12345678}"#;
    let seen = run("mbus", "mbus.bin", "");
    assert_eq!(seen[..2], [state("gateway", one), state("gateway", two)]);
}

#[test]
fn wind_with_a_checksum_between_marks() {
    assert_eq!(
        run("wind", "wind.txt", ""),
        [
            state("gateway", r#"{"windDirection":229,"windSpeed":2.74}"#),
            state("gateway", r#"{"windDirection":231,"windSpeed":2.8}"#),
            "1 bad_checksum".to_owned(),
        ]
    );
}

#[test]
fn answers_of_a_gas_sensor() {
    let states = [state("gateway", r#"{"co2":608}"#), state("gateway", r#"{"co2":400}"#)];
    assert_eq!(run("co2", "co2.bin", "")[..2], states);
    assert_eq!(run("co2", "co2.bin", "")[2..], ["1 bad_checksum".to_owned()]);
}

#[test]
fn a_position() {
    assert_eq!(
        run("nmea", "nmea.txt", ""),
        [
            state("gateway", r#"{"altitude":61.7,"location":"53.3613367,-6.5056200"}"#),
            state("gateway", r#"{"location":"53.3613367,-6.5056200","speed":0.04}"#),
            "1 ignored".to_owned(),
        ]
    );
}

#[test]
fn a_smart_meter() {
    let serial = "4530303433303037303532383730333138";
    let data = format!(r#"{{"energyTariff1":2074.4604,"meterSerial":"{serial}"}}"#);
    assert_eq!(
        run("obis", "obis.txt", ""),
        [
            state("gateway", &data),
            state("gateway", r#"{"power":193.0}"#),
            "1 aggregated".to_owned(),
        ]
    );
}

#[test]
fn a_household_meter() {
    assert_eq!(
        run("sml", "sml.bin", ""),
        [state(
            "gateway",
            r#"{"energyIn":123.4567,"gridPower":-250,"meterSerial":"0A015444470000001234"}"#
        )]
    );
}

#[test]
fn a_one_wire_thermometer() {
    assert_eq!(
        run("w1", "w1.txt", "sys/bus/w1/devices/28-0316a2795f81/w1_slave"),
        [state("gateway", r#"{"t_28-0316a2795f81":23.125}"#)]
    );
}

#[test]
fn an_electricity_meter() {
    assert_eq!(
        run("modbus", "modbus.txt", "meter"),
        [
            state("gateway", r#"{"energy":1834.27,"voltage":230.4}"#),
            state("gateway", r#"{"meterOnline":true}"#),
            state("gateway", r#"{"power":241.0}"#),
            "1 aggregated".to_owned(),
        ]
    );
}

#[test]
fn a_rain_gauge() {
    assert_eq!(run("gpio", "gpio.txt", "rain"), [state("gateway", r#"{"rainTotal":337.2}"#)]);
}

#[test]
fn what_a_program_says_of_a_disk() {
    let data = r#"{"diskHours":23147,"diskTemperature":34}"#;
    assert_eq!(run("exec", "exec.txt", ""), [state("gateway", data)]);
}

#[test]
fn a_push_of_a_script() {
    let data = r#"{"attic_humidity":100.0,"attic_temperature":21.5}"#;
    assert_eq!(run("http", "http.txt", "attic"), [state("gateway", data)]);
}

#[test]
fn a_line_of_a_log_with_its_own_time() {
    assert_eq!(
        run("log", "log.txt", "var/log/backup.log"),
        [r#"gateway {"time":"2026-05-01T09:58:12.000Z","data":{"backupSeconds":71.5}}"#]
    );
}

#[test]
fn a_chip_that_the_kernel_measures() {
    assert_eq!(
        run("hwmon", "hwmon.txt", "sys/class/hwmon/hwmon1/temp1_input"),
        [state("gateway", r#"{"temperature_hwmon1":47.8}"#)]
    );
}

#[test]
fn the_computer_itself() {
    let data = "{\"cpuTemperature\":47.8,\"diskUsed\":37.0,\"memoryUsed\":21.0,\
                \"statesWaiting\":12,\"underVoltage\":false}";
    assert_eq!(run("system", "system.txt", ""), [state("gateway", data)]);
}

/// An example that nothing runs may be wrong.
#[test]
fn every_example_is_run() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = include_str!("examples.rs");
    for entry in std::fs::read_dir(root.join("config/examples/sensors")).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(tests.contains(&format!("run(\"{name}\"")), "no test runs {name}.toml");
    }
}
