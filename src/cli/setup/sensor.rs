//! The question for the first sensor: a serial line or a broker, then a proposal or the details.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use toml::{Table, Value};

use super::answers::{Answers, NAME};
use super::trial::{self, TrialBus};
use super::{Flow, found};
use crate::cli::prompt::{self, Answer};
use crate::cli::sensor::listening_time;
use crate::cli::{Usage, print};

/// Words for "no sensor now" that a user types instead of an empty answer.
const NONE_WORDS: [&str; 5] = ["no", "none", "nothing", "later", "-"];

/// Options for the first sensor. Further sensors go into files of their own in conf.d.
#[derive(Debug, Args)]
pub(in crate::cli) struct SensorArgs {
    /// The bus of the first sensor: a serial line such as /dev/ttyUSB0, or a broker as HOST:PORT
    #[arg(long, value_name = "PATH|HOST:PORT")]
    bus: Option<String>,
    /// The topic filter of the sensor, such as sensors/+/climate (broker only)
    #[arg(long, value_name = "FILTER")]
    topic: Option<String>,
    /// The format of its messages: key-value, csv, json or text
    #[arg(long)]
    format: Option<String>,
    /// A channel of its messages and the Losant attribute for it
    #[arg(long, value_name = "CHANNEL=ATTRIBUTE")]
    map: Vec<String>,
    /// The baud rate of the serial line
    #[arg(long, value_name = "NUMBER")]
    baud_rate: Option<i64>,
    /// How long to listen to a broker that is asked for its sensors
    #[arg(
        long = "listen",
        value_name = "TIME",
        default_value = "30s",
        value_parser = listening_time
    )]
    listening_time: Duration,
    /// Ask for no sensor; it is, or will be, in another file
    #[arg(long, conflicts_with = "bus")]
    no_sensor: bool,
}

/// The kind of the first bus, with its address.
enum Bus {
    Serial(String),
    Broker { host: String, port: u16 },
}

/// Asks for the first sensor, unless the configuration has one or none is wanted. `recording` is a
/// file for the messages of a broker.
pub(super) fn ask(
    answers: &mut Answers,
    args: &SensorArgs,
    main: &Path,
    recording: &Path,
) -> anyhow::Result<Flow> {
    let has_one = answers.has_sensor()
        || tidegate_config::load(main).is_ok_and(|config| !config.buses.is_empty());
    if args.bus.is_none() && (args.no_sensor || has_one || !prompt::is_possible()) {
        return Ok(Flow::Next);
    }
    loop {
        let bus = match choose(args)? {
            Answer::Given(Some(bus)) => bus,
            Answer::Given(None) | Answer::Skip => return Ok(Flow::Next),
            Answer::Back => return Ok(Flow::Back),
        };
        let is_scripted = args.bus.is_some() || !prompt::is_possible();
        if !is_scripted && let Some(tables) = propose(&bus, args.listening_time, recording)? {
            answers.merge(&tables)?;
            return Ok(Flow::Next);
        }
        let Some(tables) = details(&bus, args)? else { continue };
        answers.insert(&tables);
        return Ok(Flow::Next);
    }
}

/// Lists the lines and brokers found on this machine and asks for one.
fn choose(args: &SensorArgs) -> anyhow::Result<Answer<Option<Bus>>> {
    if let Some(text) = &args.bus {
        let bus = parse_bus(text).map_err(Usage::new)?;
        if let Bus::Serial(path) = &bus
            && let Err(problem) = check_line(path)
        {
            print(&format!("Warning: {problem}\n"))?;
        }
        return Ok(Answer::Given(Some(bus)));
    }
    let found = found_buses();
    if found.is_empty() {
        print("No serial line and no broker on port 1883 found.\n")?;
    } else {
        print(&format!("Found on this machine:\n  {}\n", found.join("\n  ")))?;
    }
    let question =
        "Bus of the first sensor: a serial line, a broker as HOST:PORT, or empty for later";
    let default = found.first().map_or("", String::as_str);
    prompt::checked(question, Some(default), "--bus", |text| {
        if text.is_empty() || NONE_WORDS.contains(&text.to_lowercase().as_str()) {
            return Ok(None);
        }
        let bus = parse_bus(text)?;
        match &bus {
            Bus::Serial(path) => check_line(path)?,
            Bus::Broker { host, port } => found::check_broker(host, *port)?,
        }
        Ok(Some(bus))
    })
}

fn found_buses() -> Vec<String> {
    let lines = found::serial_lines(Path::new(found::BY_ID));
    let lines = lines.iter().map(|path| path.display().to_string());
    lines.chain(found::broker().map(|address| address.to_string())).collect()
}

/// Parses the address of a bus, and lets the configuration validate it.
fn parse_bus(text: &str) -> Result<Bus, String> {
    if text.starts_with('/') {
        trial::check(&serial_tables(text, None), TrialBus::Serial)?;
        return Ok(Bus::Serial(text.to_owned()));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "1883"));
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
        format!("\"{text}\" is neither a path nor a broker address such as 127.0.0.1:1883")
    })?;
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(format!("\"{host}\" is not a host name or an address"));
    }
    trial::check(&broker_tables(host, port), TrialBus::Broker)?;
    Ok(Bus::Broker { host: host.to_owned(), port })
}

/// Fails if a path is no serial line.
fn check_line(path: &str) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt as _;
    let is_device =
        std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device());
    if is_device {
        return Ok(());
    }
    let lines = found::serial_lines(Path::new(found::BY_ID));
    let lines: Vec<_> = lines.iter().map(|line| line.display().to_string()).collect();
    let found = if lines.is_empty() { "none".to_owned() } else { lines.join(", ") };
    Err(format!("there is no serial line {path}; found: {found}"))
}

/// Offers to find the sensors of a bus. Returns the accepted tables.
fn propose(
    bus: &Bus,
    listening_time: Duration,
    recording: &Path,
) -> anyhow::Result<Option<String>> {
    let seconds = listening_time.as_secs();
    let mut command = Command::new(std::env::current_exe().context("cannot find the program")?);
    command.arg("sensor");
    let question = match bus {
        Bus::Serial(path) => {
            command.args(["probe", path]);
            "Listen to the line to find its speed and format?".to_owned()
        }
        Bus::Broker { host, port } => {
            command.args(["learn", "--for", &format!("{seconds}s"), "--host", host, "--port"]);
            command.arg(port.to_string()).arg("--record").arg(recording);
            format!("Listen to the broker for {seconds} s to find its sensors?")
        }
    };
    if !prompt::choose(&question, true)? {
        return Ok(None);
    }
    // The findings go to standard error.
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot run tidegate sensor")?;
    let tables = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || tables.trim().is_empty() {
        print("No sensor was found. Give its details, or back for another bus.\n")?;
        return Ok(None);
    }
    print(&format!("\n{tables}\n"))?;
    if prompt::choose("Use these tables?", true)? { Ok(Some(tables)) } else { Ok(None) }
}

/// Asks for the details of the sensor. Returns `None` for another bus.
fn details(bus: &Bus, args: &SensorArgs) -> anyhow::Result<Option<Table>> {
    let mut sensor = Table::new();
    sensor.insert("bus".to_owned(), NAME.into());
    let (kind, usual, mut tables) = match bus {
        Bus::Serial(path) => {
            let baud_rate = match baud_rate(path, args)? {
                Answer::Given(rate) => Some(rate),
                Answer::Skip => None,
                Answer::Back => return Ok(None),
            };
            (TrialBus::Serial, "key-value", serial_tables(path, baud_rate))
        }
        Bus::Broker { host, port } => (TrialBus::Broker, "json", broker_tables(host, *port)),
    };
    if kind == TrialBus::Broker {
        let question = "Topics, such as sensors/+/climate";
        let topic = given(args.topic.as_ref(), question, None, "--topic FILTER", |text| {
            trial::check_option("topic", &text.into(), kind)
        })?;
        let Some(topic) = topic else { return Ok(None) };
        sensor.insert("topic".to_owned(), topic.into());
    }
    let question = "Format of a message: key-value, csv, json or text";
    let format = given(args.format.as_ref(), question, Some(usual), "--format WORD", |text| {
        trial::check_option("format", &text.into(), kind)
    })?;
    let Some(format) = format else { return Ok(None) };
    sensor.insert("format".to_owned(), format.into());
    let Some(map) = mappings(&args.map, kind)? else { return Ok(None) };
    sensor.insert("map".to_owned(), map.into());
    let sensors = Table::from_iter([(NAME.to_owned(), Value::from(sensor))]);
    tables.insert("sensor".to_owned(), sensors.into());
    Ok(Some(tables))
}

/// Asks for the baud rate of a line. A script without the argument skips it.
fn baud_rate(path: &str, args: &SensorArgs) -> anyhow::Result<Answer<i64>> {
    if args.baud_rate.is_some() || args.bus.is_some() || !prompt::is_possible() {
        return Ok(args.baud_rate.map_or(Answer::Skip, Answer::Given));
    }
    prompt::checked("Baud rate", Some("9600"), "--baud-rate NUMBER", |text| {
        let rate: i64 = text.parse().map_err(|_| format!("\"{text}\" is not a number"))?;
        trial::check(&serial_tables(path, Some(rate)), TrialBus::Serial)?;
        Ok(rate)
    })
}

/// Returns an argument, or asks. Returns `None` for another bus.
fn given(
    argument: Option<&String>,
    question: &str,
    default: Option<&str>,
    name: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> anyhow::Result<Option<String>> {
    if let Some(argument) = argument {
        return Ok(Some(argument.clone()));
    }
    let answer = prompt::checked(question, default, name, |text| {
        check(text)?;
        Ok(text.to_owned())
    })?;
    Ok(match answer {
        Answer::Given(text) => Some(text),
        Answer::Skip => default.map(str::to_owned),
        Answer::Back => None,
    })
}

fn mappings(arguments: &[String], kind: TrialBus) -> anyhow::Result<Option<Vec<Value>>> {
    if !arguments.is_empty() {
        let pairs = arguments.iter().map(String::as_str);
        return Ok(Some(parse_mappings(pairs).map_err(Usage::new)?));
    }
    let question = "Channels and attributes, such as t=temperature h=humidity";
    let answer = prompt::checked(question, None, "--map CHANNEL=ATTRIBUTE", |text| {
        let map = parse_mappings(text.split_whitespace())?;
        trial::check_option("map", &map.clone().into(), kind)?;
        Ok(map)
    })?;
    Ok(match answer {
        Answer::Given(map) => Some(map),
        Answer::Skip | Answer::Back => None,
    })
}

fn parse_mappings<'a>(pairs: impl Iterator<Item = &'a str>) -> Result<Vec<Value>, String> {
    let mapping = |pair: &str| {
        let (channel, attribute) = pair.split_once('=').ok_or_else(|| {
            format!("\"{pair}\" is not of the form CHANNEL=ATTRIBUTE, such as t=temperature")
        })?;
        let members = [("channel", channel), ("attribute", attribute)];
        let members = members.map(|(name, text)| (name.to_owned(), Value::from(text)));
        Ok(Value::Table(members.into_iter().collect()))
    };
    pairs.map(mapping).collect()
}

/// Returns the table of a serial bus.
fn serial_tables(path: &str, baud_rate: Option<i64>) -> Table {
    let mut bus = Table::from_iter([("path".to_owned(), Value::from(path))]);
    bus.extend(baud_rate.map(|baud_rate| ("baud_rate".to_owned(), baud_rate.into())));
    bus_tables("serial", bus)
}

/// Returns the table of an MQTT bus.
fn broker_tables(host: &str, port: u16) -> Table {
    let port = Value::from(i64::from(port));
    let bus = [("host".to_owned(), Value::from(host)), ("port".to_owned(), port)];
    bus_tables("mqtt", bus.into_iter().collect())
}

fn bus_tables(kind: &str, bus: Table) -> Table {
    let named = Table::from_iter([(NAME.to_owned(), Value::from(bus))]);
    let kinds = Table::from_iter([(kind.to_owned(), Value::from(named))]);
    Table::from_iter([("bus".to_owned(), Value::from(kinds))])
}

/// Returns a file for the messages of a broker, in the directory for temporary files.
pub(super) fn recording() -> PathBuf {
    std::env::temp_dir().join(format!("tidegate-setup-{}", std::process::id()))
}
