//! The pipeline of one bus: decodes messages, maps channels to attributes, and filters values.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use minijinja::value::merge_maps;

use super::attribute_filter::{AttributeFilter, FilterResult};
use super::conversion::{Conversion, numeric};
use super::declared_types;
use super::output::{OutputBuilder, PipelineOutput};
use super::rebirth_requests::RebirthRequests;
use super::rejection::Rejection;
use super::sample::Sample;
use super::settings::{Contexts, DeviceSelector, Mapping, Sensor, Source};
use super::silence::SilenceMonitor;
use crate::decode::{Births, DecodeError, Decoded};
use crate::sensor_stats::{SILENT_MAX, SensorStats};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{
    AttributeName, BusMessage, DeclaredDevices, DeviceId, Name, ReadingTime, Reason, Value,
};
use tidegate_template::ExpressionError;
use tidegate_timing::machine::Machine;

/// The most attributes with a filter. Templates can create any number of attributes; the values of
/// further ones are sent unfiltered.
const FILTERS_MAX: usize = 1_024;

/// Maps the messages of one bus to states.
#[derive(Debug)]
pub struct Pipeline {
    sensors: Arc<[Sensor]>,
    /// The devices that templates may name.
    devices: BTreeMap<Name, DeviceId>,
    /// The attributes that devices declare in Losant. Values of other devices are not checked.
    declared: Arc<DeclaredDevices>,
    filters: BTreeMap<FilterKey, AttributeFilter>,
    /// By the index of the sensor.
    silence_monitors: Vec<Option<SilenceMonitor>>,
    /// By the index of the sensor.
    stats: Vec<SensorStats>,
    births: Births,
    rebirth_requests: RebirthRequests,
    outputs: VecDeque<PipelineOutput>,
}

/// The key of a filter: one attribute of one device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FilterKey {
    /// The index of the sensor.
    sensor: usize,
    /// The index of the mapping in the sensor.
    mapping: usize,
    device: DeviceId,
    attribute: AttributeName,
}

/// A decoded message of a sensor.
struct DecodedMessage<'a> {
    sensor_index: usize,
    sensor: &'a Sensor,
    decoded: &'a Decoded,
    contexts: Contexts,
    /// The time of the measurement.
    time: ReadingTime,
    /// The time of arrival.
    arrival: ReadingTime,
    now: Instant,
}

/// A message with the instant of its arrival.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    message: &'a BusMessage,
    now: Instant,
}

/// A channel of a message with its mapping and its value.
struct Channel<'a> {
    /// The index of the mapping in the sensor.
    mapping_index: usize,
    mapping: &'a Mapping,
    name: String,
    value: Result<Value, Rejection>,
}

/// The sensors that could not map a message.
#[derive(Default)]
struct Failures {
    /// Whether the topic matches any sensor.
    has_reader: bool,
    /// Whether the payload is empty.
    is_empty: bool,
    /// The sensors that read the payload.
    read_by: Vec<usize>,
    undecoded: Vec<(usize, DecodeError)>,
    /// Messages without a mapped channel.
    unmapped: Vec<(usize, Decoded)>,
}

impl Pipeline {
    /// Creates the pipeline of a bus with these sensors.
    ///
    /// If two sensors map one message to the same attribute of a device, the first value counts.
    pub fn new(sensors: Vec<Sensor>, devices: BTreeMap<Name, DeviceId>) -> Self {
        let monitor = |sensor: &Sensor| sensor.stale.clone().map(SilenceMonitor::new);
        Self {
            silence_monitors: sensors.iter().map(monitor).collect(),
            stats: vec![SensorStats::default(); sensors.len()],
            sensors: sensors.into(),
            devices,
            declared: Arc::default(),
            filters: BTreeMap::new(),
            births: Births::default(),
            rebirth_requests: RebirthRequests::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Returns the sensors.
    pub fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    /// Returns the statistics of each sensor.
    pub fn stats(&self) -> impl Iterator<Item = (&Name, SensorStats)> {
        let sensors = self.sensors.iter().zip(&self.silence_monitors);
        sensors.zip(&self.stats).map(|((sensor, monitor), stats)| {
            let silent = monitor.iter().flat_map(SilenceMonitor::silent).take(SILENT_MAX);
            let silent: Vec<_> = silent.collect();
            let is_stale = monitor.as_ref().map(|_| !silent.is_empty());
            (&sensor.name, SensorStats { is_stale, silent, ..stats.clone() })
        })
    }

    /// Counts a payload of this sensor: a state that was not merged with an earlier one.
    pub fn count_payload(&mut self, sensor: usize) {
        self.with_stats(sensor, |stats| stats.payloads += 1);
    }

    fn with_stats(&mut self, sensor: usize, change: impl FnOnce(&mut SensorStats)) {
        if let Some(stats) = self.stats.get_mut(sensor) {
            change(stats);
        }
    }

    /// Sets the attributes that devices declare in Losant.
    pub fn handle_declared(&mut self, declared: Arc<DeclaredDevices>) {
        self.declared = declared;
        for (sensor, stats) in self.sensors.iter().zip(&mut self.stats) {
            if let DeviceSelector::Fixed(device) = &sensor.device
                && let Some(declared) = self.declared.get(device)
            {
                stats.retain_misfits(|misfit| misfit.holds_for(declared));
            }
        }
    }

    /// Starts to monitor the silence of sensors with a fixed device.
    pub fn handle_start(&mut self, time: ReadingTime, now: Instant) {
        for (sensor, monitor) in self.sensors.iter().zip(&mut self.silence_monitors) {
            if let (DeviceSelector::Fixed(device), Some(monitor)) = (&sensor.device, monitor) {
                monitor.handle_start(*device, now, time);
            }
        }
    }

    /// Records a lost connection. A birth certificate may be lost with it, so all are removed.
    pub fn handle_disconnected(&mut self) {
        self.births.clear();
        self.rebirth_requests = RebirthRequests::default();
    }

    /// Maps a message that arrived at `now`. Always produces one action.
    pub fn handle_message(&mut self, message: &BusMessage, now: Instant) {
        let sensors = Arc::clone(&self.sensors);
        let mut output = OutputBuilder::default();
        let mut failures = Failures::default();
        let readers = sensors.iter().enumerate().filter(|(_, one)| one.reads(&message.topic));
        for (index, sensor) in readers {
            failures.has_reader = true;
            if sensor.ignores(&message.payload) {
                continue;
            }
            if message.payload.trim_ascii().is_empty() {
                failures.is_empty = true;
                continue;
            }
            failures.read_by.push(index);
            self.with_stats(index, SensorStats::begin_message);
            match sensor.format.decode(&message.topic, &message.payload, &mut self.births) {
                Ok(messages) => {
                    for (number, decoded) in messages.into_iter().enumerate() {
                        output.set_message(number);
                        output.set_sensor(index, sensor.priority);
                        let arrival = Arrival { message, now };
                        if !self.map_message(arrival, index, &decoded, &mut output) {
                            self.with_stats(index, SensorStats::note_unmapped);
                            failures.unmapped.push((index, decoded));
                        }
                    }
                }
                Err(error) => {
                    let is_no_birth = matches!(error, DecodeError::NoBirth { .. });
                    if is_no_birth && sensor.format.requests_births() {
                        let (topic, time) = (&message.topic, message.time.wall());
                        output.set_request(self.rebirth_requests.request(topic, time, now));
                    }
                    failures.undecoded.push((index, error));
                }
            }
        }
        let read_by = std::mem::take(&mut failures.read_by);
        if output.is_empty() {
            self.reject_message(message, failures, now, &mut output);
        }
        for index in read_by {
            self.with_stats(index, |stats| stats.end_message(now));
        }
        self.outputs.push_back(output.build());
    }

    /// Counts a message without any value once, with the problems of all its sensors.
    fn reject_message(
        &mut self,
        message: &BusMessage,
        failures: Failures,
        now: Instant,
        output: &mut OutputBuilder,
    ) {
        let sensors = Arc::clone(&self.sensors);
        let Failures { has_reader, is_empty, undecoded, unmapped, .. } = failures;
        if !unmapped.is_empty() {
            let mut details = Vec::new();
            for (index, decoded) in unmapped {
                let Some(sensor) = sensors.get(index) else { continue };
                let detail = sensor.describe_unmapped(&decoded);
                self.record_rejection(index, &Rejection::new(Reason::NoChannel, &*detail), now);
                details.push(detail);
            }
            output.reject(Reason::NoChannel, details);
        } else if let Some((_, error)) = undecoded.first() {
            let reason = error.reason();
            for (index, error) in &undecoded {
                let rejection = Rejection::new(error.reason(), error.to_string());
                self.record_rejection(*index, &rejection, now);
            }
            let details = undecoded.iter().filter_map(|(index, error)| {
                Some(format!("sensor {}: {error}", sensors.get(*index)?.name))
            });
            output.reject(reason, details);
        } else if is_empty {
            output.reject(Reason::NoValue, []);
        } else if has_reader {
            output.reject(Reason::Ignored, []);
        } else {
            let topic = excerpt(message.topic.as_bytes());
            let detail = format!("bus {}: no sensor reads topic \"{topic}\"", message.bus);
            output.reject(Reason::NoSensor, [detail]);
        }
    }

    /// Maps the channels of a message. Returns `false` if the message has none of them.
    fn map_message(
        &mut self,
        Arrival { message, now }: Arrival<'_>,
        sensor_index: usize,
        decoded: &Decoded,
        output: &mut OutputBuilder,
    ) -> bool {
        let sensors = Arc::clone(&self.sensors);
        let Some(sensor) = sensors.get(sensor_index) else { return false };
        let time = match sensor.measured_at(decoded, message.time) {
            Ok(time) => time,
            Err(rejection) => {
                self.record_rejection(sensor_index, &rejection, now);
                let Rejection { reason, detail } = rejection;
                output.reject(reason, [format!("sensor {}: {detail}", sensor.name)]);
                return true;
            }
        };
        let contexts = sensor.contexts(&message.topic, decoded);
        let arrival = message.time;
        let decoded_message =
            DecodedMessage { sensor_index, sensor, decoded, contexts, time, arrival, now };
        let mut has_channel = false;
        for (index, mapping) in sensor.map.iter().enumerate() {
            for channel in decoded_message.channels(index, mapping) {
                has_channel = true;
                let name = excerpt(channel.name.as_bytes());
                let mapped = self.map_channel(&decoded_message, channel, output);
                if let Err(rejection) = mapped {
                    self.record_rejection(sensor_index, &rejection, now);
                    let Rejection { reason, detail } = rejection;
                    let detail = format!("sensor {}, channel {name}: {detail}", sensor.name);
                    output.reject(reason, [detail]);
                }
            }
        }
        if has_channel {
            self.with_stats(sensor_index, |stats| stats.record_message(now));
        }
        has_channel
    }

    fn record_rejection(&mut self, sensor_index: usize, rejection: &Rejection, now: Instant) {
        self.with_stats(sensor_index, |stats| {
            stats.record_rejection(rejection.reason, &rejection.detail, now);
        });
    }

    /// Maps one channel: adds its value to the output, or counts it as filtered.
    fn map_channel(
        &mut self,
        message: &DecodedMessage<'_>,
        channel: Channel<'_>,
        output: &mut OutputBuilder,
    ) -> Result<(), Rejection> {
        let DecodedMessage { sensor_index, sensor, time, arrival, now, .. } = *message;
        let Channel { mapping_index, mapping, name, value } = channel;
        let original = match mapping.source {
            Source::Channel(_) => message.decoded.original_texts().get(&name),
            Source::Expression(_) => None,
        };
        let value = mapping.conversion.apply(value, original.map(String::as_str))?;
        let value = if mapping.filter.needs_number() { numeric(value) } else { value };
        let context = if mapping.attribute.is_fixed() && sensor.device.is_fixed() {
            minijinja::Value::UNDEFINED
        } else {
            let channel = minijinja::context! { channel => name };
            merge_maps([message.contexts.templates.clone(), channel])
        };
        let device = sensor.device.resolve(&context, &sensor.aliases, &self.devices)?;
        let attribute = mapping.attribute.resolve(&context)?;
        let value = match declared_types::fit(&self.declared, device, &attribute, value) {
            Ok(value) => value,
            Err(misfit) => {
                self.with_stats(sensor_index, |stats| stats.record_misfit(&misfit));
                return Err(misfit.into());
            }
        };
        self.with_stats(sensor_index, |stats| stats.record_value(&attribute, &value));
        if let Some(Some(monitor)) = self.silence_monitors.get_mut(sensor_index) {
            monitor.handle_message(device, now, arrival);
            while let Some(action) = monitor.poll_action() {
                output.add_generated(action.device, action.state);
            }
        }
        let key = FilterKey { sensor: sensor_index, mapping: mapping_index, device, attribute };
        let is_full = self.filters.len() >= FILTERS_MAX && !self.filters.contains_key(&key);
        if mapping.filter.passes_all() || is_full {
            let value = mapping.filter.round(value);
            let original = original.filter(|_| mapping.conversion == Conversion::default());
            let value =
                declared_types::fit_text(&self.declared, device, &key.attribute, value, original);
            return output.add_value(device, key.attribute, Sample { time, value });
        }
        debug_assert!(self.filters.len() <= FILTERS_MAX, "too many filters");
        let attribute = key.attribute.clone();
        let new = || AttributeFilter::new(mapping.filter.clone());
        let filter = self.filters.entry(key).or_insert_with(new);
        // Values that are due before this one come first.
        filter.handle_timeout(now);
        while let Some(sample) = filter.poll_action() {
            output.add_generated_value(device, attribute.clone(), sample);
        }
        match filter.handle_sample(Sample { time, value }, now)? {
            FilterResult::Send(value) => {
                let value =
                    declared_types::fit_text(&self.declared, device, &attribute, value, None);
                output.add_value(device, attribute, Sample { time, value })
            }
            FilterResult::Filtered(reason) => {
                output.count_filtered(reason);
                Ok(())
            }
        }
    }

    /// Closes all windows, and releases all delayed values.
    pub fn handle_stop(&mut self) {
        let mut output = OutputBuilder::default();
        self.update_filters(&mut output, AttributeFilter::handle_stop);
        self.push_output(output);
    }

    /// Updates all filters, and adds the values that they generate.
    fn update_filters(
        &mut self,
        output: &mut OutputBuilder,
        update: impl Fn(&mut AttributeFilter),
    ) {
        for (key, filter) in &mut self.filters {
            let Some(sensor) = self.sensors.get(key.sensor) else { continue };
            output.set_sensor(key.sensor, sensor.priority);
            update(filter);
            while let Some(sample) = filter.poll_action() {
                output.add_generated_value(key.device, key.attribute.clone(), sample);
            }
        }
    }

    fn push_output(&mut self, output: OutputBuilder) {
        if !output.is_empty() {
            self.outputs.push_back(output.build());
        }
    }
}

/// A time-out closes windows, releases values, and reports silent sensors.
impl Machine for Pipeline {
    type Action = PipelineOutput;

    fn handle_timeout(&mut self, now: Instant) {
        let mut output = OutputBuilder::default();
        self.update_filters(&mut output, |filter| filter.handle_timeout(now));
        let sensors = self.sensors.iter().zip(&mut self.silence_monitors).enumerate();
        for (index, (sensor, monitor)) in sensors {
            let Some(monitor) = monitor else { continue };
            output.set_sensor(index, sensor.priority);
            monitor.handle_timeout(now);
            while let Some(action) = monitor.poll_action() {
                output.add_generated(action.device, action.state);
            }
        }
        self.push_output(output);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let filters = self.filters.values().filter_map(AttributeFilter::poll_timeout);
        let monitors = self.silence_monitors.iter().flatten();
        filters.chain(monitors.filter_map(SilenceMonitor::poll_timeout)).min()
    }

    fn poll_action(&mut self) -> Option<PipelineOutput> {
        self.outputs.pop_front()
    }
}

impl<'a> DecodedMessage<'a> {
    /// Returns the channels of a mapping in this message.
    fn channels(&self, mapping_index: usize, mapping: &'a Mapping) -> Vec<Channel<'a>> {
        let channel = |name: &str| {
            let value = self.decoded.channel(name)?.map_err(|error| {
                if self.decoded.is_null(name) {
                    Rejection::new(Reason::NoValue, "the channel holds null")
                } else {
                    Rejection::from(error)
                }
            });
            Some(Channel { mapping_index, mapping, name: name.to_owned(), value })
        };
        match &mapping.source {
            source @ Source::Channel(_) if source.is_every_channel() => {
                let names = self.decoded.names().into_iter();
                names.filter(|name| !self.sensor.maps(name)).filter_map(channel).collect()
            }
            Source::Channel(name) => channel(name).into_iter().collect(),
            Source::Expression(expression) => {
                let reject = |error: ExpressionError| {
                    Rejection::new(Reason::BadExpression, error.to_string())
                };
                let value = expression.evaluate(&self.contexts.expressions).transpose();
                let value = value.map(|value| value.map_err(reject));
                let name = expression.to_string();
                let channel = |value| Channel { mapping_index, mapping, name, value };
                value.map(channel).into_iter().collect()
            }
        }
    }
}
