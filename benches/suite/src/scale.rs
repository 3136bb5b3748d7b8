//! The command `scale`: measures the cost against sensors, devices and the backlog.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use tokio::time::Instant;

use crate::document;
use crate::figures::{self, float};
use crate::generator::DEVICES;
use crate::plant::Plant;
use crate::plot::{self, Line, Plot, Point};
use crate::process;
use crate::queue::Queue;
use crate::world::fresh_directory;

/// The most that the cost may grow faster than the size, before the command fails. A cost for a
/// message or a state may grow by this factor, too: caches have an end.
const GROWTH_MAX: f64 = 5.0;

/// The states of the flow of a number of devices.
const FLOW_STATES: u64 = 200_000;

/// The states of a backlog that are read again.
const READ_STATES: u64 = 50_000;

/// The options of the command.
#[derive(Args)]
pub(crate) struct Options {
    /// Directory for the measurements
    #[arg(long, default_value = "target/bench-peers")]
    directory: PathBuf,
    /// Messages that are mapped at each size
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Largest backlog: 1000000 or 10000000
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// File for the plot
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Document whose part "scale" is replaced by the table
    #[arg(long)]
    document: Option<PathBuf>,
}

/// A cost with its points.
struct Curve {
    line: Line,
    /// The cost is that of one message or state, and should not grow.
    is_each: bool,
}

impl Curve {
    fn new(name: &str, is_each: bool) -> Self {
        Self { line: Line { name: name.to_owned(), points: Vec::new() }, is_each }
    }

    fn add(&mut self, size: u64, cost: f64) {
        document::progress(&format!("{} at {size}: {}", self.line.name, figures::text(cost)));
        self.line.points.push(Point { x: float(size), y: cost });
    }

    /// Returns whether the cost grows faster than allowed, from its largest value at small sizes.
    fn is_too_steep(&self) -> bool {
        let (Some(first), Some(last)) = (self.line.points.first(), self.line.points.last()) else {
            return false;
        };
        let allowed = if self.is_each { GROWTH_MAX } else { GROWTH_MAX * last.x / first.x };
        last.y > allowed * first.y
    }
}

/// Measures, writes the plot and the table.
///
/// # Errors
///
/// A directory cannot be written, or a cost grows faster than the size.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let directory = fresh_directory(&options.directory, "scale")?;
    let sensors = by_sensors(options, &directory)?;
    let devices = by_devices(options, &directory)?;
    let backlog = by_backlog(options, &directory)?;
    let groups = [("sensors", sensors), ("devices", devices), ("waiting states", backlog)];
    let mut text = String::new();
    let mut steep = Vec::new();
    let mut plots = Vec::new();
    for (axis, curves) in groups {
        text.push_str(&table(axis, &curves));
        text.push('\n');
        for curve in curves.iter().filter(|curve| curve.is_too_steep()) {
            steep.push(format!("{} grows too fast with the {axis}", curve.line.name));
        }
        plots.push(Plot { axis, lines: curves.into_iter().map(|curve| curve.line).collect() });
    }
    if let Some(path) = &options.plot {
        let svg = plot::svg("The cost against the size, both logarithmic", &plots)?;
        fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    document::publish(options.document.as_deref(), "scale", &text)?;
    anyhow::ensure!(steep.is_empty(), "{}", steep.join("; "));
    Ok(())
}

fn by_sensors(options: &Options, directory: &Path) -> anyhow::Result<Vec<Curve>> {
    let mut map = Curve::new("µs to map a message", true);
    let mut read = Curve::new("ms to read the config", false);
    for sensors in [10, 100, 1_000, 10_000] {
        let mut plant = Plant::with_sensors(sensors)?;
        black_box(plant.run(sensors));
        map.add(sensors, map_each(&mut plant, options.messages)?);
        let file = configuration(directory, sensors)?;
        let started = Instant::now();
        let config = tidegate_config::load(&file);
        read.add(sensors, started.elapsed().as_secs_f64() * 1e3);
        config.map_err(|problems| anyhow::anyhow!("{problems}"))?;
    }
    Ok(vec![map, read])
}

fn by_devices(options: &Options, directory: &Path) -> anyhow::Result<Vec<Curve>> {
    let mut map = Curve::new("µs to map a message", true);
    let mut flow = Curve::new("µs for a state in the outbox", true);
    for devices in [1, 10, 100, 1_000] {
        let mut plant = Plant::with_devices(devices)?;
        black_box(plant.run(devices));
        map.add(devices, map_each(&mut plant, options.messages)?);
        let mut queue = Queue::create(directory, devices)?;
        let states = FLOW_STATES.min(options.messages);
        flow.add(devices, each(states, || queue.flow(states))?);
    }
    Ok(vec![map, flow])
}

fn by_backlog(options: &Options, directory: &Path) -> anyhow::Result<Vec<Curve>> {
    let mut append = Curve::new("µs to append a state", true);
    let mut peek = Curve::new("µs to read a state", true);
    let mut drain = Curve::new("µs to drain a state", true);
    let mut open = Curve::new("ms to open the outbox", false);
    let sizes = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    for states in sizes.into_iter().filter(|states| *states <= options.backlog) {
        let mut queue = Queue::create(directory, DEVICES)?;
        append.add(states, each(states, || queue.append(states))?);
        let started = Instant::now();
        queue.reopen()?;
        open.add(states, started.elapsed().as_secs_f64() * 1e3);
        peek.add(states, each(READ_STATES, || queue.peek(READ_STATES))?);
        drain.add(states, each(states, || queue.drain())?);
    }
    Ok(vec![append, peek, drain, open])
}

/// Returns the processor time to map a message.
fn map_each(plant: &mut Plant, messages: u64) -> anyhow::Result<f64> {
    each(messages, || {
        black_box(plant.run(messages));
        Ok(())
    })
}

/// Returns the processor time for one of `count`, in microseconds. The clock of the kernel has
/// steps of 10 ms, so a short task is timed by the wall clock.
fn each(count: u64, mut task: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (started, before) = (Instant::now(), process::own_cpu());
    task()?;
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), process::own_cpu() - before);
    let seconds = if cpu < 0.2 { elapsed } else { cpu };
    Ok(seconds * 1e6 / float(count.max(1)))
}

/// Writes a configuration with so many sensors of up to 1,000 devices.
fn configuration(directory: &Path, sensors: u64) -> anyhow::Result<PathBuf> {
    let credentials = directory.join("credentials.toml");
    fs::write(&credentials, "key = \"bench\"\nsecret = \"bench\"\n")?;
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600))?;
    let devices = sensors.min(1_000);
    let mut text = "[losant]\ndevice_id = \"575ecf887ae143cd83dc4a00\"\n".to_owned();
    text.push_str("[bus.mqtt.plant]\nhost = \"127.0.0.1\"\n");
    for device in 0..devices {
        write!(text, "[device.d{device}]\nid = \"575ecf887ae143cd9{device:07x}\"\n")?;
    }
    for sensor in 0..sensors {
        write!(
            text,
            "[sensor.s{sensor}]\nbus = \"plant\"\nformat = \"json\"\ndevice = \"d{}\"\n\
             topic = \"plant/s-{sensor}/reading\"\n\
             map = [{{ channel = \"temperature\", attribute = \"temperature_{}\" }}]\n",
            sensor % devices,
            sensor / devices,
        )?;
    }
    let file = directory.join("tidegate.toml");
    fs::write(&file, text)?;
    Ok(file)
}

fn table(axis: &str, curves: &[Curve]) -> String {
    let mut head = vec![axis.to_owned()];
    head.extend(curves.iter().map(|curve| curve.line.name.clone()));
    let sizes = curves.first().map(|curve| curve.line.points.as_slice()).unwrap_or_default();
    let rows: Vec<Vec<String>> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            let costs = curves.iter().filter_map(|curve| curve.line.points.get(index));
            let costs = costs.map(|point| figures::text(point.y));
            std::iter::once(figures::text(size.x)).chain(costs).collect()
        })
        .collect();
    document::table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn square_is_too_steep_and_line_is_not() {
        let curve = |is_each, cost: fn(u64) -> u64| {
            let mut curve = Curve::new("cost", is_each);
            for size in [10, 100, 1_000] {
                curve.add(size, float(cost(size)));
            }
            curve.is_too_steep()
        };
        assert!(curve(false, |size| size * size));
        assert!(!curve(false, |size| 3 * size));
        assert!(curve(true, |size| size));
        assert!(!curve(true, |size| 100 + size / 10));
    }
}
