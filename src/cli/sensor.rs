//! `tidegate sensor`: lists, tests and discovers sensors without outbox and cloud.

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
pub(super) use learn::with_own_client_id;
use tidegate_bus::{BusEvent, driver};
use tidegate_config::{Bus, Config};
use tidegate_ingest::decode::Births;
use tidegate_ingest::frame::{Frame, Framer};
use tidegate_ingest::mapping::{
    AttributeSelector, DeviceSelector, Mapping, Outgoing, Pipeline, PipelineOutput, Sensor, Source,
};
use tidegate_model::{Account, BusMessage, DeviceId, Name};
use tidegate_runtime::clock::{Clock as _, SharedClock, SystemClock};
use tidegate_timing::machine::Machine as _;

/// The most bytes that are read from a file or standard input.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// The longest time to listen.
const LISTEN_MAX: Duration = Duration::from_secs(86_400);

/// How many bytes of a message are shown as hexadecimal digits.
const BYTES_SHOWN_MAX: usize = 64;

/// The subcommands of `tidegate sensor`.
#[derive(Debug, Subcommand)]
pub(super) enum SensorCommand {
    /// List the sensors with their buses and mappings
    List(ConfigArgs),
    /// Show the messages of a sensor, their channels and the resulting states
    ///
    /// Nothing is stored or sent. Without --input it reads the bus itself. A serial line must be
    /// free, so stop the daemon first.
    Test(TestArgs),
    /// Detect the instrument on a serial line and print its configuration
    ///
    /// Nothing is written to the line, stored or sent. Stop the daemon first if it uses the line.
    /// The configuration goes to standard output, for a file in conf.d. The findings go to standard
    /// error.
    Probe(probe::ProbeArgs),
    /// Detect the sensors of an MQTT broker and print their configuration
    ///
    /// Nothing is stored or sent, and the session of the daemon is not disturbed. The configuration
    /// goes to standard output, for a file in conf.d. The findings go to standard error.
    Learn(learn::LearnArgs),
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Name of the sensor
    name: String,
    /// Read a recording in place of the bus; "-" is standard input
    ///
    /// For a bus without a stream of bytes the recording is one message.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Topic of the recorded message
    #[arg(long, default_value = "", requires = "input")]
    topic: String,
    /// End after this number of messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Runs `tidegate sensor`.
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
    let devices = check::DeviceNames::of(config);
    for (name, bus) in &config.buses {
        for sensor in &bus.sensors {
            write!(page, "bus {name}")?;
            check::describe_sensor(&mut page, sensor, &devices)?;
        }
    }
    print(&page)
}

fn test(args: &TestArgs) -> anyhow::Result<()> {
    let mut config = args.config.inspect()?;
    let mut bench = Bench::new(&args.name, &mut config)?;
    match &args.input {
        Some(path) => {
            bench.check_topic(&args.topic)?;
            bench.replay(&read_file(path)?, &args.topic, args.count)
        }
        None => bench.listen(&config.log_level, args.count),
    }
}

/// One sensor with its bus.
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
                "there is no sensor \"{name}\"; list the sensors with \"tidegate sensor list\""
            ))
            .into());
        };
        bus.sensors.retain(|sensor| *sensor.name == *name);
        let sensor = bus.sensors.first().cloned().context("the bus lost its sensor")?;
        let pipeline = Pipeline::new(bus.sensors.clone(), config.devices.clone());
        let devices = config.devices.clone().into_iter().collect();
        Ok(Self { bus_name, bus, sensor, pipeline, births: Births::default(), devices })
    }

    /// Refuses a recording without the topic that the sensor needs, or with another topic: its
    /// messages would all be ignored.
    fn check_topic(&self, topic: &str) -> anyhow::Result<()> {
        let Some(filter) = &self.sensor.topic else {
            if !topic.is_empty() || !self.uses_topic() {
                return Ok(());
            }
            let fix = "give the topic of the recorded message: --topic TOPIC";
            return Err(Usage::new(format!("templates of the sensor use the topic; {fix}")).into());
        };
        if filter.matches(topic) {
            return Ok(());
        }
        let example = filter.as_str().replace(['+', '#'], "x");
        let problem = if topic.is_empty() {
            format!("the sensor reads only topics that match {filter}")
        } else {
            format!("topic \"{topic}\" does not match {filter}, the topic of the sensor")
        };
        let fix = format!("give the topic of the recorded message: --topic {example}");
        Err(Usage::new(format!("{problem}; {fix}")).into())
    }

    /// Returns whether a template or an expression of the sensor uses the topic.
    fn uses_topic(&self) -> bool {
        let names_topic = |variables: &[String]| variables.iter().any(|name| name == "topic");
        let is_in_device = match &self.sensor.device {
            DeviceSelector::ByTemplate(template) => names_topic(template.variables()),
            DeviceSelector::Fixed(_) => false,
        };
        let is_in = |mapping: &Mapping| {
            let is_in_attribute = match &mapping.attribute {
                AttributeSelector::ByTemplate(template) => names_topic(template.variables()),
                AttributeSelector::Fixed(_) => false,
            };
            let is_in_source = match &mapping.source {
                Source::Expression(expression) => names_topic(expression.variables()),
                Source::Channel(_) => false,
            };
            is_in_attribute || is_in_source
        };
        is_in_device || self.sensor.map.iter().any(is_in)
    }

    /// Shows the messages of a recording, which passes the framer of the bus.
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
                Frame::Lost(lost) => print(&format!("lost      {lost}\n\n"))?,
            }
        }
        self.pipeline.handle_stop();
        self.show_generated()
    }

    /// Shows the messages of the bus until `count` is reached or the bus ends.
    fn listen(&mut self, log_level: &str, count: Option<u64>) -> anyhow::Result<()> {
        logging::start(log_level)?;
        for detail in driver(&self.bus.kind).details() {
            print(&format!("{detail}\n"))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(async {
            let stop = CancellationToken::new();
            let clock: SharedClock = Arc::new(SystemClock);
            let mut listening = app::start_single_bus(&self.bus_name, &self.bus, &clock, &stop);
            let mut messages = 0;
            while count.is_none_or(|count| messages < count) {
                let due = self.pipeline.poll_timeout().map(Instant::from_std);
                tokio::select! {
                    event = listening.events.recv() => match event {
                        Some(BusEvent::Message(message, _) | BusEvent::Line(Some(message), _)) => {
                            messages += 1;
                            self.show(message.topic, message.payload)?;
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

    /// Prints one message with its channels and states.
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
        let message = BusMessage { bus, time, topic, payload, origin: None };
        self.pipeline.handle_message(&message, Instant::now().into_std());
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
        let rejected = output.rejected.iter().map(|(reason, count)| {
            (if reason.is_skip() { "skipped" } else { "rejected" }, reason, count)
        });
        let filtered = output.filtered.iter().map(|(reason, count)| ("filtered", reason, count));
        for (word, reason, count) in rejected.chain(filtered) {
            writeln!(page, "{word:<9} {count} ({reason})")?;
        }
        for detail in &output.details {
            writeln!(page, "because   {}", detail.text)?;
        }
        Ok(())
    }

    fn device_name(&self, id: DeviceId) -> String {
        let found = self.devices.iter().find(|(_, one)| *one == id);
        found.map_or_else(|| id.to_string(), |(name, _)| name.to_string())
    }
}

/// Prints what the bus lost, such as bytes at a wrong speed of the line.
fn show_losses(losses: &Account) -> anyhow::Result<()> {
    let counts = losses.rejected.iter().chain(&losses.dropped);
    let lines = counts.map(|(reason, count)| format!("lost      {count} ({reason})\n"));
    print(&lines.collect::<String>())
}

/// Prints to standard error.
pub(super) fn print_progress(text: &str) {
    // Without standard error the text is lost.
    std::io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

/// Why the argument of --for is invalid.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListeningTimeError {
    #[error(transparent)]
    Duration(#[from] humantime::DurationError),
    #[error("give a time from 1s to 1day")]
    OutOfRange,
}

/// Parses the argument of --for.
pub(super) fn listening_time(text: &str) -> Result<Duration, ListeningTimeError> {
    let time = humantime::parse_duration(text)?;
    if (Duration::from_secs(1)..=LISTEN_MAX).contains(&time) {
        Ok(time)
    } else {
        Err(ListeningTimeError::OutOfRange)
    }
}

/// Returns the absolute path, for a configuration in another directory.
fn absolute(path: &Path) -> anyhow::Result<String> {
    let path =
        std::path::absolute(path).with_context(|| format!("invalid path {}", path.display()))?;
    path.to_str().map(str::to_owned).context("the path is not UTF-8")
}

pub(super) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
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
