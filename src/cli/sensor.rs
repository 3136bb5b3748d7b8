//! `tidegate sensor`: what the sensors make of what they hear, without touching the outbox or the
//! cloud.

mod learn;
mod probe;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ConfigArgs, Usage, check, print};
use crate::{app, logging};
use tidegate_bus::{BusEvent, driver};
use tidegate_config::{Bus, Config};
use tidegate_ingest::decode::Births;
use tidegate_ingest::frame::{Frame, Framer};
use tidegate_ingest::mapping::{Outgoing, Pipeline, PipelineOutput, Sensor};
use tidegate_model::{Account, DeviceId, Name, Reading};
use tidegate_runtime::clock::{Clock as _, SharedClock, SystemClock};
use tidegate_timing::machine::Machine as _;

/// The most that is read from a file or standard input: more than any recording of a sensor needs.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// The longest that is listened: a day, in which the slowest sensor speaks.
const LISTEN_MAX: Duration = Duration::from_secs(86_400);

/// How many bytes of a message are shown in hexadecimal digits.
const BYTES_SHOWN_MAX: usize = 64;

/// What can be asked about sensors.
#[derive(Debug, Subcommand)]
pub(super) enum SensorCommand {
    /// Lists the sensors with their buses and mappings.
    List(ConfigArgs),
    /// Shows what a sensor makes of what it hears: message, channels, and the states that would be
    /// sent.
    ///
    /// Nothing is stored or sent. Without --input it listens to the bus itself; a serial line must
    /// then be free, so stop the daemon first.
    Test(TestArgs),
    /// Listens to a serial line at the usual settings, and prints the tables that would report what
    /// speaks there.
    ///
    /// Nothing is written to the line, stored or sent. Stop the daemon first if it has that line.
    /// The tables go to standard output, for a file in conf.d; what was heard is told on standard
    /// error.
    Probe(probe::ProbeArgs),
    /// Listens to an MQTT broker, tells what its topics hold, and prints the tables that would
    /// report it.
    ///
    /// Nothing is stored or sent, and the daemon's session with the broker is not disturbed. The
    /// tables go to standard output, for a file in conf.d; what was heard is told on standard
    /// error.
    Learn(learn::LearnArgs),
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The sensor.
    name: String,
    /// Reads what was recorded instead of listening; "-" is standard input. For a bus without a
    /// stream of bytes it is one message.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The topic of a recorded message.
    #[arg(long, default_value = "", requires = "input")]
    topic: String,
    /// Ends after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Does what was asked.
pub(super) fn run(command: SensorCommand) -> anyhow::Result<()> {
    match command {
        SensorCommand::List(args) => list(&args.inspect()?),
        SensorCommand::Test(args) => test(&args),
        SensorCommand::Probe(args) => probe::probe(&args),
        SensorCommand::Learn(args) => learn::learn(&args),
    }
}

fn list(config: &Config) -> anyhow::Result<()> {
    let mut page = String::new();
    for (name, bus) in &config.buses {
        for sensor in &bus.sensors {
            write!(page, "bus {name}")?;
            check::describe_sensor(&mut page, sensor, config)?;
        }
    }
    print(&page)
}

fn test(args: &TestArgs) -> anyhow::Result<()> {
    let mut config = args.config.inspect()?;
    let mut bench = Bench::new(&args.name, &mut config)?;
    match &args.input {
        Some(path) => bench.replay(&read(path)?, &args.topic, args.count),
        None => bench.listen(&config.log_level, args.count),
    }
}

/// One sensor with its bus, out of its configuration.
struct Bench {
    bus_name: Name,
    bus: Bus,
    sensor: Sensor,
    pipeline: Pipeline,
    births: Births,
    devices: Vec<(Name, DeviceId)>,
}

impl Bench {
    fn new(name: &str, config: &mut Config) -> anyhow::Result<Self> {
        let has = |bus: &Bus| bus.sensors.iter().any(|sensor| *sensor.name == *name);
        let found = config.buses.iter().find(|(_, bus)| has(bus)).map(|(name, _)| name.clone());
        let found = found.and_then(|name| config.buses.remove_entry(&name));
        let Some((bus_name, mut bus)) = found else {
            return Err(Usage::new(format!(
                "there is no sensor \"{name}\"; \"tidegate sensor list\" shows them"
            ))
            .into());
        };
        bus.sensors.retain(|sensor| *sensor.name == *name);
        let sensor = bus.sensors.first().cloned().context("the bus lost its sensor")?;
        let pipeline = Pipeline::new(bus.sensors.clone(), config.devices.clone());
        let devices = config.devices.clone().into_iter().collect();
        Ok(Self { bus_name, bus, sensor, pipeline, births: Births::default(), devices })
    }

    /// What is recorded goes through the framer of the bus, if it has one.
    fn replay(&mut self, bytes: &[u8], topic: &str, count: Option<u64>) -> anyhow::Result<()> {
        let mut frames = Vec::new();
        match driver(&self.bus.kind).framing() {
            Some(framing) => {
                let mut framer = Framer::new(framing);
                let now = Instant::now().into_std();
                framer.handle_bytes(bytes, now);
                if let Some(due) = framer.poll_timeout() {
                    framer.handle_timeout(due);
                }
                frames.extend(framer.drain_frames());
            }
            None => frames.push(Frame::Whole(Bytes::copy_from_slice(bytes))),
        }
        let limit = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        for frame in frames.into_iter().take(limit) {
            match frame {
                Frame::Whole(payload) => self.show(topic.to_owned(), payload)?,
                Frame::Lost(loss) => print(&format!("lost      {loss:?}\n\n"))?,
            }
        }
        self.pipeline.handle_stop();
        self.show_generated()
    }

    /// Listens to the bus until it is interrupted or has heard enough.
    fn listen(&mut self, log_level: &str, count: Option<u64>) -> anyhow::Result<()> {
        logging::start(log_level)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(async {
            let stop = CancellationToken::new();
            let clock: SharedClock = Arc::new(SystemClock);
            let mut listening = app::start_single_bus(&self.bus_name, &self.bus, &clock, &stop);
            let mut heard = 0;
            while count.is_none_or(|count| heard < count) {
                let due = self.pipeline.poll_timeout().map(Instant::from_std);
                tokio::select! {
                    arrival = listening.arrivals.recv() => match arrival {
                        Some(BusEvent::Reading(reading, _) | BusEvent::Line(Some(reading), _)) => {
                            heard += 1;
                            self.show(reading.topic, reading.payload)?;
                        }
                        Some(_) => show_losses(&listening.losses())?,
                        None => break,
                    },
                    () = async { match due {
                        Some(due) => tokio::time::sleep_until(due).await,
                        None => std::future::pending().await,
                    }} => {
                        self.pipeline.handle_timeout(Instant::now().into_std());
                        self.show_generated()?;
                    }
                }
            }
            stop.cancel();
            Ok(())
        })
    }

    /// One message, step by step.
    fn show(&mut self, topic: String, payload: Bytes) -> anyhow::Result<()> {
        let mut page = String::new();
        if !topic.is_empty() {
            writeln!(page, "topic     {topic}")?;
        }
        let digits = payload.iter().take(BYTES_SHOWN_MAX).map(|byte| format!("{byte:02x}"));
        let more = if payload.len() > BYTES_SHOWN_MAX { " …" } else { "" };
        writeln!(page, "bytes     {}{more}", digits.collect::<Vec<_>>().join(" "))?;
        writeln!(page, "message   \"{}\"", payload.escape_ascii())?;
        match self.sensor.format.decode(&topic, &payload, &mut self.births) {
            Err(error) => writeln!(page, "{:<9} {error}", self.sensor.format.to_string())?,
            Ok(messages) => {
                for message in &messages {
                    for name in message.names() {
                        match message.channel(name) {
                            Some(Ok(value)) => writeln!(
                                page,
                                "channel   {name} = {}",
                                serde_json::to_string(&value)?
                            )?,
                            Some(Err(error)) => writeln!(page, "channel   {name}: {error}")?,
                            None => {}
                        }
                    }
                }
            }
        }
        let (bus, time) = (self.bus_name.clone(), SystemClock.now());
        let reading = Reading { bus, time, topic, payload, origin: None };
        self.pipeline.handle_reading(&reading, Instant::now().into_std());
        while let Some(output) = self.pipeline.poll_action() {
            self.describe(&mut page, &output)?;
        }
        page.push('\n');
        print(&page)
    }

    /// Prints the states that the pipeline generated.
    fn show_generated(&mut self) -> anyhow::Result<()> {
        let mut page = String::new();
        while let Some(output) = self.pipeline.poll_action() {
            self.describe(&mut page, &output)?;
        }
        print(&page)
    }

    fn describe(&self, page: &mut String, output: &PipelineOutput) -> anyhow::Result<()> {
        for (word, states) in [("state", &output.states), ("made", &output.generated)] {
            for Outgoing { device, state, .. } in states {
                writeln!(
                    page,
                    "{word:<9} {} {}",
                    self.device_name(*device),
                    serde_json::to_string(state)?
                )?;
            }
        }
        for (word, counts) in [("rejected", &output.rejected), ("filtered", &output.filtered)] {
            for (reason, count) in counts {
                writeln!(page, "{word:<9} {count} ({reason})")?;
            }
        }
        for detail in &output.details {
            writeln!(page, "because   {detail}")?;
        }
        Ok(())
    }

    fn device_name(&self, id: DeviceId) -> String {
        let found = self.devices.iter().find(|(_, one)| *one == id);
        found.map_or_else(|| id.to_string(), |(name, _)| name.to_string())
    }
}

/// What a bus could make no message of, as at a wrong speed of its line.
fn show_losses(losses: &Account) -> anyhow::Result<()> {
    let counts = losses.rejected.iter().chain(&losses.dropped);
    let lines = counts.map(|(reason, count)| format!("lost      {count} ({reason})\n"));
    print(&lines.collect::<String>())
}

/// Tells a person, beside what goes to a file.
fn tell(text: &str) {
    // With standard error gone nobody is there to read it.
    std::io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

/// How long to listen, as it is given with --for.
fn listening_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=LISTEN_MAX).contains(&time) {
        Ok(time)
    } else {
        Err("give a time from 1s to 1day".to_owned())
    }
}

/// A path from the root on, as a configuration needs it that will stand elsewhere.
fn absolute(path: &Path) -> anyhow::Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("no path: {}", path.display()))?;
    path.to_str().map(str::to_owned).context("the path is no UTF-8")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(INPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        let file =
            std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        file.take(INPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
