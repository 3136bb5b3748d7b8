//! Measures the pure part of the way of a reading: decode a message, map it, filter its values.
//!
//! `cargo bench -p tidegate-ingest` prints messages per second. The cost must not depend on the
//! number of sensors of the bus: the benchmark fails if 10,000 sensors cost much more than 10.
//!
//! For instructions per message, which do not depend on the computer, run the program twice under
//! `valgrind --tool=callgrind` with `once SCENARIO SENSORS MESSAGES`, and divide the difference of
//! the instructions by the difference of the messages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_ingest::decode::Json;
use tidegate_ingest::mapping::{
    Deadband, DeviceSelector, Mapping, Pipeline, Sensor, StaleSettings,
};
use tidegate_model::{BusMessage, DeviceId, Name, WallTime};
use tidegate_template::Template;
use tidegate_timing::machine::Machine as _;

type Failure = Box<dyn std::error::Error>;

/// The devices of the first scenario, each with an alias.
const DEVICES: u8 = 50;

/// The channels that a message has and the sensor maps.
const CHANNELS: [&str; 6] = ["seq", "us", "temp", "hum", "pres", "st"];

/// The length of a run.
const RUN: Duration = Duration::from_secs(1);

/// The messages between two looks at the clock.
const STEP: u64 = 1_000;

/// The numbers of sensors whose cost for each message is compared.
const SENSORS: [usize; 4] = [10, 100, 1_000, 10_000];

/// The most that a message may cost with the most sensors, as a multiple of the fewest. The number
/// of instructions differs by 3 %; the rate fell to 37 %, probably for want of caches.
const GROWTH_MAX: f64 = 5.0;

/// The instant between two messages.
const INTERVAL: Duration = Duration::from_micros(100);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, scenario, sensors, messages] = arguments.as_slice()
        && mode == "once"
    {
        let mut bench = Bench::new(scenario, sensors.parse()?)?;
        bench.run(messages.parse()?);
        return Ok(());
    }
    compare()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints")]
fn compare() -> Result<(), Failure> {
    println!("scenario    sensors    messages/s");
    println!("template          1    {:10.0}", Bench::new("template", 1)?.rate());
    let mut rates = Vec::new();
    for sensors in SENSORS {
        let rate = Bench::new("sensors", sensors)?.rate();
        println!("sensors    {sensors:8}    {rate:10.0}");
        rates.push(rate);
    }
    let (Some(few), Some(many)) = (rates.first(), rates.last()) else { return Ok(()) };
    if few / many > GROWTH_MAX {
        return Err("the cost of a message grows with the number of sensors".into());
    }
    Ok(())
}

/// A pipeline with the messages that it receives in turn.
struct Bench {
    pipeline: Pipeline,
    messages: Vec<BusMessage>,
    now: Instant,
}

impl Bench {
    /// `template`: one sensor of 50 devices, which a template names by an alias. `sensors`: many
    /// sensors with a topic each, a deadband for each attribute, and a report of their silence.
    fn new(scenario: &str, sensors: usize) -> Result<Self, Failure> {
        match scenario {
            "template" => templated(),
            "sensors" => many(sensors),
            _ => Err("the scenario is template or sensors".into()),
        }
    }

    /// Maps `count` messages, and asks for time-outs and statistics as the collector does.
    fn run(&mut self, count: u64) {
        let mut messages = self.messages.iter().cycle();
        for _ in 0..count {
            let Some(message) = messages.next() else { return };
            self.now += INTERVAL;
            if self.pipeline.poll_timeout().is_some_and(|due| due <= self.now) {
                self.pipeline.handle_timeout(self.now);
            }
            self.pipeline.handle_message(message, self.now);
            while let Some(output) = self.pipeline.poll_action() {
                drop(black_box(output));
            }
        }
    }

    /// Returns the messages per second.
    #[expect(
        clippy::disallowed_methods,
        clippy::cast_precision_loss,
        reason = "a benchmark reads the clock and divides counts"
    )]
    fn rate(&mut self) -> f64 {
        self.run(u64::try_from(self.messages.len()).unwrap_or(STEP).max(STEP));
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < RUN {
            self.run(STEP);
            count += STEP;
        }
        count as f64 / start.elapsed().as_secs_f64()
    }
}

fn templated() -> Result<Bench, Failure> {
    let (mut devices, mut aliases) = (BTreeMap::new(), BTreeMap::new());
    let mut messages = Vec::new();
    for number in 0..DEVICES {
        let name: Name = format!("s{number:02}").parse()?;
        devices.insert(name.clone(), DeviceId::from([number; 12]));
        aliases.insert(format!("s-{number:02}"), name);
        messages.push(message(usize::from(number))?);
    }
    let template = Template::compile("sensor.all.device", "{{ payload.dev }}")?;
    let mut sensor = sensor("all", "sensors/+/data", DeviceSelector::ByTemplate(template))?;
    sensor.aliases = aliases;
    Ok(bench(vec![sensor], devices, messages))
}

fn many(count: usize) -> Result<Bench, Failure> {
    let mut sensors = Vec::new();
    let mut messages = Vec::new();
    for number in 0..count {
        let mut id = [0; 12];
        for (byte, digit) in id.iter_mut().zip(number.to_be_bytes()) {
            *byte = digit;
        }
        let device = DeviceSelector::Fixed(DeviceId::from(id));
        let name = format!("s{number}");
        let mut sensor = sensor(&name, &format!("sensors/{number}/data"), device)?;
        let after = Duration::from_secs(3_600);
        sensor.stale = Some(StaleSettings { after, attribute: "online".parse()? });
        for mapping in &mut sensor.map {
            mapping.filter.deadband = Some(Deadband::Absolute(0.0));
            mapping.filter.interval_min = Some(Duration::from_secs(1));
        }
        sensors.push(sensor);
        messages.push(message(number)?);
    }
    Ok(bench(sensors, BTreeMap::new(), messages))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn bench(
    sensors: Vec<Sensor>,
    devices: BTreeMap<Name, DeviceId>,
    messages: Vec<BusMessage>,
) -> Bench {
    let now = Instant::now();
    let mut pipeline = Pipeline::new(sensors, devices);
    pipeline.handle_start(WallTime::from_millis(1_777_629_600_000).into(), now);
    Bench { pipeline, messages, now }
}

fn sensor(name: &str, topic: &str, device: DeviceSelector) -> Result<Sensor, Failure> {
    let mut map = Vec::new();
    for channel in CHANNELS {
        map.push(Mapping::of_channel(channel, channel.parse()?));
    }
    let format = Json::default().into();
    Ok(Sensor::new(name.parse()?, Some(topic.parse()?), format, device, map))
}

/// Returns a message as it is measured end to end: about 120 bytes.
fn message(number: usize) -> Result<BusMessage, Failure> {
    let mut payload = String::new();
    let device = number % usize::from(DEVICES);
    write!(
        payload,
        concat!(
            r#"{{"t":1777629600123,"us":1777629600123456,"seq":{number},"temp":{}.{:02},"#,
            r#""hum":{}.{},"pres":1013.25,"dev":"s-{device:02}","st":"ok"}}"#
        ),
        15 + number % 20,
        number % 100,
        30 + number % 50,
        number % 10,
        number = number,
        device = device,
    )?;
    Ok(BusMessage {
        bus: "house".parse()?,
        time: WallTime::from_millis(1_777_629_600_000).into(),
        topic: format!("sensors/{number}/data"),
        payload: Bytes::from(payload),
        origin: None,
    })
}
