//! `tidegate sensor learn`: what a broker's topics hold, as tables of the configuration.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{absolute, listening_time, tell};
use crate::cli::{ConfigArgs, Unavailable, Usage, print};
use crate::{app, logging};
use tidegate_bus::BusEvent;
use tidegate_config::{Bus, BusKind};
use tidegate_discover::mqtt::shape::Channel;
use tidegate_discover::mqtt::{TOPICS_MAX, TopicSurvey, quoted, sensors};
use tidegate_model::Name;
use tidegate_model::excerpt::line;
use tidegate_runtime::clock::{SharedClock, SystemClock};

/// What a broker that is given by its host is called.
const BROKER: &str = "broker";

/// How often it is looked whether the broker is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(in crate::cli) struct LearnArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A bus of the configuration.
    #[arg(long, value_name = "NAME", required_unless_present = "host")]
    bus: Option<String>,
    /// A broker that is in no configuration yet.
    #[arg(long, conflicts_with = "bus")]
    host: Option<String>,
    /// Its port, if not the usual one.
    #[arg(long, requires = "host")]
    port: Option<u16>,
    /// A file with user = "…" and password = "…".
    #[arg(long, value_name = "FILE", requires = "host")]
    credentials_file: Option<PathBuf>,
    /// Talks TLS with it, with the system's certificates.
    #[arg(long, requires = "host")]
    tls: bool,
    /// Talks TLS with it, with these certificates.
    #[arg(long, value_name = "FILE", requires = "host")]
    ca_file: Option<PathBuf>,
    /// The topics.
    #[arg(long, default_value = "#")]
    filter: String,
    /// How long to listen; Ctrl-C ends it earlier.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = listening_time)]
    time: Duration,
}

/// Listens, then tells.
pub(super) fn learn(args: &LearnArgs) -> anyhow::Result<()> {
    let tables = args.host.as_ref().map(|host| bus_tables(args, host)).transpose()?;
    let Found { name, bus, sensors: taken } = find_bus(args, tables.as_deref())?;
    let BusKind::Mqtt(settings) = &bus.kind else {
        return Err(Usage::new(format!(
            "bus {name} is {}; sensor learn listens to a broker, and sensor probe to a serial line",
            bus.kind.word()
        ))
        .into());
    };
    let broker = format!("{}:{}", settings.host, settings.port);
    // Nobody shall wait for a log line: what goes wrong ends this.
    logging::start("error")?;
    let seconds = args.time.as_secs();
    tell(&format!("Listening to {} on {broker} for {seconds} s; Ctrl-C ends it.\n", args.filter));
    let mut survey = TopicSurvey::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(listen(&name, &bus, &broker, args.time, &mut survey))?;
    tell(&heard(&survey));
    let sensors = sensors(&name, &survey.topic_groups(), taken);
    if sensors.is_empty() {
        tell(
            "Nothing was heard that could be reported. Does a sensor publish meanwhile, and may \
             this user read its topics?\n",
        );
        return Ok(());
    }
    let known = format!("[bus.mqtt.{name}]\nhost = \"{BROKER}\"\n\n");
    // What is printed is looked at as a configuration first, so that nobody is given one that is
    // none.
    tidegate_config::check_text(&format!("{}{sensors}", tables.as_ref().unwrap_or(&known)))?;
    print(&format!("{}{sensors}", tables.unwrap_or_default()))
}

async fn listen(
    name: &Name,
    bus: &Bus,
    broker: &str,
    time: Duration,
    survey: &mut TopicSurvey,
) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let clock: SharedClock = Arc::new(SystemClock);
    let mut listening = app::start_single_bus(name, bus, &clock, &stop);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let end = Instant::now() + time;
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let done = loop {
        let step = tokio::select! {
            arrival = listening.arrivals.recv() => match arrival {
                Some(BusEvent::Reading(reading, _)) => {
                    let now = Instant::now().into_std();
                    if survey.handle_message(&reading.topic, &reading.payload, now) {
                        tell(&format!("hears {}\n", line(reading.topic.as_bytes())));
                    }
                    ControlFlow::Continue(())
                }
                Some(_) => ControlFlow::Continue(()),
                None => ControlFlow::Break(Ok(())),
            },
            _ = look.tick() => {
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

/// The bus with one sensor, which reads all that is asked for.
struct Found {
    name: Name,
    bus: Bus,
    /// The names of the sensors that are in the configuration.
    sensors: BTreeSet<String>,
}

fn find_bus(args: &LearnArgs, tables: Option<&str>) -> anyhow::Result<Found> {
    let wanted = args.bus.as_deref().unwrap_or(BROKER);
    let filter = quoted(&args.filter);
    let all = |bus: &str| {
        format!(
            "{bus}\n[sensor.all]\nbus = \"{BROKER}\"\ntopic = {filter}\nformat \
             = \"text\"\nretained = true\n\
             map = [{{ channel = \"value\", attribute = \"value\" }}]\n"
        )
    };
    let trial = |bus: &str| -> anyhow::Result<(Name, Bus)> {
        let found = tidegate_config::check_text(&all(bus))?.buses.into_iter().next();
        found.context("the broker is not there")
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
                Usage::new(format!("there is no bus \"{wanted}\"; there is {known}")).into()
            );
        };
        return Ok(Found { name, bus: with_own_client_id(Bus { sensors, ..bus }), sensors: taken });
    };
    let (name, bus) = trial(tables)?;
    Ok(Found { name, bus: with_own_client_id(bus), sensors: BTreeSet::new() })
}

/// With a client id of its own, so that two may learn at once.
fn with_own_client_id(mut bus: Bus) -> Bus {
    if let BusKind::Mqtt(settings) = &mut bus.kind {
        settings.client_id = format!("tidegate-learn-{}", std::process::id());
    }
    bus
}

/// The table of a broker that was given by its host.
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

/// A line for each topic.
fn heard(survey: &TopicSurvey) -> String {
    let mut page = format!("\n{} messages\n", survey.messages());
    for (name, topic) in survey.topics() {
        let name = line(name.as_bytes());
        let period = topic.period_s().map_or(String::new(), |s| format!(", one each {s:.1} s"));
        let kind = match (topic.is_internal, topic.preset) {
            (true, _) => "a product's own talk, left out".to_owned(),
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
            "{} messages were too long, or of topics beyond {TOPICS_MAX}; --filter names some of \
             them.",
            survey.ignored()
        )
        .unwrap_or_default();
    }
    page.push('\n');
    page
}
