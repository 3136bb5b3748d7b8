//! `tidegate check`: the resolved plan.

pub(super) mod online;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::{print, shown};
use tidegate_bus::driver;
use tidegate_commands::actuator::{Actuator, GatewayTemplate, WriteTemplate};
use tidegate_config::Config;
use tidegate_config::{Bus, CloudCredentials, Proxy};
use tidegate_ingest::mapping::{
    Aggregate, AttributeSelector, Conversion, Deadband, Derive, DeviceSelector, FilterSettings,
    Sensor,
};
use tidegate_model::{DeviceId, Name};

/// Validates the configuration and prints what it means, then its weaknesses and what was not
/// checked. Prints nothing for a valid configuration if `quiet`.
pub(super) fn check(file: &Path, quiet: bool) -> anyhow::Result<()> {
    let config = tidegate_config::load_to_check(file)?;
    if quiet {
        return Ok(());
    }
    let mut plan = String::new();
    describe(&mut plan, file, &config)?;
    print(&plan)?;
    print_warnings(&config)
}

/// Prints the weaknesses of a configuration to standard error.
pub(super) fn print_warnings(config: &Config) -> anyhow::Result<()> {
    let mut text = String::new();
    for warning in &config.warnings {
        writeln!(text, "{warning}")?;
    }
    std::io::Write::write_all(&mut std::io::stderr().lock(), text.as_bytes())?;
    Ok(())
}

fn described(credentials: &CloudCredentials) -> &'static str {
    match credentials {
        credentials if credentials.is_unread() => "credentials that were not checked",
        CloudCredentials::AccessKey { .. } => "an access key",
        CloudCredentials::Token(_) => "a token",
    }
}

fn describe(plan: &mut String, file: &Path, config: &Config) -> std::fmt::Result {
    let credentials = described(&config.cloud.credentials);
    writeln!(plan, "{}: good", shown(file))?;
    let cloud = &config.cloud;
    writeln!(plan, "\ncloud     {} with {credentials}", cloud.url)?;
    if !cloud.requested_scopes.is_empty() {
        writeln!(plan, "token     for {}", cloud.requested_scopes.join(", "))?;
    }
    if let Some(token_ttl) = cloud.token_ttl {
        writeln!(plan, "token     lives {}", humantime::format_duration(token_ttl))?;
    }
    if cloud.private_ca.is_some() {
        writeln!(plan, "tls       trusts a private certificate authority, too")?;
    }
    if cloud.client_certificate.is_some() {
        writeln!(plan, "tls       with a client certificate")?;
    }
    match &cloud.proxy {
        Proxy::Environment => {}
        Proxy::None => writeln!(plan, "proxy     none")?,
        Proxy::At(url) => writeln!(plan, "proxy     {url}")?,
    }
    for (name, id) in &config.devices {
        writeln!(plan, "device    {name} = {id}")?;
    }
    let outbox = &config.outbox;
    writeln!(
        plan,
        "outbox    {}, at most {}, written within {}, synced within {}",
        shown(&outbox.path),
        bytesize::ByteSize(outbox.bytes_max),
        humantime::format_duration(outbox.commit_interval),
        humantime::format_duration(outbox.sync_interval.max(outbox.commit_interval)),
    )?;
    let reporter = &config.reporter;
    writeln!(
        plan,
        "batches   at most {} states and {}, after at most {}",
        reporter.batch_states_max,
        bytesize::ByteSize(reporter.batch_bytes_max as u64),
        humantime::format_duration(reporter.batch_age_max),
    )?;
    if !reporter.merge_window.is_zero() {
        let window = humantime::format_duration(reporter.merge_window);
        writeln!(plan, "joined    readings of a device within {window}")?;
    }
    let devices = DeviceNames::of(config);
    for (name, bus) in &config.buses {
        describe_bus(plan, name, bus)?;
        for sensor in &bus.sensors {
            describe_sensor(plan, sensor, &devices)?;
        }
        for actuator in
            config.actuators.iter().filter(|actuator| actuator.bus.as_ref() == Some(name))
        {
            describe_actuator(plan, actuator, &devices)?;
        }
    }
    if config.actuators.iter().any(|actuator| actuator.bus.is_none()) {
        writeln!(plan, "\nwithout a bus")?;
    }
    for actuator in config.actuators.iter().filter(|actuator| actuator.bus.is_none()) {
        describe_actuator(plan, actuator, &devices)?;
    }
    Ok(())
}

fn describe_bus(plan: &mut String, name: &Name, bus: &Bus) -> std::fmt::Result {
    let driver = driver(&bus.kind);
    writeln!(plan, "\nbus       {name}: {}", driver.describe())?;
    driver.details().iter().try_for_each(|detail| writeln!(plan, "  {detail}"))
}

pub(super) fn describe_sensor(
    plan: &mut String,
    sensor: &Sensor,
    devices: &DeviceNames<'_>,
) -> std::fmt::Result {
    let device = match &sensor.device {
        DeviceSelector::Fixed(id) => devices.name(*id),
        DeviceSelector::ByTemplate(template) => template.to_string(),
    };
    let topic = sensor.topic.as_ref().map(|topic| format!(" {topic}")).unwrap_or_default();
    writeln!(plan, "  sensor    {}:{topic} as {}", sensor.name, sensor.format)?;
    for mapping in &sensor.map {
        let attribute = match &mapping.attribute {
            AttributeSelector::Fixed(name) => name.to_string(),
            AttributeSelector::ByTemplate(template) => template.to_string(),
        };
        write!(plan, "    {}", mapping.source)?;
        describe_conversion(plan, &mapping.conversion)?;
        describe_filter(plan, &mapping.filter)?;
        writeln!(plan, " -> {device}.{attribute}")?;
    }
    if let Some(stale) = &sensor.stale {
        let after = humantime::format_duration(stale.after);
        writeln!(plan, "    silent for {after} -> {device}.{} = false", stale.attribute)?;
    }
    Ok(())
}

fn describe_conversion(plan: &mut String, conversion: &Conversion) -> std::fmt::Result {
    if !conversion.values.is_empty() {
        write!(plan, ", by its name")?;
    }
    if (conversion.scale - 1.0).abs() > f64::EPSILON {
        write!(plan, " × {}", conversion.scale)?;
    }
    if conversion.offset != 0.0 {
        write!(plan, " + {}", conversion.offset)?;
    }
    if conversion.unit.is_some() {
        write!(plan, ", to another unit")?;
    }
    Ok(())
}

fn describe_filter(plan: &mut String, filter: &FilterSettings) -> std::fmt::Result {
    let span = |duration: Duration| humantime::format_duration(duration);
    if let Some(derive) = filter.derive {
        let name = Derive::NAMES.iter().find(|(_, one)| *one == derive.kind);
        let name = name.map_or("", |(name, _)| name);
        write!(plan, ", {name}")?;
        if derive.kind.is_rate() {
            write!(plan, " in {}", span(derive.per))?;
        }
    }
    if let Some(window) = &filter.window {
        let name = Aggregate::NAMES.iter().find(|(_, one)| *one == window.aggregate);
        let name = name.map_or("", |(name, _)| name);
        write!(plan, ", {name} of {}", span(window.length))?;
    }
    match filter.deadband {
        Some(Deadband::Absolute(width)) => write!(plan, ", changes above {width}")?,
        Some(Deadband::Percent(percent)) => write!(plan, ", changes above {percent} %")?,
        None => {}
    }
    if let Some(interval) = filter.interval_min {
        write!(plan, ", at most one in {}", span(interval))?;
    }
    Ok(())
}

fn describe_actuator(
    plan: &mut String,
    actuator: &Actuator,
    devices: &DeviceNames<'_>,
) -> std::fmt::Result {
    let device = devices.name(actuator.device);
    let write = match &actuator.write {
        WriteTemplate::Serial(serial) if serial.is_hex => format!("bytes {}", serial.text),
        WriteTemplate::Serial(serial) => format!("{:?}", serial.text.to_string()),
        WriteTemplate::Mqtt(mqtt) => {
            let retain = if mqtt.retain { ", retained" } else { "" };
            format!("{} {} (QoS {}{retain})", mqtt.topic, mqtt.payload, mqtt.qos)
        }
        WriteTemplate::Modbus(modbus) => {
            let register = &modbus.register;
            let (table, address) = (register.table, register.address);
            format!("{} to {table:?} {address} of {}", modbus.value, modbus.unit)
        }
        WriteTemplate::Gpio(gpio) => {
            let pulse = gpio.pulse.as_ref().map(|pulse| format!(" for {pulse}"));
            format!("{} to {}{}", gpio.value, gpio.output, pulse.unwrap_or_default())
        }
        WriteTemplate::Exec(exec) => {
            let arguments = exec.arguments.iter().map(|word| format!(" {:?}", word.to_string()));
            format!("runs {}{}", exec.program.display(), arguments.collect::<String>())
        }
        WriteTemplate::Http(http) => format!("requests {}", http.url),
        WriteTemplate::Gateway(action) => match action {
            GatewayTemplate::LogLevel(level) => format!("sets the log level to {level}"),
            GatewayTemplate::ReportStatus => "reports the status".to_owned(),
            GatewayTemplate::FlushNow => "sends the backlog".to_owned(),
            GatewayTemplate::Reload => "reloads the configuration".to_owned(),
        },
    };
    writeln!(
        plan,
        "  actuator  {}: {device} command \"{}\" -> {write}",
        actuator.name, actuator.command
    )?;
    let Some(safe) = &actuator.failsafe else { return Ok(()) };
    let shown = |span: Option<Duration>| span.map(humantime::format_duration);
    if let Some(offline) = shown(safe.offline_after) {
        writeln!(plan, "    made safe after {offline} without a command stream")?;
    }
    if let Some(max_on_time) = shown(safe.max_on_time) {
        writeln!(plan, "    made safe {max_on_time} after a command")?;
    }
    if safe.at_stop {
        writeln!(plan, "    made safe at a stop")?;
    }
    Ok(())
}

/// The names of the devices in the configuration.
pub(super) struct DeviceNames<'a>(BTreeMap<DeviceId, &'a Name>);

impl<'a> DeviceNames<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        Self(config.devices.iter().map(|(name, id)| (*id, name)).collect())
    }

    /// Returns the name of a device, or else its id.
    pub(super) fn name(&self, id: DeviceId) -> String {
        self.0.get(&id).map_or_else(|| id.to_string(), ToString::to_string)
    }
}

/// Returns the name of one device, or else its id.
pub(super) fn device_name(id: DeviceId, config: &Config) -> String {
    DeviceNames::of(config).name(id)
}
