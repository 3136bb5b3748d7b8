//! `tidegate check`: the resolved plan.

use std::fmt::Write as _;
use std::path::Path;

use super::{print, shown};
use crate::config::{Bus, BusKind, CloudCredentials, Proxy};
use crate::logic::actuator::{Actuator, WriteTemplate};
use crate::logic::mapping::{AttributeSelector, DeviceSelector, Sensor};
use crate::{Config, model};

/// Prints what the configuration means.
pub(super) fn check(file: &Path, config: &Config) -> anyhow::Result<()> {
    let mut plan = String::new();
    describe(&mut plan, file, config)?;
    print(&plan)
}

fn describe(plan: &mut String, file: &Path, config: &Config) -> std::fmt::Result {
    let credentials = match config.cloud.credentials {
        CloudCredentials::AccessKey { .. } => "an access key",
        CloudCredentials::Token(_) => "a token",
    };
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
        "outbox    {}, at most {}, on the disk within {}",
        shown(&outbox.path),
        bytesize::ByteSize(outbox.bytes_max),
        humantime::format_duration(outbox.commit_interval),
    )?;
    let reporter = &config.reporter;
    writeln!(
        plan,
        "batches   at most {} states and {}, after at most {}",
        reporter.batch_states_max,
        bytesize::ByteSize(reporter.batch_bytes_max as u64),
        humantime::format_duration(reporter.batch_age),
    )?;
    for (name, bus) in &config.buses {
        describe_bus(plan, name, bus)?;
        for sensor in &bus.sensors {
            describe_sensor(plan, sensor, config)?;
        }
        for actuator in config.actuators.iter().filter(|actuator| actuator.bus == *name) {
            describe_actuator(plan, actuator, config)?;
        }
    }
    Ok(())
}

fn describe_bus(plan: &mut String, name: &model::Name, bus: &Bus) -> std::fmt::Result {
    match &bus.kind {
        BusKind::Serial(serial) => {
            writeln!(
                plan,
                "\nbus       {name}: serial {} at {} baud",
                shown(&serial.path),
                serial.baud_rate
            )
        }
        BusKind::Mqtt(mqtt) => {
            let (host, port, client_id, qos) = (&mqtt.host, mqtt.port, &mqtt.client_id, mqtt.qos);
            writeln!(
                plan,
                "\nbus       {name}: MQTT broker {host}:{port} as {client_id}, QoS {qos}"
            )
        }
    }
}

fn describe_sensor(plan: &mut String, sensor: &Sensor, config: &Config) -> std::fmt::Result {
    let device = match &sensor.device {
        DeviceSelector::Fixed(id) => device_name(*id, config),
        DeviceSelector::ByTemplate(template) => template.to_string(),
    };
    let topic = sensor.topic.as_ref().map(|topic| format!(" {topic}")).unwrap_or_default();
    writeln!(plan, "  sensor    {}:{topic} as {}", sensor.name, sensor.format)?;
    for mapping in &sensor.map {
        let attribute = match &mapping.attribute {
            AttributeSelector::Fixed(name) => name.to_string(),
            AttributeSelector::ByTemplate(template) => template.to_string(),
        };
        let factor = if (mapping.scale - 1.0).abs() < f64::EPSILON {
            String::new()
        } else {
            format!(" × {}", mapping.scale)
        };
        let offset =
            if mapping.offset == 0.0 { String::new() } else { format!(" + {}", mapping.offset) };
        writeln!(plan, "    {}{factor}{offset} -> {device}.{attribute}", mapping.channel)?;
    }
    Ok(())
}

fn describe_actuator(plan: &mut String, actuator: &Actuator, config: &Config) -> std::fmt::Result {
    let device = device_name(actuator.device, config);
    let write = match &actuator.write {
        WriteTemplate::Serial { text } => format!("{:?}", text.to_string()),
        WriteTemplate::Mqtt { topic, payload, qos, retain } => {
            let retain = if *retain { ", retained" } else { "" };
            format!("{topic} {payload} (QoS {qos}{retain})")
        }
    };
    writeln!(
        plan,
        "  actuator  {}: {device} command \"{}\" -> {write}",
        actuator.name, actuator.command
    )
}

pub(super) fn device_name(id: model::DeviceId, config: &Config) -> String {
    let found = config.devices.iter().find(|(_, device)| **device == id);
    found.map_or_else(|| id.to_string(), |(name, _)| name.to_string())
}
