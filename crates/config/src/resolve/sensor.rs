//! Sensors: the tables `[sensor.…]`.

mod conflicts;
pub(super) mod format;
mod mapping;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::names::{GATEWAY, find_bus, find_device};
use super::templates::{self, SensorScope};
use crate::check::{Check, choice, template};
use crate::field::Field;
use crate::key::join;
use crate::{Bus, BusKind, SerialBus, SerialPoll, Topics, raw, topics};
use tidegate_ingest::by_text::ByText;
use tidegate_ingest::decode::{Format, Nmea, Sparkplug};
use tidegate_ingest::frame::ChecksumAlgorithm;
use tidegate_ingest::mapping::{
    AttributeSelector, DeviceSelector, Sensor, Source, StaleSettings, TimeNotation, TimeSource,
};
use tidegate_model::topic::TopicFilter;
use tidegate_model::{DeviceId, Name, Priority};

pub(super) use conflicts::check_buses as check_conflicts;

type Devices = BTreeMap<Name, DeviceId>;

/// The range of the silence after which a sensor is stale.
const STALE_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30 * 86_400);

/// Resolves one sensor and adds it to its bus.
pub(super) fn sensor(
    name: &str,
    mut raw: raw::Sensor,
    buses: &mut BTreeMap<Name, Bus>,
    devices: &Devices,
    check: &mut Check<'_>,
) {
    let key = join("sensor", name);
    let sensor_name: Option<Name> = check.parsed(&key, name);
    let fix = "name the bus to read from: bus = \"…\"";
    let bus_name = check.required(&format!("{key}.bus"), raw.bus.take(), fix);
    let format = format::format(&key, &mut raw, check);
    let numbers = format.as_ref().map(Format::numbers).unwrap_or_default();
    let device = device_selector(&key, raw.device, devices, check);
    let aliases = aliases(&key, raw.devices, device.as_ref(), devices, check);
    let topic_key = format!("{key}.topic");
    let topic = raw.topic.map(|text| topics::filter(&topic_key, &text.0, check));
    let time = time_source(&format!("{key}.time"), raw.time, check);
    let stale = stale(&format!("{key}.stale"), raw.stale, check);
    let ignore = raw.ignore.and_then(|text| ignore(&format!("{key}.ignore"), &text.0, check));
    let ranks = [("normal", Priority::Normal), ("low", Priority::Low), ("high", Priority::High)];
    let priority = choice(&format!("{key}.priority"), raw.priority, check, &ranks);
    let priority = priority.unwrap_or_default();
    let retained = match topic {
        Some(_) => check.or_default(&format!("{key}.retained"), raw.retained, false),
        None => false,
    };
    if raw.map.is_empty() {
        let fix = "map channels to attributes: map = [{ channel = \"…\", attribute = \"…\" }]";
        check.problems.add(format!("{key}.map"), "is missing or empty", fix);
    }
    let map = raw.map.into_iter().enumerate();
    let channels = format.as_ref().and_then(Format::channels);
    if let (Some(channels), Some(time)) = (&channels, &time) {
        check_channel(&format!("{key}.time.channel"), &time.channel, channels, check);
    }
    let map = map.filter_map(|(index, raw)| {
        let key = format!("{key}.map.{index}");
        let mapping = mapping::mapping(&key, &raw, numbers, check)?;
        if let (Some(channels), Source::Channel(name)) = (&channels, &mapping.source)
            && !mapping.source.is_every_channel()
            && !format.as_ref().is_some_and(|format| format.may_have_channel(name))
        {
            check_channel(&format!("{key}.channel"), name, channels, check);
        }
        Some(mapping)
    });
    let map: Vec<_> = map.collect();
    let bus = bus_name.filter(|name| find_bus(&key, name, buses, check).is_some());
    let Some(bus) = bus.and_then(|name| buses.get_mut(&*name)) else { return };
    check_topic(&topic_key, &bus.kind, topic.is_some(), check);
    let has_format = |name| format.as_ref().is_some_and(|format| format.name() == name);
    if has_format(Sparkplug::NAME) {
        check_births(&key, &bus.kind, topic.as_ref().and_then(Option::as_ref), check);
    }
    let (Some(name), Some(format), Some(device)) = (sensor_name, format, device) else { return };
    let format = with_nmea_of(&bus.kind, format);
    let topic = topic.flatten();
    if let Some(filter) = &topic {
        check_filter(&topic_key, &bus.kind, filter, check);
    }
    let sensor = Sensor {
        name,
        topic,
        format,
        ignore,
        device,
        aliases,
        priority,
        retained,
        time,
        stale,
        map,
    };
    conflicts::check_sensor(&key, &sensor, check);
    check_templates(&key, &sensor, channels.as_deref(), &bus.kind, check);
    bus.sensors.push(sensor);
}

/// Reports templates and expressions that can never have a result.
fn check_templates(
    key: &str,
    sensor: &Sensor,
    channels: Option<&[String]>,
    bus: &BusKind,
    check: &mut Check<'_>,
) {
    let levels = match (&sensor.topic, bus) {
        (Some(filter), _) => topics::levels(filter),
        // The topic is the name of the unit or of the line.
        (None, BusKind::Modbus(_) | BusKind::Gpio(_)) => Some(1),
        (None, _) => None,
    };
    let channels = channels.map(|channels| with_named_channels(sensor, channels));
    let channels = channels.as_deref();
    let scope = SensorScope { channels, levels, has_topics: bus.topics() != Topics::None };
    if let DeviceSelector::ByTemplate(template) = &sensor.device {
        let (key, text) = (format!("{key}.device"), template.to_string());
        templates::check_sensor(&key, &text, template.variables(), scope, check);
    }
    for (index, mapping) in sensor.map.iter().enumerate() {
        if let AttributeSelector::ByTemplate(template) = &mapping.attribute {
            let (key, text) = (format!("{key}.map.{index}.attribute"), template.to_string());
            templates::check_sensor(&key, &text, template.variables(), scope, check);
        }
        if let Source::Expression(expression) = &mapping.source {
            let (key, text) = (format!("{key}.map.{index}.expression"), expression.to_string());
            templates::check_sensor(&key, &text, expression.variables(), scope, check);
        }
    }
}

/// Returns the channels with those that a template names and that a message may name, too.
fn with_named_channels(sensor: &Sensor, channels: &[String]) -> Vec<String> {
    let mut known = channels.to_vec();
    let mut add = |variables: &[String]| {
        let named = variables.iter().filter(|name| sensor.format.may_have_channel(name));
        known.extend(named.cloned());
    };
    if let DeviceSelector::ByTemplate(template) = &sensor.device {
        add(template.variables());
    }
    for mapping in &sensor.map {
        if let AttributeSelector::ByTemplate(template) = &mapping.attribute {
            add(template.variables());
        }
        if let Source::Expression(expression) = &mapping.source {
            add(expression.variables());
        }
    }
    known
}

/// Returns the format with the decoder of NMEA sentences, if it is the one: a frame may verify and
/// remove their checksum.
fn with_nmea_of(bus: &BusKind, format: Format) -> Format {
    if format.name() != Nmea::NAME {
        return format;
    }
    let is_verified = if let BusKind::Serial(serial) = bus {
        let checksum = serial.framing.checksum.as_ref();
        checksum.is_some_and(|one| matches!(one.algorithm, ChecksumAlgorithm::Nmea))
    } else {
        false
    };
    format.with_decoder(Nmea { is_verified })
}

/// Reports a channel that no message of the format can have.
fn check_channel(key: &str, name: &str, channels: &[String], check: &mut Check<'_>) {
    if !channels.iter().any(|channel| channel == name) {
        check.unknown_word(key, name, channels);
    }
}

fn check_topic(key: &str, bus: &BusKind, is_there: bool, check: &mut Check<'_>) {
    match (bus.topics(), is_there) {
        (Topics::None, true) => {
            let problem = format!("{} buses have no topics", bus.word());
            let is_polled = matches!(bus, BusKind::Serial(SerialBus { poll: Some(_), .. }));
            let fix = if is_polled {
                "name the answers of the bus with poll_topics, or remove it"
            } else {
                "remove it"
            };
            check.problems.add(key, problem, fix);
        }
        (Topics::Required, false) => {
            let fix = "say what to subscribe to: topic = \"sensors/+/climate\"";
            check.problems.add(key, "is missing", fix);
        }
        (Topics::None, false) | (Topics::Optional, _) | (Topics::Required, true) => {}
    }
}

/// Checks the filter of a sensor: on MQTT its notation, on a serial line that an answer has such a
/// topic.
fn check_filter(key: &str, bus: &BusKind, filter: &TopicFilter, check: &mut Check<'_>) {
    if let BusKind::Mqtt(_) = bus {
        topics::check_mqtt_filter(key, filter, check);
    }
    if let BusKind::Serial(SerialBus { poll: Some(SerialPoll { topics, .. }), .. }) = bus
        && !topics.is_empty()
        && !topics.iter().any(|topic| filter.matches(topic))
    {
        check.unknown_word(key, filter.as_str(), topics);
    }
}

/// Reports a Sparkplug sensor that cannot receive births.
fn check_births(key: &str, bus: &BusKind, topic: Option<&TopicFilter>, check: &mut Check<'_>) {
    let BusKind::Mqtt(settings) = bus else {
        let problem = format!("{} buses cannot have Sparkplug B", bus.word());
        return check.problems.add(format!("{key}.format"), problem, "use an mqtt bus");
    };
    if settings.share.is_some() {
        let fix = "use a bus without share";
        check.problems.add(
            format!("{key}.format"),
            "a shared subscription does not receive all births",
            fix,
        );
    }
    let kind = topic.and_then(|topic| topic.as_str().split('/').nth(2));
    if kind.is_some_and(|kind| kind != "+" && kind != "#") {
        let fix = "include births: topic = \"spBv1.0/GROUP/+/NODE/#\"";
        check.problems.add(format!("{key}.topic"), "births are on another topic", fix);
    }
}

fn device_selector(
    key: &str,
    field: Option<Field<String>>,
    devices: &Devices,
    check: &mut Check<'_>,
) -> Option<DeviceSelector> {
    let key = format!("{key}.device");
    let text = check.or_default(&key, field, GATEWAY.to_owned());
    let template = template(&key, &text, check)?;
    if template.is_constant() {
        find_device(&key, &text, devices, check).map(DeviceSelector::Fixed)
    } else {
        Some(DeviceSelector::ByTemplate(template))
    }
}

fn aliases(
    key: &str,
    table: BTreeMap<String, Field<String>>,
    device: Option<&DeviceSelector>,
    devices: &Devices,
    check: &mut Check<'_>,
) -> BTreeMap<String, Name> {
    if let (Some(DeviceSelector::Fixed(_)), false) = (device, table.is_empty()) {
        let fix = "say where the message names its device: device = \"{{ payload.mac }}\"";
        check.problems.add(format!("{key}.devices"), "the device is always the same", fix);
    }
    let mut aliases = BTreeMap::new();
    for (alias, name) in table {
        let key = join(&format!("{key}.devices"), &alias);
        if find_device(&key, &name.0, devices, check).is_some()
            && let Some(name) = check.parsed(&key, &name.0)
        {
            aliases.insert(alias, name);
        }
    }
    aliases
}

fn ignore(key: &str, pattern: &str, check: &mut Check<'_>) -> Option<ByText<regex::bytes::Regex>> {
    let compiled = regex::bytes::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    let fix = "write a regular expression: ignore = '^#'";
    compiled
        .map_err(|error| check.problems.add(key, last_line(&error.to_string()), fix))
        .ok()
        .map(ByText)
}

/// Returns the last line of an error, which is its reason.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

fn time_source(key: &str, raw: raw::Time, check: &mut Check<'_>) -> Option<TimeSource> {
    if raw.channel.is_none() && raw.format.is_none() && raw.zone.is_none() {
        return None;
    }
    let fix = "say which channel holds it: channel = \"…\"";
    let channel = check.required(&format!("{key}.channel"), raw.channel, fix);
    let format_key = format!("{key}.format");
    let fix =
        "use \"s\", \"ms\", \"rfc3339\", \"dsmr\", or a pattern such as \"%Y-%m-%d %H:%M:%S\"";
    let format = check.required(&format_key, raw.format, fix)?;
    let is_pattern = format.contains('%');
    if raw.zone.is_some() && !is_pattern && format != "dsmr" {
        check.problems.add(format!("{key}.zone"), "is for a pattern", "remove it");
    }
    let notation = match format.as_str() {
        "s" => TimeNotation::UnixSeconds,
        "ms" => TimeNotation::UnixMillis,
        "rfc3339" => TimeNotation::Rfc3339,
        "dsmr" => TimeNotation::Dsmr { zone: required_zone(key, raw.zone, check)? },
        _ if is_pattern => {
            let zone = required_zone(key, raw.zone, check);
            if let Err(why) = TimeNotation::check_pattern(&format) {
                let fix = "include the day and the time: \"%Y-%m-%d %H:%M:%S\"";
                check.problems.add(format_key, why, fix);
                return None;
            }
            TimeNotation::Pattern { pattern: format, zone: zone? }
        }
        _ => {
            check.problems.add(format_key, format!("\"{format}\" is not known"), fix);
            return None;
        }
    };
    Some(TimeSource { channel: channel?, notation })
}

fn required_zone(
    key: &str,
    zone: Option<Field<String>>,
    check: &mut Check<'_>,
) -> Option<TimeZone> {
    let key = format!("{key}.zone");
    let fix = "give the time zone of its clock: zone = \"Europe/Berlin\", \"UTC\" or \"+02:00\"";
    let zone = check.required(&key, zone, fix)?;
    time_zone(&key, &zone, check)
}

/// Returns a zone of the system's database, or an offset such as `+02:00`.
pub(in crate::resolve::sensor) fn time_zone(
    key: &str,
    name: &str,
    check: &mut Check<'_>,
) -> Option<TimeZone> {
    let offset = || {
        let text = format!("1970-01-01T00:00:00{name}");
        let pieces = jiff::fmt::temporal::Pieces::parse(&text).ok()?;
        pieces.to_numeric_offset().map(TimeZone::fixed)
    };
    let zone = match name {
        "UTC" => Some(TimeZone::UTC),
        _ if name.starts_with(['+', '-']) => offset(),
        _ => TimeZone::get(name).ok(),
    };
    if zone.is_none() {
        let fix =
            "take one from /usr/share/zoneinfo, such as \"Europe/Berlin\", \"UTC\", or \"+02:00\"";
        check.problems.add(key, format!("there is no time zone \"{name}\""), fix);
    }
    zone
}

fn stale(key: &str, raw: raw::Stale, check: &mut Check<'_>) -> Option<StaleSettings> {
    if raw.after.is_none() && raw.attribute.is_none() {
        return None;
    }
    let after_key = format!("{key}.after");
    let fix = "say how long it may be silent: after = \"5 min\"";
    let after = check.required(&after_key, raw.after, fix);
    let after = after.map(|after| check.duration(&after_key, Some(Field(after)), &STALE_RANGE));
    let attribute_key = format!("{key}.attribute");
    let fix = "name a boolean attribute: attribute = \"online\"";
    let attribute = check.required(&attribute_key, raw.attribute, fix)?;
    match mapping::attribute_selector(&attribute_key, &attribute, check)? {
        AttributeSelector::Fixed(attribute) => Some(StaleSettings { after: after?, attribute }),
        AttributeSelector::ByTemplate(_) => {
            check.problems.add(attribute_key, "is a template", "name one attribute");
            None
        }
    }
}
