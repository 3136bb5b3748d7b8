//! The writes of actuators: one kind for each bus that can be written to, and programs, HTTP
//! requests and the gateway itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::names::find_bus;
use super::super::templates;
use crate::address::{Mistake, check_url};
use crate::bus::{RawRegister, register};
use crate::check::{Check, choice, report_unknown_name};
use crate::field::Field;
use crate::notation;
use crate::topics;
use crate::{Bus, BusKind, GpioBus, ModbusBus, raw};
use tidegate_commands::actuator::{
    ExecTemplate, GatewayTemplate, GpioTemplate, HttpBodyTemplate, HttpTemplate, ModbusTemplate,
    MqttTemplate, SerialTemplate, WriteTemplate,
};
use tidegate_commands::arguments::Arguments;
use tidegate_model::{HttpMethod, Name, Reply, TopicReply};
use tidegate_template::Template;

/// The range of the output of a program in bytes.
const OUTPUT_RANGE: std::ops::RangeInclusive<u64> = 64..=1 << 20;

/// The default.
const OUTPUT_DEFAULT: u64 = 64 * 1024;

/// The range of the time that a reply may take.
const REPLY_TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);

/// The default.
const REPLY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// The keys of each kind of actuator.
const SERIAL: &[&str] = &["bus", "write", "encoding", "reply", "reply_failure", "reply_timeout"];
const MQTT: &[&str] = &[
    "bus",
    "topic",
    "payload",
    "qos",
    "retain",
    "reply",
    "reply_failure",
    "reply_timeout",
    "reply_topic",
];
const MODBUS: &[&str] = &[
    "bus",
    "unit",
    "table",
    "address",
    "kind",
    "order",
    "length",
    "value",
    "use_multiple_write",
    "read_back",
];
const GPIO: &[&str] = &["bus", "output", "value", "pulse"];
const EXEC: &[&str] = &["exec", "output_size_max"];
const HTTP: &[&str] = &["url", "method", "body", "content_type"];
const GATEWAY: &[&str] = &["gateway", "level"];

/// Resolves the bus, if the actuator needs one, and the write.
pub(super) fn write(
    key: &str,
    raw: raw::Actuator,
    arguments: &Arguments,
    buses: &BTreeMap<Name, Bus>,
    check: &mut Check<'_>,
) -> Option<(Option<Name>, WriteTemplate)> {
    check_json_templates(key, &raw, arguments, check);
    let ways = [raw.bus.is_some(), raw.exec.is_some(), raw.url.is_some(), raw.gateway.is_some()];
    if ways.iter().filter(|is_given| **is_given).count() != 1 {
        let what = "needs exactly one of bus, exec, url and gateway";
        check.problems.add(key, what, "name what it writes to: bus = \"…\"");
        return None;
    }
    let Some(bus) = raw.bus.clone() else {
        let write = match (&raw.exec, &raw.url) {
            (Some(_), _) => exec(key, raw, check),
            (None, Some(_)) => http(key, raw, check),
            (None, None) => gateway(key, raw, check),
        };
        return Some((None, write?));
    };
    let kind = &find_bus(key, &bus.0, buses, check)?.kind;
    // A chain, not a match: a new kind of bus that only reads needs no line here.
    let write = if let BusKind::Serial(bus) = kind {
        if bus.meter.is_some() {
            let what = "its poll = \"iec62056\" leaves no time for writes";
            check.problems.add(format!("{key}.bus"), what, "name another bus");
        }
        serial(key, raw, check)
    } else if let BusKind::Mqtt(_) = kind {
        mqtt(key, raw, check)
    } else if let BusKind::Gpio(bus) = kind {
        gpio(key, raw, bus, check)
    } else if let BusKind::Modbus(bus) = kind {
        modbus(key, raw, bus, check)
    } else {
        let problem = format!("{} buses cannot be written to", kind.word());
        check.problems.add(format!("{key}.bus"), problem, "name another bus");
        None
    };
    Some((Some(bus.0.parse().ok()?), write?))
}

/// Compiles a template over the variables of a command.
fn template(key: &str, text: &str, check: &mut Check<'_>) -> Option<Template> {
    let template = crate::check::template(key, text, check)?;
    templates::check_actuator(key, template.variables(), check);
    Some(template)
}

/// Reports templates of JSON in which the payload can end a text.
fn check_json_templates(
    key: &str,
    raw: &raw::Actuator,
    arguments: &Arguments,
    check: &mut Check<'_>,
) {
    let texts = [("payload", &raw.payload), ("write", &raw.write), ("body", &raw.body)];
    let is_json = raw.content_type.as_ref().is_none_or(|kind| kind.0.contains("json"));
    for (option, text) in texts.iter().filter(|(option, _)| *option != "body" || is_json) {
        if let Some(text) = text {
            templates::check_json(&format!("{key}.{option}"), &text.0, arguments, check);
        }
    }
}

/// Reports each option that is for another kind of actuator.
fn only(key: &str, raw: &raw::Actuator, known: &[&str], check: &mut Check<'_>) {
    let given = [
        ("write", raw.write.is_some()),
        ("encoding", raw.encoding.is_some()),
        ("reply", raw.reply.is_some()),
        ("reply_failure", raw.reply_failure.is_some()),
        ("reply_timeout", raw.reply_timeout.is_some()),
        ("reply_topic", raw.reply_topic.is_some()),
        ("topic", raw.topic.is_some()),
        ("payload", raw.payload.is_some()),
        ("qos", raw.qos.is_some()),
        ("retain", raw.retain.is_some()),
        ("unit", raw.unit.is_some()),
        ("table", raw.table.is_some()),
        ("address", raw.address.is_some()),
        ("kind", raw.kind.is_some()),
        ("order", raw.order.is_some()),
        ("length", raw.length.is_some()),
        ("value", raw.value.is_some()),
        ("output", raw.output.is_some()),
        ("pulse", raw.pulse.is_some()),
        ("use_multiple_write", raw.use_multiple_write.is_some()),
        ("read_back", raw.read_back.is_some()),
        ("output_size_max", raw.output_size_max.is_some()),
        ("method", raw.method.is_some()),
        ("body", raw.body.is_some()),
        ("content_type", raw.content_type.is_some()),
        ("level", raw.level.is_some()),
    ];
    for (option, _) in given.iter().filter(|(name, is_given)| *is_given && !known.contains(name)) {
        let fix = format!("remove it; this kind takes {}", known.join(", "));
        check.problems.add(format!("{key}.{option}"), "is for another kind of actuator", fix);
    }
}

fn serial(key: &str, raw: raw::Actuator, check: &mut Check<'_>) -> Option<WriteTemplate> {
    only(key, &raw, SERIAL, check);
    let encodings = [("auto", Encoding::Auto), ("text", Encoding::Text), ("hex", Encoding::Digits)];
    let encoding = choice(&format!("{key}.encoding"), raw.encoding, check, &encodings);
    let options =
        ReplyOptions { success: raw.reply, failure: raw.reply_failure, timeout: raw.reply_timeout };
    let reply = reply(key, options, notation::bytes, check);
    let fix = "give the text to write: write = \"FAN {{ payload.speed }}\\n\"";
    let key = format!("{key}.write");
    let text = check.required(&key, raw.write, fix)?;
    // The configured text decides what the template yields, so that no payload can.
    let (text, is_hex) = match encoding? {
        Encoding::Digits => (text.strip_prefix(notation::PREFIX).unwrap_or(&text), true),
        Encoding::Text => (&*text, false),
        Encoding::Auto => match notation::digits(&text) {
            None => (&*text, false),
            Some(Ok(digits)) => (digits, true),
            Some(Err(fix)) => {
                let fix = format!(
                    "{fix}; for a template of digits set encoding = \"hex\"; for the characters 0 \
                     and x set encoding = \"text\""
                );
                check.problems.add(&key, "begins with 0x, but is not bytes", fix);
                return None;
            }
        },
    };
    let text = template(&key, text, check)?;
    Some(WriteTemplate::Serial(SerialTemplate { text, is_hex, reply }))
}

/// How the text of a serial write becomes bytes.
#[derive(Clone, Copy)]
enum Encoding {
    /// As its notation says.
    Auto,
    /// As its characters.
    Text,
    /// As pairs of hexadecimal digits.
    Digits,
}

/// The options of a reply as they are written.
struct ReplyOptions {
    success: Option<Field<String>>,
    failure: Option<Field<String>>,
    timeout: Option<Field<Duration>>,
}

/// Resolves the reply of a device, if it has one.
fn reply(
    key: &str,
    options: ReplyOptions,
    bytes: fn(&str, &str, &mut Check<'_>) -> Option<Vec<u8>>,
    check: &mut Check<'_>,
) -> Option<Reply> {
    let ReplyOptions { success, failure, timeout } = options;
    let timeout = timeout.or(Some(Field(REPLY_TIMEOUT_DEFAULT)));
    let timeout = check.duration(&format!("{key}.reply_timeout"), timeout, &REPLY_TIMEOUT_RANGE);
    let failure = failure.and_then(|field| bytes(&format!("{key}.reply_failure"), &field.0, check));
    if failure.is_some() && success.is_none() {
        let fix = "say how the line or message begins that means success: reply = \"OK\"";
        check.problems.add(format!("{key}.reply"), "is missing", fix);
    }
    let success = bytes(&format!("{key}.reply"), &success?.0, check)?;
    Some(Reply { success, failure, timeout })
}

/// Resolves the reply of a device that replies on a topic.
fn topic_reply(
    key: &str,
    topic: Option<Field<String>>,
    options: ReplyOptions,
    check: &mut Check<'_>,
) -> Option<TopicReply> {
    let utf8 = |_: &str, text: &str, _: &mut Check<'_>| Some(text.as_bytes().to_vec());
    match (topic, reply(key, options, utf8, check)) {
        (Some(Field(topic)), Some(words)) => {
            topics::check_published(&format!("{key}.reply_topic"), &topic, check);
            Some(TopicReply { topic, words })
        }
        (Some(_), None) => {
            let fix = "say how the message begins that means success; \"\" is any message";
            check.problems.add(format!("{key}.reply"), "is missing", fix);
            None
        }
        (None, Some(_)) => {
            let fix = "name the topic on which the device answers: reply_topic = \"…\"";
            check.problems.add(format!("{key}.reply_topic"), "is missing", fix);
            None
        }
        (None, None) => None,
    }
}

fn mqtt(key: &str, raw: raw::Actuator, check: &mut Check<'_>) -> Option<WriteTemplate> {
    only(key, &raw, MQTT, check);
    let topic_key = format!("{key}.topic");
    let topic = check.required(&topic_key, raw.topic, "say where to publish: topic = \"…\"");
    if let Some(topic) = &topic {
        topics::check_template(&topic_key, topic, check);
    }
    let payload_key = format!("{key}.payload");
    let payload = check.required(&payload_key, raw.payload, "say what: payload = \"…\"");
    let qos = check.integer(&format!("{key}.qos"), raw.qos, 1, &(0..=1));
    let options =
        ReplyOptions { success: raw.reply, failure: raw.reply_failure, timeout: raw.reply_timeout };
    let reply = topic_reply(key, raw.reply_topic, options, check);
    Some(WriteTemplate::Mqtt(MqttTemplate {
        topic: template(&topic_key, &topic?, check)?,
        payload: template(&payload_key, &payload?, check)?,
        qos: u8::try_from(qos).ok()?,
        retain: check.or_default(&format!("{key}.retain"), raw.retain, false),
        reply,
    }))
}

fn modbus(
    key: &str,
    raw: raw::Actuator,
    bus: &ModbusBus,
    check: &mut Check<'_>,
) -> Option<WriteTemplate> {
    only(key, &raw, MODBUS, check);
    let unit_key = format!("{key}.unit");
    let unit = check.required(&unit_key, raw.unit, "name the unit of its bus: unit = \"pump\"");
    let units: Vec<_> = bus.units.iter().map(|known| &known.name).collect();
    let unit = unit.and_then(|unit| known(&unit_key, "unit", &unit, &units, check));
    let place = RawRegister {
        channel: Some(Field(key.to_owned())),
        table: raw.table,
        address: raw.address,
        kind: raw.kind,
        order: raw.order,
        length: raw.length,
    };
    let register = register(key, place, check);
    if register.as_ref().is_some_and(|register| !register.is_writable()) {
        let fix = "use table = \"holding\" with a whole register, or \"coil\"";
        check.problems.add(key, "is a register that cannot be written", fix);
    }
    let value_key = format!("{key}.value");
    let value = check.required(&value_key, raw.value, "say what: value = \"{{ payload.level }}\"");
    Some(WriteTemplate::Modbus(ModbusTemplate {
        value: template(&value_key, &value?, check)?,
        use_multiple_write: check.or_default(
            &format!("{key}.use_multiple_write"),
            raw.use_multiple_write,
            false,
        ),
        read_back: check.or_default(&format!("{key}.read_back"), raw.read_back, false),
        unit: unit?,
        register: register?,
    }))
}

fn gpio(
    key: &str,
    raw: raw::Actuator,
    bus: &GpioBus,
    check: &mut Check<'_>,
) -> Option<WriteTemplate> {
    only(key, &raw, GPIO, check);
    let output_key = format!("{key}.output");
    let fix = "name the output of its bus: output = \"relay\"";
    let output = check.required(&output_key, raw.output, fix);
    let outputs: Vec<_> = bus.outputs.iter().map(|known| &known.name).collect();
    let output = output.and_then(|output| known(&output_key, "output", &output, &outputs, check));
    let value_key = format!("{key}.value");
    let value = check.required(&value_key, raw.value, "say what: value = \"{{ payload.on }}\"");
    let pulse = match raw.pulse {
        Some(pulse) => Some(template(&format!("{key}.pulse"), &pulse.0, check)?),
        None => None,
    };
    Some(WriteTemplate::Gpio(GpioTemplate {
        value: template(&value_key, &value?, check)?,
        output: output?,
        pulse,
    }))
}

/// Finds a name, and reports an unknown one.
fn known(
    key: &str,
    kind: &str,
    name: &str,
    names: &[&Name],
    check: &mut Check<'_>,
) -> Option<Name> {
    let found = names.iter().copied().find(|known| &***known == name);
    if found.is_none() {
        report_unknown_name(key, kind, name, names.iter().copied(), check);
    }
    found.cloned()
}

fn exec(key: &str, raw: raw::Actuator, check: &mut Check<'_>) -> Option<WriteTemplate> {
    only(key, &raw, EXEC, check);
    let output_key = format!("{key}.output_size_max");
    let output = check.bytes(&output_key, raw.output_size_max, OUTPUT_DEFAULT, &OUTPUT_RANGE);
    let key = format!("{key}.exec");
    let mut words = raw.exec.unwrap_or_default().into_iter().map(|field| field.0);
    let program = PathBuf::from(words.next().unwrap_or_default());
    if !program.is_absolute() || program.to_string_lossy().contains("{{") {
        let fix = "use an absolute path without a template: exec = [\"/usr/bin/…\"]";
        check.problems.add(&key, "does not start with a program", fix);
        return None;
    }
    let arguments = words.map(|word| template(&key, &word, check)).collect::<Option<_>>()?;
    let output_bytes_max = usize::try_from(output).unwrap_or_default();
    Some(WriteTemplate::Exec(ExecTemplate { program, arguments, output_bytes_max }))
}

fn http(key: &str, raw: raw::Actuator, check: &mut Check<'_>) -> Option<WriteTemplate> {
    only(key, &raw, HTTP, check);
    let methods = [("POST", HttpMethod::Post), ("PUT", HttpMethod::Put), ("GET", HttpMethod::Get)];
    let method = choice(&format!("{key}.method"), raw.method, check, &methods);
    let body = match raw.body {
        Some(body) => {
            let type_key = format!("{key}.content_type");
            let json = "application/json".to_owned();
            let media_type = check.or_default(&type_key, raw.content_type, json);
            let content = template(&format!("{key}.body"), &body.0, check)?;
            Some(HttpBodyTemplate { media_type, content })
        }
        None => None,
    };
    let key = format!("{key}.url");
    let url = raw.url?.0;
    let fixed = url.split("{{").next().unwrap_or_default();
    if !fixed.contains("://")
        && !fixed.is_empty()
        && let Err(Mistake { what, fix }) = check_url("url", fixed, &["http", "https"])
    {
        check.problems.add(key, what, fix);
        return None;
    }
    let Some(origin) = origin(&url) else {
        let fix =
            "use no template in scheme and host: url = \"http://10.0.0.5/relay/{{ payload.n }}\"";
        check.problems.add(key, "is not a URL with a fixed host", fix);
        return None;
    };
    if let Err(Mistake { what, fix }) = check_url("url", &origin, &["http", "https"]) {
        check.problems.add(&key, what, fix);
    }
    let url = template(&key, &url, check)?;
    Some(WriteTemplate::Http(HttpTemplate { method: method?, origin, url, body }))
}

/// Returns scheme, host and port of a URL; `None` if they contain a template or a password.
fn origin(url: &str) -> Option<String> {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| url.starts_with(scheme))?;
    let rest = url.get(scheme.len()..)?;
    let host = rest.get(..rest.find(['/', '?']).unwrap_or(rest.len()))?;
    let is_host = !host.is_empty() && !host.contains(['{', '}', '@', ' ', '#', '\\']);
    is_host.then(|| format!("{scheme}{host}"))
}

fn gateway(key: &str, raw: raw::Actuator, check: &mut Check<'_>) -> Option<WriteTemplate> {
    only(key, &raw, GATEWAY, check);
    let level_key = format!("{key}.level");
    let actions = [
        ("report-status", Some(GatewayTemplate::ReportStatus)),
        ("log-level", None),
        ("flush-now", Some(GatewayTemplate::FlushNow)),
        ("reload", Some(GatewayTemplate::Reload)),
    ];
    let action = choice(&format!("{key}.gateway"), raw.gateway, check, &actions)?;
    if action.is_some() {
        if raw.level.is_some() {
            check.problems.add(level_key, "is for gateway = \"log-level\"", "remove it");
        }
        return action.map(WriteTemplate::Gateway);
    }
    let fix = "say which: level = \"{{ payload.level }}\"";
    let level = check.required(&level_key, raw.level, fix)?;
    let level = template(&level_key, &level, check)?;
    Some(WriteTemplate::Gateway(GatewayTemplate::LogLevel(level)))
}
