//! `tidegate commands`: lists the commands and their results, and tries one without a write.

use std::fmt::Write as _;

use anyhow::Context as _;

use super::{CommandsCommand, ConfigArgs, DryRunArgs, control, print};
use crate::app::outbox_options;
use tidegate_commands::actuator::Router;
use tidegate_commands::admission::{Admission, PreparedWrite};
use tidegate_commands::history::{History, Record, TABLE};
use tidegate_model::{
    Command, DeviceId, GatewayAction, HttpMethod, ModbusData, ReadingTime, WallTime, Write,
};
use tidegate_outbox::Outbox;

/// Runs `tidegate commands`.
pub(super) fn run(command: CommandsCommand) -> anyhow::Result<()> {
    match command {
        CommandsCommand::List { config, json, limit } => {
            let mut records = history(&config)?;
            records.truncate(limit);
            if json {
                return print(&format!("{}\n", serde_json::to_string(&records)?));
            }
            if records.is_empty() {
                return print("no commands: the gateway has received none so far\n");
            }
            let mut page = String::new();
            for record in &records {
                write_record(&mut page, record)?;
            }
            print(&page)
        }
        CommandsCommand::Show { config, number } => {
            let records = history(&config)?;
            let record = records.iter().find(|record| record.number == number);
            let record = record.with_context(|| format!("the history has no command {number}"))?;
            print(&format!("{}\n", serde_json::to_string_pretty(record)?))
        }
        CommandsCommand::Run(args) => dry_run(&args),
    }
}

/// Returns the history, newest first.
///
/// A running daemon provides its last commands. Without a daemon the outbox provides all of them.
fn history(args: &ConfigArgs) -> anyhow::Result<Vec<Record>> {
    if let Ok(document) = control::document(&args.socket()?, "/status") {
        let records = document.get("command_history").cloned().unwrap_or_default();
        return serde_json::from_value(records).context("cannot parse the history of the daemon");
    }
    let config = args.inspect()?;
    let settings = &config.outbox;
    let path = settings.path.display();
    anyhow::ensure!(
        settings.path.exists(),
        "the daemon is not running, and there is no outbox at {path}"
    );
    let options = outbox_options(settings);
    let outbox = Outbox::open(&settings.path, options).with_context(|| format!("outbox {path}"))?;
    let table = outbox.rows(TABLE)?;
    let history = History::load(&table, config.devices.len(), WallTime::EPOCH.into())?;
    Ok(history.records().rev().cloned().collect())
}

fn write_record(page: &mut String, record: &Record) -> std::fmt::Result {
    let time = match record.received {
        ReadingTime::Wall(time) => time.to_string(),
        ReadingTime::Boot(_) => "time unknown".to_owned(),
    };
    let result = record.result.as_str();
    let actuator = record.actuator.as_deref().unwrap_or("-");
    let (number, name) = (record.number, record.name.escape_default());
    write!(page, "{number:>6}  {time:<24}  {result:<11}  {actuator}  {name}")?;
    if let Some(duration_ms) = record.duration_ms {
        write!(page, "  {duration_ms} ms")?;
    }
    if !record.message.is_empty() {
        write!(page, "  ({})", record.message.escape_debug())?;
    }
    writeln!(page)
}

/// Prints the write that a command would cause, without executing it.
fn dry_run(args: &DryRunArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.dry_run,
        super::Usage::new(
            "commands are sent through Losant; add --dry-run to see what this one would write"
        )
    );
    let config = args.config.inspect()?;
    let named = config.devices.get(args.device.as_str()).copied();
    let device: Option<DeviceId> = named.or_else(|| args.device.parse().ok());
    let device = device.with_context(|| format!("unknown device \"{}\"", args.device))?;
    let payload = serde_json::from_str(&args.payload)
        .with_context(|| format!("the payload is not valid JSON: {}", args.payload))?;
    let command = Command { device, name: args.command.clone(), time: None, payload, unread: None };
    let actuators = config.actuators.into_iter().map(std::sync::Arc::new);
    let gateway = config.cloud.device;
    let (rules, router) = (config.commands.rules, Router::new(actuators));
    match Admission::new(rules, router, gateway, config.devices).prepare(&command) {
        Ok(PreparedWrite { actuator, write }) => {
            print(&format!("{}: {}\n", actuator.name, description(&write)))
        }
        Err(reason) => anyhow::bail!("refused ({}): {reason}", reason.as_str()),
    }
}

/// Describes a write in words.
fn description(write: &Write) -> String {
    match write {
        Write::Serial { bytes, .. } => format!("writes \"{}\"", bytes.escape_ascii()),
        Write::Mqtt { topic, payload, qos, retain, .. } => {
            let retain = if *retain { ", retained" } else { "" };
            let payload = String::from_utf8_lossy(payload);
            format!("publishes {payload:?} to {topic:?} (QoS {qos}{retain})")
        }
        Write::Modbus(write) => {
            let (unit, address) = (&write.unit, write.address);
            match &write.data {
                ModbusData::Coil(is_on) => format!("sets coil {address} of {unit} to {is_on}"),
                ModbusData::Words(words) => {
                    format!("writes {words:04x?} to holding register {address} of {unit}")
                }
            }
        }
        Write::Gpio(write) => {
            let level = if write.is_active { "on" } else { "off" };
            let pulse = write.pulse.map(humantime::format_duration);
            let pulse = pulse.map(|length| format!(" for {length}"));
            format!("turns {} {level}{}", write.output, pulse.unwrap_or_default())
        }
        Write::Exec(execution) => {
            format!("runs {} {:?}", execution.program.display(), execution.arguments)
        }
        Write::Http(request) => {
            let method = match request.method {
                HttpMethod::Get => "GET",
                HttpMethod::Post => "POST",
                HttpMethod::Put => "PUT",
            };
            let body = request.body.as_ref().map(|(_, body)| String::from_utf8_lossy(body));
            format!("requests {method} {} {}", request.url, body.unwrap_or_default())
        }
        Write::Gateway(GatewayAction::LogLevel(level)) => {
            format!("sets the log level to {level:?}")
        }
        Write::Gateway(GatewayAction::ReportStatus) => "reports the status".to_owned(),
        Write::Gateway(GatewayAction::FlushNow) => "sends the backlog".to_owned(),
        Write::Gateway(GatewayAction::Reload) => "reloads the configuration".to_owned(),
    }
}
