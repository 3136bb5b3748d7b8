//! `tidegate sensor learn`: detects the sensors of a broker and prints their configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{absolute, listening_time, print_progress};
use crate::cli::{ConfigArgs, Unavailable, Usage, print};
use crate::{app, logging};
use tidegate_bus::BusEvent;
use tidegate_config::{Bus, BusKind};
use tidegate_discover::mqtt::shape::Channel;
use tidegate_discover::mqtt::{TOPICS_MAX, TopicSurvey, quoted, sensors};
use tidegate_model::Name;
use tidegate_model::excerpt::line;
use tidegate_runtime::clock::{SharedClock, SystemClock};

/// The bus name of a broker that is given by its host.
const BROKER: &str = "broker";

/// How often the connection to the broker is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(in crate::cli) struct LearnArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Bus from the configuration
    #[arg(long, value_name = "NAME", required_unless_present = "host")]
    bus: Option<String>,
    /// Host of a broker that is not configured
    #[arg(long, conflicts_with = "bus")]
    host: Option<String>,
    /// Port of the broker
    #[arg(long, requires = "host")]
    port: Option<u16>,
    /// File with user = "…" and password = "…"
    #[arg(long, value_name = "FILE", requires = "host")]
    credentials_file: Option<PathBuf>,
    /// Use TLS with the certificates of the system
    #[arg(long, requires = "host")]
    tls: bool,
    /// Use TLS with the certificates in this file
    #[arg(long, value_name = "FILE", requires = "host")]
    ca_file: Option<PathBuf>,
    /// Topic filter
    #[arg(long, default_value = "#")]
    filter: String,
    /// Also write the last message of each topic to FILE, for provision --learned
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// How long to listen; Ctrl-C ends it earlier
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = listening_time)]
    time: Duration,
}

/// Listens to the broker, then prints the findings and the configuration.
pub(super) fn learn(args: &LearnArgs) -> anyhow::Result<()> {
    let tables = args.host.as_ref().map(|host| bus_tables(args, host)).transpose()?;
    let Found { name, bus, sensors: taken } = find_bus(args, tables.as_deref())?;
    let BusKind::Mqtt(settings) = &bus.kind else {
        return Err(Usage::new(format!(
            "bus {name} is {}; sensor learn needs an MQTT bus; use sensor probe for a serial line",
            bus.kind.word()
        ))
        .into());
    };
    let broker = format!("{}:{}", settings.host, settings.port);
    // Errors end the command, so the log needs no other lines.
    logging::start("error")?;
    let seconds = args.time.as_secs();
    print_progress(&format!(
        "Listening to {} on {broker} for {seconds} s; Ctrl-C ends it.\n",
        args.filter
    ));
    let mut survey = TopicSurvey::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let mut last = args.record.is_some().then(LastMessages::default);
    let listening = Listening { broker: &broker, time: args.time };
    runtime.block_on(listen(&name, &bus, &listening, &mut survey, last.as_mut()))?;
    if let (Some(file), Some(last)) = (&args.record, &last) {
        last.write(file)?;
    }
    print_progress(&findings(&survey));
    let sensors = sensors(&name, &survey.topic_groups(), taken);
    if sensors.is_empty() {
        print_progress(
            "No usable message arrived. Does a sensor publish in this time, and may this user read \
             its topics?\n",
        );
        return Ok(());
    }
    let known = format!("[bus.mqtt.{name}]\nhost = \"{BROKER}\"\n\n");
    // The printed tables must be a valid configuration.
    tidegate_config::check_text(&format!("{}{sensors}", tables.as_ref().unwrap_or(&known)))?;
    print(&format!("{}{sensors}", tables.unwrap_or_default()))
}

/// The last message of each topic.
#[derive(Default)]
struct LastMessages(BTreeMap<String, Vec<u8>>);

impl LastMessages {
    /// Keeps a message, if it fits on a line.
    fn add(&mut self, topic: &str, payload: &[u8]) {
        let fits = !topic.contains(char::is_whitespace) && !payload.contains(&b'\n');
        if fits && (self.0.len() < TOPICS_MAX || self.0.contains_key(topic)) {
            self.0.insert(topic.to_owned(), payload.to_vec());
        }
    }

    fn write(&self, file: &Path) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        for (topic, payload) in &self.0 {
            lines.extend_from_slice(topic.as_bytes());
            lines.push(b' ');
            lines.extend_from_slice(payload);
            lines.push(b'\n');
        }
        std::fs::write(file, lines).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Listens to a broker for a time.
struct Listening<'a> {
    broker: &'a str,
    time: Duration,
}

async fn listen(
    name: &Name,
    bus: &Bus,
    Listening { broker, time }: &Listening<'_>,
    survey: &mut TopicSurvey,
    mut last: Option<&mut LastMessages>,
) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let clock: SharedClock = Arc::new(SystemClock);
    let mut listening = app::start_single_bus(name, bus, &clock, &stop);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let end = Instant::now() + *time;
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let done = loop {
        let step = tokio::select! {
            event = listening.events.recv() => match event {
                Some(BusEvent::Message(message, _)) => {
                    let now = Instant::now().into_std();
                    if let Some(last) = &mut last {
                        last.add(&message.topic, &message.payload);
                    }
                    if survey.handle_message(&message.topic, &message.payload, now) {
                        print_progress(&format!("new topic {}\n", line(message.topic.as_bytes())));
                    }
                    ControlFlow::Continue(())
                }
                Some(_) => ControlFlow::Continue(()),
                None => ControlFlow::Break(Ok(())),
            },
            _ = check.tick() => {
                let status = listening.status();
                let is_gone = status.connected == Some(false) && survey.messages() == 0;
                if is_gone {
                    ControlFlow::Break(Err(Unavailable(format!("{broker}: {}", status.error))))
                } else {
                    ControlFlow::Continue(())
                }
            }
            () = tokio::time::sleep_until(end) => ControlFlow::Break(Ok(())),
            _ = interrupt.recv() => ControlFlow::Break(Ok(())),
        };
        if let ControlFlow::Break(done) = step {
            break done;
        }
    };
    stop.cancel();
    Ok(done?)
}

/// The bus with one sensor for all topics of the filter.
struct Found {
    name: Name,
    bus: Bus,
    /// The names of the configured sensors.
    sensors: BTreeSet<String>,
}

fn find_bus(args: &LearnArgs, tables: Option<&str>) -> anyhow::Result<Found> {
    let wanted = args.bus.as_deref().unwrap_or(BROKER);
    let filter = quoted(&args.filter);
    let all = |bus: &str| {
        format!(
            "{bus}\n[sensor.all]\nbus = \"{BROKER}\"\ntopic = {filter}\nformat = \"text\"\n\
             retained = true\nmap = [{{ channel = \"value\", attribute = \"value\" }}]\n"
        )
    };
    let trial = |bus: &str| -> anyhow::Result<(Name, Bus)> {
        let found = tidegate_config::check_text(&all(bus))?.buses.into_iter().next();
        found.context("the table of the broker is missing")
    };
    let Some(tables) = tables else {
        let sensors = trial("[bus.mqtt.broker]\nhost = \"localhost\"")?.1.sensors;
        let config = tidegate_config::load_to_discover(&args.config.config)?;
        let named = config.buses.values().flat_map(|bus| &bus.sensors);
        let taken = named.map(|sensor| sensor.name.to_string()).collect();
        let names: Vec<_> = config.buses.keys().map(ToString::to_string).collect();
        let found = config.buses.into_iter().find(|(name, _)| **name == *wanted);
        let Some((name, bus)) = found else {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(
                Usage::new(format!("there is no bus \"{wanted}\"; configured: {known}")).into()
            );
        };
        return Ok(Found { name, bus: with_own_client_id(Bus { sensors, ..bus }), sensors: taken });
    };
    let (name, bus) = trial(tables)?;
    Ok(Found { name, bus: with_own_client_id(bus), sensors: BTreeSet::new() })
}

/// Sets a client id of its own, so that several processes can learn at once.
pub(in crate::cli) fn with_own_client_id(mut bus: Bus) -> Bus {
    if let BusKind::Mqtt(settings) = &mut bus.kind {
        settings.client_id = format!("tidegate-learn-{}", std::process::id());
    }
    bus
}

/// Returns the table of a broker that is given by its host.
fn bus_tables(args: &LearnArgs, host: &str) -> anyhow::Result<String> {
    let mut text = format!("[bus.mqtt.{BROKER}]\nhost = {}\n", quoted(host));
    if let Some(port) = args.port {
        writeln!(text, "port = {port}")?;
    }
    if args.tls {
        writeln!(text, "tls = true")?;
    }
    for (key, path) in [("ca_file", &args.ca_file), ("credentials_file", &args.credentials_file)] {
        if let Some(path) = path {
            writeln!(text, "{key} = {}", quoted(&absolute(path)?))?;
        }
    }
    text.push('\n');
    Ok(text)
}

/// Returns the findings, one line for each topic.
fn findings(survey: &TopicSurvey) -> String {
    let mut page = format!("\n{} messages\n", survey.messages());
    for (name, topic) in survey.topics() {
        let name = line(name.as_bytes());
        let period = topic.period_s().map_or(String::new(), |s| format!(", one each {s:.1} s"));
        let kind = match (topic.is_internal, topic.preset) {
            (true, _) => "internal topic of a product, ignored".to_owned(),
            (false, Some(preset)) => format!("{}, {}", preset.product, topic.format.word()),
            (false, None) => topic.format.word().to_owned(),
        };
        // Writing to a String cannot fail.
        writeln!(page, "{name}: {}{period}; {kind}", topic.messages).unwrap_or_default();
        for Channel { name, kind, example } in topic.channels.iter() {
            let name = line(name.as_bytes());
            writeln!(page, "    {name}: {}, such as {example}", kind.word()).unwrap_or_default();
        }
    }
    if survey.ignored() > 0 {
        writeln!(
            page,
            "{} messages were ignored: too long, or more than {TOPICS_MAX} topics; use --filter.",
            survey.ignored()
        )
        .unwrap_or_default();
    }
    page.push('\n');
    page
}
