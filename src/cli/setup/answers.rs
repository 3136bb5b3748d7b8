//! The answers of `tidegate setup`, as the tables of `conf.d/setup.toml`.

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use toml::{Table, Value};

use super::{SetupArgs, found};
use crate::cli::{Usage, print, prompt};
use tidegate_model::{DeviceId, IdError};

/// The URL of Losant's public instance.
const DEFAULT_URL: &str = "https://api.losant.com";

/// The name of the first sensor and of its bus.
const NAME: &str = "first";

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
    /// Ask for no sensor; it is, or will be, in another file
    #[arg(long, conflicts_with = "bus")]
    no_sensor: bool,
}

/// The tables that setup writes.
#[derive(Debug)]
pub(super) struct Answers(Table);

impl Answers {
    /// Reads the answers of an earlier run.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let table = text.parse::<Table>().map(Self);
        table.with_context(|| format!("{} is not valid TOML", path.display()))
    }

    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }

    /// Asks for the device id.
    pub(super) fn device(&mut self, args: &SetupArgs) -> anyhow::Result<()> {
        let before = self.losant("device_id").map(str::to_owned);
        let id = match args.device_id {
            Some(id) => id.to_string(),
            None => prompt::line("Device ID of the gateway", before.as_deref(), "--device-id ID")?,
        };
        let id: DeviceId = id.parse().map_err(|error: IdError| Usage::new(error.to_string()))?;
        table(&mut self.0, &["losant"]).insert("device_id".to_owned(), id.to_string().into());
        if let Some(url) = &args.url {
            table(&mut self.0, &["losant"]).insert("url".to_owned(), url.clone().into());
        }
        Ok(())
    }

    pub(super) fn device_id(&self) -> anyhow::Result<DeviceId> {
        let id = self.losant("device_id").unwrap_or_default();
        Ok(id.parse().map_err(|error: IdError| Usage::new(error.to_string()))?)
    }

    pub(super) fn url(&self) -> &str {
        self.losant("url").unwrap_or(DEFAULT_URL)
    }

    /// Asks for the first sensor, unless the configuration has one or none is wanted.
    pub(super) fn sensor(&mut self, args: &SensorArgs, main: &Path) -> anyhow::Result<()> {
        let has_one = self.0.contains_key("sensor")
            || tidegate_config::load(main).is_ok_and(|config| !config.buses.is_empty());
        if args.bus.is_none() && (args.no_sensor || has_one || !prompt::is_possible()) {
            return Ok(());
        }
        let bus = match &args.bus {
            Some(bus) => bus.clone(),
            None => choose()?,
        };
        if bus.is_empty() {
            return Ok(());
        }
        let is_serial = bus.starts_with('/');
        let mut sensor = Table::new();
        sensor.insert("bus".to_owned(), NAME.into());
        if is_serial {
            self.serial(&bus, args.baud_rate);
        } else {
            self.broker(&bus)?;
            let question = "Topics, such as sensors/+/climate";
            let topic = given(args.topic.as_ref(), question, None, "--topic FILTER")?;
            sensor.insert("topic".to_owned(), topic.into());
        }
        let usual = if is_serial { "key-value" } else { "json" };
        let question = "Format of a message: key-value, csv, json or text";
        let format = given(args.format.as_ref(), question, Some(usual), "--format WORD")?;
        sensor.insert("format".to_owned(), format.into());
        sensor.insert("map".to_owned(), mappings(&args.map)?.into());
        table(&mut self.0, &["sensor"]).insert(NAME.to_owned(), sensor.into());
        Ok(())
    }

    fn serial(&mut self, path: &str, baud_rate: Option<i64>) {
        let bus = table(&mut self.0, &["bus", "serial", NAME]);
        bus.insert("path".to_owned(), path.into());
        bus.extend(baud_rate.map(|baud_rate| ("baud_rate".to_owned(), baud_rate.into())));
    }

    fn broker(&mut self, address: &str) -> anyhow::Result<()> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "1883"));
        let port: u16 = port.parse().map_err(|_| {
            Usage::new(format!(
                "\"{address}\" is neither a path nor a broker address such as 127.0.0.1:1883"
            ))
        })?;
        let bus = table(&mut self.0, &["bus", "mqtt", NAME]);
        bus.insert("host".to_owned(), host.into());
        bus.insert("port".to_owned(), i64::from(port).into());
        Ok(())
    }

    fn losant(&self, option: &str) -> Option<&str> {
        self.0.get("losant")?.get(option)?.as_str()
    }
}

/// Returns the table at a path; creates it if it is missing.
fn table<'a>(root: &'a mut Table, path: &[&str]) -> &'a mut Table {
    path.iter().fold(root, |table, name| {
        let inner = table.entry((*name).to_owned()).or_insert_with(|| Table::new().into());
        if !inner.is_table() {
            *inner = Table::new().into();
        }
        match inner {
            Value::Table(inner) => inner,
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => unreachable!("the value was made a table above"),
        }
    })
}

/// Lists the lines and brokers found on this machine and asks for one.
fn choose() -> anyhow::Result<String> {
    let lines = found::serial_lines(Path::new(found::BY_ID));
    let lines = lines.iter().map(|path| path.display().to_string());
    let found: Vec<_> = lines.chain(found::broker().map(|address| address.to_string())).collect();
    if found.is_empty() {
        print("No serial line and no broker on port 1883 found.\n")?;
    } else {
        print(&format!("Found on this machine:\n  {}\n", found.join("\n  ")))?;
    }
    let question =
        "Bus of the first sensor: a serial line, a broker as HOST:PORT, or empty for later";
    prompt::line(question, Some(found.first().map_or("", String::as_str)), "--bus")
}

fn given(
    argument: Option<&String>,
    question: &str,
    default: Option<&str>,
    name: &str,
) -> anyhow::Result<String> {
    match argument {
        Some(argument) => Ok(argument.clone()),
        None => prompt::line(question, default, name),
    }
}

fn mappings(arguments: &[String]) -> anyhow::Result<Vec<Value>> {
    let mut pairs = arguments.to_vec();
    if pairs.is_empty() {
        let question = "Channels and attributes, such as t=temperature h=humidity";
        let answer = prompt::line(question, None, "--map CHANNEL=ATTRIBUTE")?;
        pairs = answer.split_whitespace().map(str::to_owned).collect();
    }
    let mapping = |pair: &String| {
        let (channel, attribute) = pair.split_once('=').ok_or_else(|| {
            Usage::new(format!(
                "\"{pair}\" is not of the form CHANNEL=ATTRIBUTE, such as t=temperature"
            ))
        })?;
        let members = [("channel", channel), ("attribute", attribute)];
        let members = members.map(|(name, text)| (name.to_owned(), Value::from(text)));
        Ok(Value::Table(members.into_iter().collect()))
    };
    pairs.iter().map(mapping).collect()
}
