//! The status document as metrics in the text format of `OpenMetrics`, which Prometheus reads.
//!
//! Labels are names from the configuration and codes from this program, so that their number is
//! bounded. Values of sensors are not metrics of the gateway.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::health::{Condition, ProblemCode};
use super::{BusStatus, DeviceAudit, Document, SensorStatus};
use tidegate_model::{Account, Name};

/// The `Content-Type` of the text (`OpenMetrics` 1.0, "Overall Structure").
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Encodes a document as the text of all metrics.
pub(super) fn text(document: Document) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(document));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Document {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.encode_health(&mut page)?;
        self.encode_cloud(&mut page)?;
        self.encode_outbox(&mut page)?;
        self.encode_buses(&mut page)?;
        self.encode_ledger(&mut page)?;
        self.encode_sensors(&mut page)?;
        self.encode_audit(&mut page)?;
        self.encode_commands(&mut page)
    }
}

impl Document {
    fn encode_health(&self, page: &mut Page<'_>) -> fmt::Result {
        let build = [([("version", self.version)], 1_u64)];
        page.gauges("build_info", "The running version, as a label", build)?;
        page.gauge("uptime_seconds", "Time since the start of the daemon", self.uptime_s)?;
        let is_healthy = u64::from(self.health.condition == Condition::Healthy);
        page.gauge("healthy", "Whether there is no problem", is_healthy)?;
        let problems = |code: ProblemCode| {
            self.health.problems.iter().filter(|problem| problem.code == code).count()
        };
        let codes = ProblemCode::ALL.iter();
        page.gauges(
            "health_problems",
            "Problems by code",
            codes.map(|code| ([("code", code.as_str())], problems(*code) as u64)),
        )?;
        page.counter("reloads", "Reloads of the configuration", self.reload.count)?;
        let is_trusted = u64::from(self.clock.trust != "waiting");
        page.gauge("clock_trusted", "Whether the time of day is known and trusted", is_trusted)
    }

    fn encode_cloud(&self, page: &mut Page<'_>) -> fmt::Result {
        let is_online = u64::from(self.cloud.online == Some(true));
        page.gauge("cloud_up", "Whether the last call reached Losant", is_online)?;
        page.counter("cloud_batches", "sendState calls that Losant confirmed", self.cloud.batches)?;
        page.counter(
            "cloud_states_stored",
            "States in the confirmed calls",
            self.cloud.states_stored,
        )?;
        let is_refused = u64::from(!self.cloud.credentials_error.is_empty());
        page.gauge(
            "cloud_credentials_refused",
            "Whether Losant rejects the access key",
            is_refused,
        )?;
        let calls = self
            .throttle
            .iter()
            .map(|(device, throttle)| ([("device", device.as_str())], throttle.calls as u64));
        page.gauges("cloud_calls_in_window", "Calls in the throttle window of 15 s, of 30", calls)?;
        let streams = self
            .streams
            .iter()
            .map(|(device, is_open)| ([("device", &**device)], u64::from(*is_open)));
        page.gauges("command_stream_open", "Whether the command stream is open", streams)
    }

    fn encode_outbox(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("outbox_states", "States that wait in the outbox", self.outbox.states)?;
        page.gauge("outbox_readings", "Readings that wait in the outbox", self.outbox.readings)?;
        page.gauge("outbox_bytes", "Bytes that wait in the outbox", self.outbox.bytes)?;
        page.gauge("outbox_limit_bytes", "The limit of outbox_bytes", self.outbox.bytes_max)?;
        #[expect(clippy::cast_precision_loss, reason = "times of day have 41 bits")]
        let oldest = self.outbox.oldest_ms.map(|oldest| (NO_LABELS, oldest as f64 / 1_000.0));
        page.gauges(
            "outbox_oldest_timestamp_seconds",
            "Time of the oldest state that waits",
            oldest,
        )?;
        let is_failing = u64::from(self.disk.write_failing.is_some());
        page.gauge("outbox_write_failing", "Whether writes to the outbox fail", is_failing)?;
        let free = self.disk.free_bytes.map(|free| (NO_LABELS, free));
        page.gauges("disk_free_bytes", "Free space on the file system of the outbox", free)
    }

    fn encode_buses(&self, page: &mut Page<'_>) -> fmt::Result {
        let buses = |value: fn(&BusStatus) -> Option<u64>| {
            let buses = self.buses.iter();
            buses.filter_map(move |(name, bus)| Some(([("bus", &**name)], value(bus)?)))
        };
        let connected = buses(|bus| bus.connected.map(u64::from));
        page.gauges("bus_connected", "Whether the line or session is open", connected)?;
        let problems = buses(|bus| Some(bus.problems.len() as u64));
        page.gauges("bus_problems", "Units, files or programs that cannot be read", problems)?;
        let disconnects = buses(|bus| Some(bus.disconnects));
        page.counters("bus_disconnects", "Lost lines or sessions", disconnects)
    }

    fn encode_ledger(&self, page: &mut Page<'_>) -> fmt::Result {
        let accounts = |value: fn(&Account) -> u64| {
            self.ledger.iter().map(move |(bus, account)| ([("bus", &**bus)], value(account)))
        };
        let received = accounts(|account| account.received);
        page.counters("readings_received", "Readings received", received)?;
        let generated = accounts(|account| account.generated);
        page.counters("readings_generated", "Readings that the gateway computed", generated)?;
        let duplicates = accounts(|account| account.duplicates);
        page.counters("messages_duplicate", "Messages delivered again and recognised", duplicates)?;
        let stored = accounts(|account| account.stored);
        page.counters("readings_stored", "Readings that Losant confirmed", stored)?;
        let rejected = self.by_reason(|account| &account.rejected);
        page.counters("readings_rejected", "Readings rejected, by reason", rejected)?;
        let skipped = self.by_reason(|account| &account.skipped);
        page.counters("readings_skipped", "Readings with nothing to send, by reason", skipped)?;
        let dropped = self.by_reason(|account| &account.dropped);
        page.counters("readings_dropped", "Readings dropped, by reason", dropped)?;
        let filtered = self.by_reason(|account| &account.filtered);
        page.counters("readings_filtered", "Readings filtered out by the configuration", filtered)
    }

    fn by_reason(
        &self,
        counts: fn(&Account) -> &std::collections::BTreeMap<tidegate_model::Reason, u64>,
    ) -> impl Iterator<Item = ([(&'static str, String); 2], u64)> {
        self.ledger.iter().flat_map(move |(bus, account)| {
            counts(account).iter().map(|(reason, readings)| {
                ([("bus", bus.to_string()), ("reason", reason.to_string())], *readings)
            })
        })
    }

    fn encode_sensors(&self, page: &mut Page<'_>) -> fmt::Result {
        let sensors = |value: fn(&SensorStatus) -> Option<u64>| {
            let labelled =
                |name: &Name, bus: &Name| [("sensor", name.to_string()), ("bus", bus.to_string())];
            self.sensors.iter().filter_map(move |(name, sensor)| {
                Some((labelled(name, &sensor.bus), value(sensor)?))
            })
        };
        let messages = sensors(|sensor| Some(sensor.messages));
        page.counters("sensor_messages", "Messages decoded", messages)?;
        let payloads = sensors(|sensor| Some(sensor.payloads));
        page.counters("sensor_payloads", "States that Losant counts as payloads", payloads)?;
        let errors = sensors(|sensor| Some(sensor.errors));
        page.counters("sensor_decode_errors", "Messages and values not decoded", errors)?;
        let skipped = sensors(|sensor| Some(sensor.skipped));
        page.counters("sensor_skipped", "Messages and values with nothing to send", skipped)?;
        let age = sensors(|sensor| sensor.age.map(|age| age.elapsed().as_secs()));
        page.gauges("sensor_age_seconds", "Time since the last message", age)?;
        let stale = sensors(|sensor| sensor.stale.map(u64::from));
        page.gauges("sensor_stale", "Whether the sensor has been silent for too long", stale)
    }

    fn encode_audit(&self, page: &mut Page<'_>) -> fmt::Result {
        let devices = |count: fn(&DeviceAudit) -> u64| {
            let devices = self.audit.devices.iter();
            devices.map(move |(device, audit)| ([("device", device.as_str())], count(audit)))
        };
        let samples = devices(|audit| audit.samples);
        page.counters("audit_samples", "Samples of states read back from Losant", samples)?;
        let values = devices(|audit| audit.values);
        page.counters("audit_values", "Values compared with those in Losant", values)?;
        let differing = self.audit.devices.iter().flat_map(|(device, audit)| {
            audit.by_reason().into_iter().map(move |(reason, values)| {
                ([("device", device.as_str()), ("reason", reason.as_str())], values)
            })
        });
        page.counters("audit_differences", "Values that differ, by probable reason", differing)
    }

    fn encode_commands(&self, page: &mut Page<'_>) -> fmt::Result {
        let commands = &self.commands;
        page.counter(
            "commands_received",
            "Commands received, each counted once",
            commands.received,
        )?;
        page.counter("commands_duplicate", "Commands received again", commands.duplicates)?;
        let ended = [
            ([("result", "executed")], commands.executed),
            ([("result", "failed")], commands.failed),
            ([("result", "interrupted")], commands.interrupted),
        ];
        page.counters("commands_ended", "Commands run, by result", ended)?;
        let refused =
            commands.refused.iter().map(|(reason, count)| ([("reason", *reason)], *count));
        page.counters("commands_refused", "Commands refused, by reason", refused)
    }
}

/// The labels of a family with one member.
const NO_LABELS: [(&str, &str); 0] = [];

/// Writes metric families.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(name, help, [(NO_LABELS, value)])
    }

    fn gauges<const N: usize, L: AsRef<str>, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        members: impl IntoIterator<Item = ([(&'static str, L); N], V)>,
    ) -> fmt::Result {
        let members = members.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, members)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [(NO_LABELS, value)])
    }

    fn counters<const N: usize, L: AsRef<str>, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        members: impl IntoIterator<Item = ([(&'static str, L); N], V)>,
    ) -> fmt::Result {
        let members = members.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, members)
    }

    fn family<const N: usize, L: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        members: impl Iterator<Item = ([(&'static str, L); N], impl EncodeMetric)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in members {
            let labels = labels.each_ref().map(|(label, value)| (*label, value.as_ref()));
            if labels.is_empty() {
                value.encode(family.encode_family(&[("", ""); 0])?)?;
            } else {
                value.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
