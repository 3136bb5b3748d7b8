//! `tidegate commands`: what became of the commands, and what one would write.

use std::fmt::Write as _;

use anyhow::Context as _;

use super::{CommandsCommand, ConfigArgs, DryRunArgs, control, print};
use crate::app::outbox_options;
use tidegate_commands::actuator::Router;
use tidegate_commands::admission::Admission;
use tidegate_commands::history::{History, Record, TABLE};
use tidegate_model::{
    Command, DeviceId, GatewayAction, HttpMethod, ModbusData, ReadingTime, WallTime, Write,
};
use tidegate_outbox::Outbox;

/// Does one of the commands about commands.
pub(super) fn run(command: CommandsCommand) -> anyhow::Result<()> {
    match command {
        CommandsCommand::List { config, json, limit } => {
            let mut records = history(&config)?;
            records.truncate(limit);
            if json {
                return print(&format!("{}\n", serde_json::to_string(&records)?));
            }
            let mut page = String::new();
            for record in &records {
                describe(&mut page, record)?;
            }
            print(&page)
        }
        CommandsCommand::Show { config, number } => {
            let records = history(&config)?;
            let record = records.iter().find(|record| record.number == number);
            let record =
                record.with_context(|| format!("there is no command {number} in the history"))?;
            print(&format!("{}\n", serde_json::to_string_pretty(record)?))
        }
        CommandsCommand::Run(args) => rehearse(&args),
    }
}

/// The history, newest first: the daemon's last commands, or all of them when it is stopped.
fn history(args: &ConfigArgs) -> anyhow::Result<Vec<Record>> {
    if let Ok(document) = control::document(&args.socket()?, "/status") {
        let records = document.get("command_history").cloned().unwrap_or_default();
        return serde_json::from_value(records).context("the daemon's history cannot be read");
    }
    let config = args.inspect()?;
    let settings = &config.outbox;
    let path = settings.path.display();
    anyhow::ensure!(
        settings.path.exists(),
        "no daemon answers, and there is no outbox at {path} yet"
    );
    let options = outbox_options(settings);
    let outbox = Outbox::open(&settings.path, options).with_context(|| format!("outbox {path}"))?;
    let table = outbox.notes(TABLE)?;
    let history = History::load(&table, config.devices.len(), WallTime::EPOCH.into())?;
    Ok(history.records().rev().cloned().collect())
}

fn describe(page: &mut String, record: &Record) -> std::fmt::Result {
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

/// Shows what a command would write. Nothing is written.
fn rehearse(args: &DryRunArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.dry_run,
        super::Usage::new(
            "a command is run by sending it in Losant; here it can only be tried: add --dry-run"
        )
    );
    let config = args.config.inspect()?;
    let known = config.devices.get(args.device.as_str()).copied();
    let device: Option<DeviceId> = known.or_else(|| args.device.parse().ok());
    let device = device.with_context(|| format!("there is no device \"{}\"", args.device))?;
    let payload = serde_json::from_str(&args.payload)
        .with_context(|| format!("the payload is no JSON: {}", args.payload))?;
    let command = Command { device, name: args.command.clone(), time: None, payload, unread: None };
    let actuators = config.actuators.into_iter().map(std::sync::Arc::new);
    let gateway = config.cloud.device;
    let gate =
        Admission::new(config.commands.rules, Router::new(actuators), gateway, config.devices);
    match gate.rehearse(&command) {
        Ok((actuator, write)) => print(&format!("{}: {}\n", actuator.name, shown(&write))),
        Err(refusal) => anyhow::bail!("refused ({}): {refusal}", refusal.as_str()),
    }
}

/// A write as an operator reads it.
fn shown(write: &Write) -> String {
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
            let pulse =
                write.pulse.map(|length| format!(" for {}", humantime::format_duration(length)));
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
        Write::Gateway(GatewayAction::FlushNow) => "sends what waits".to_owned(),
        Write::Gateway(GatewayAction::Reload) => "reads the configuration again".to_owned(),
    }
}
