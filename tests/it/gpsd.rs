//! Recordings of NMEA 0183 receivers from gpsd, with the positions that gpsd reads from them.

use serde_json::Value;

use crate::support::Site;

const RECEIVER: &str = r#"
[bus.serial.gps]
path = "tty"
[sensor.gps]
bus = "gps"
format = "nmea"
ignore = '^#'
map = [{ channel = "*", attribute = "{{ channel }}" }]
"#;

/// The largest difference of equal positions, in degrees. gpsd rounds to 1e-9.
const ROUNDING: f64 = 1e-8;

/// Returns the values of a channel in the output.
fn channel<'a>(shown: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("channel   {name} = ");
    shown.lines().filter_map(|line| line.strip_prefix(&begin)).collect()
}

/// Returns the pairs of latitude and longitude in the output.
fn positions(shown: &str) -> Vec<[f64; 2]> {
    let [latitudes, longitudes] = ["latitude", "longitude"].map(|name| channel(shown, name));
    let pairs = latitudes.into_iter().zip(longitudes);
    pairs.map(|(one, other)| [one, other].map(|number| number.parse().unwrap())).collect()
}

/// Returns the positions in a report of gpsd.
fn reported(record: &str) -> Vec<[f64; 2]> {
    let reports = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    reports.map(|report| ["lat", "lon"].map(|name| report[name].as_f64().unwrap())).collect()
}

fn contains(all: &[[f64; 2]], one: &[f64; 2]) -> bool {
    all.iter().any(|other| (0..2).all(|at| (other[at] - one[at]).abs() < ROUNDING))
}

fn shown(site: &Site, record: &str) -> String {
    let record = format!("{}/tests/data/gpsd/{record}.log", env!("CARGO_MANIFEST_DIR"));
    let output = site.run(&["sensor", "test", "gps", "--input", &record]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn positions_equal_those_of_gpsd() {
    let site = Site::at("http://127.0.0.1:9", RECEIVER);
    // Recording, positions that only tidegate reports, and damaged sentences. gpsd makes one report
    // of several sentences.
    for (name, extra, damaged) in [
        ("beidou-gb", 0, 0),
        ("garmin48", 0, 1),
        ("gr8013-w", 0, 0),
        ("humminbird-M37", 2, 0),
        ("motorola-t805", 0, 0),
        ("saab-r4", 0, 0),
        ("skytraq", 0, 0),
        ("tn200", 0, 0),
    ] {
        let shown = shown(&site, name);
        let (ours, theirs) = (positions(&shown), reported(&report(name)));
        let missing: Vec<_> = theirs.iter().filter(|one| !contains(&ours, one)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        let mut more: Vec<_> = ours.iter().filter(|one| !contains(&theirs, one)).collect();
        more.dedup();
        assert_eq!(more.len(), extra, "{name}: {more:?}");
        assert_eq!(shown.matches("(malformed)").count(), damaged, "{name}: {shown}");
    }
}

fn report(name: &str) -> String {
    let path = format!("{}/tests/data/gpsd/{name}.chk", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn fishing_boat_reports_depth_and_water_temperature() {
    let site = Site::at("http://127.0.0.1:9", RECEIVER);
    let shown = shown(&site, "humminbird-M37");
    assert_eq!(channel(&shown, "depth")[..3], ["2.2", "2.1", "2.1"]);
    assert_eq!(channel(&shown, "waterTemperature")[0], "17.9");
    assert_eq!(channel(&shown, "time")[0], "\"2006-09-16T19:41:01Z\"");
    assert_eq!(channel(&shown, "position")[0], "\"44.4352167,-71.6759933\"");
}
