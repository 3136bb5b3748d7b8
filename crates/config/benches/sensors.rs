//! Measures how long the configuration of many sensors takes to read, to compare and to render.
//!
//! `cargo bench -p tidegate-config` prints the times for 10 to 10,000 sensors of up to 1,000
//! devices on one bus. Each time must be linear in the sensors: the benchmark fails if ten times
//! the sensors take more than [`GROWTH_MAX`] times as long.

use std::fmt::Write as _;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_config::{Difference, changed_keys, explain, portable, render};

type Failure = Box<dyn std::error::Error>;

/// The numbers of sensors.
const SENSORS: [usize; 4] = [10, 100, 1_000, 10_000];

/// The most devices.
const DEVICES_MAX: usize = 1_000;

/// The most that ten times the sensors may take. A square would be 100.
const GROWTH_MAX: f64 = 25.0;

/// The times of one number of sensors.
struct Times {
    read: Duration,
    compare: Duration,
    render: Duration,
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    println!("sensors    read ms    compare ms    render ms");
    let mut last: Option<Times> = None;
    for sensors in SENSORS {
        let times = measure(directory.path(), sensors)?;
        let Times { read, compare, render } = &times;
        let [read, compare, render] = [read, compare, render].map(|time| time.as_secs_f64() * 1e3);
        println!("{sensors:7}    {read:7.1}    {compare:10.1}    {render:9.1}");
        if let Some(last) = last.replace(times)
            && sensors > 1_000
            && read > GROWTH_MAX * last.read.as_secs_f64() * 1e3
        {
            return Err("the time to read grows faster than the sensors".into());
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(directory: &Path, sensors: usize) -> Result<Times, Failure> {
    let file = write_configuration(directory, sensors)?;
    let start = Instant::now();
    let (old, old_entries) = explain(&file)?;
    let read = start.elapsed();
    let (new, new_entries) = explain(&file)?;
    let start = Instant::now();
    black_box(Difference::between(&old, &new));
    black_box(changed_keys(&old_entries, &new_entries));
    let compare = start.elapsed();
    let start = Instant::now();
    black_box(render(&portable(&new_entries, &file)));
    Ok(Times { read, compare, render: start.elapsed() })
}

/// Writes a configuration with so many sensors, each with a topic of its own.
fn write_configuration(directory: &Path, sensors: usize) -> Result<PathBuf, Failure> {
    let credentials = directory.join("credentials.toml");
    std::fs::write(&credentials, "key = \"k\"\nsecret = \"s\"\n")?;
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600))?;
    let mut text = "losant.device_id = \"575ecf887ae143cd83dc4a00\"\n".to_owned();
    let devices = sensors.min(DEVICES_MAX);
    for device in 0..devices {
        write!(text, "[device.d{device}]\nid = \"575ecf887ae143cd8{device:07x}\"\n")?;
    }
    text.push_str("[bus.mqtt.house]\nhost = \"127.0.0.1\"\n");
    for sensor in 0..sensors {
        let device = sensor % devices;
        let number = sensor / devices;
        write!(
            text,
            "[sensor.s{sensor}]\nbus = \"house\"\ntopic = \"sensors/{sensor}/data\"\n\
             device = \"d{device}\"\nformat = \"json\"\nmap = [\n\
             {{ channel = \"t\", attribute = \"temp_{number}\", scale = 0.1, deadband = 0.5 }},\n\
             {{ channel = \"h\", attribute = \"hum_{number}\" }},\n]\n"
        )?;
    }
    let file = directory.join("tidegate.toml");
    std::fs::write(&file, text)?;
    Ok(file)
}
