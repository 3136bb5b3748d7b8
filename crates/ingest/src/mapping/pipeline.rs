//! The pipeline of one bus: decodes messages, maps channels to attributes, and filters values.

mod map_message;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::filter_table::{CounterRow, FilterTable};
use super::output::{OutputBuilder, PipelineOutput};
use super::rebirth_requests::RebirthRequests;
use super::rejection::Rejection;
use super::sensor_plan::SensorPlan;
use super::settings::{DeviceSelector, Sensor};
use super::silence::SilenceTable;
use super::stats_table::StatsTable;
use super::topic_index::TopicIndex;
use crate::decode::{Births, DecodeError, Decoded};
use crate::sensor_stats::{SILENT_MAX, SensorStats};
use map_message::Reader;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{BusMessage, DeclaredDevices, DeviceId, Misfit, Name, ReadingTime, Reason};
use tidegate_timing::machine::Machine;

/// Maps the messages of one bus to states.
#[derive(Debug)]
pub struct Pipeline {
    sensors: Arc<[Sensor]>,
    /// By the index of the sensor.
    plans: Arc<[SensorPlan]>,
    /// The devices that templates may name.
    devices: BTreeMap<Name, DeviceId>,
    /// The attributes that devices declare in Losant. Values of other devices are not checked.
    declared: Arc<DeclaredDevices>,
    /// The sensors by the topics that they read.
    topics: TopicIndex,
    filters: FilterTable,
    silence: SilenceTable,
    stats: StatsTable,
    births: Births,
    rebirth_requests: RebirthRequests,
    outputs: VecDeque<PipelineOutput>,
}

/// A message with the instant of its arrival.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    message: &'a BusMessage,
    now: Instant,
}

/// The sensors that could not map a message.
#[derive(Default)]
struct Failures {
    /// Whether the topic matches any sensor.
    has_reader: bool,
    /// Whether the payload is empty.
    is_empty: bool,
    undecoded: Vec<(usize, DecodeError)>,
    /// Messages without a mapped channel.
    unmapped: Vec<(usize, Decoded)>,
    /// The first sensor that lost a part of the payload. Its losses count, not those of others.
    loser: Option<usize>,
}

impl Pipeline {
    /// Creates the pipeline of a bus with these sensors.
    ///
    /// If two sensors map one message to the same attribute of a device, the first value counts.
    pub fn new(sensors: Vec<Sensor>, devices: BTreeMap<Name, DeviceId>) -> Self {
        Self {
            plans: sensors.iter().map(|sensor| SensorPlan::new(sensor, &devices)).collect(),
            topics: TopicIndex::new(&sensors),
            silence: SilenceTable::new(&sensors),
            stats: StatsTable::new(sensors.len()),
            filters: FilterTable::new(sensors.len()),
            sensors: sensors.into(),
            devices,
            declared: Arc::default(),
            births: Births::default(),
            rebirth_requests: RebirthRequests::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Returns the sensors.
    pub fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    /// Returns the statistics of the sensors that have changed since the last call; those of all
    /// sensors at the first call.
    pub fn take_changed_stats(&mut self) -> Vec<(Name, SensorStats)> {
        let changed = self.stats.take_changed().into_iter();
        changed.filter_map(|sensor| self.stats_of(sensor)).collect()
    }

    fn stats_of(&self, index: usize) -> Option<(Name, SensorStats)> {
        let (sensor, stats) = (self.sensors.get(index)?, self.stats.get(index)?);
        let silent: Option<Vec<_>> =
            self.silence.monitor(index).map(|monitor| monitor.silent().take(SILENT_MAX).collect());
        let is_stale = silent.as_ref().map(|silent| !silent.is_empty());
        let silent = silent.unwrap_or_default();
        Some((sensor.name.clone(), SensorStats { is_stale, silent, ..stats.clone() }))
    }

    /// Counts a payload of this sensor: a state that was not merged with an earlier one.
    pub fn count_payload(&mut self, sensor: usize) {
        self.stats.change(sensor, |stats| stats.payloads += 1);
    }

    /// Sets the attributes that devices declare in Losant.
    pub fn handle_declared(&mut self, declared: Arc<DeclaredDevices>) {
        self.declared = declared;
        for (index, sensor) in self.sensors.iter().enumerate() {
            if let DeviceSelector::Fixed(device) = &sensor.device
                && let Some(declared) = self.declared.get(device)
                && self.stats.get(index).is_some_and(|stats| !stats.misfits.is_empty())
            {
                let holds = |misfit: &Misfit| misfit.holds_for(declared);
                self.stats.change(index, |stats| stats.retain_misfits(holds));
            }
        }
    }

    /// Starts to monitor the silence of sensors with a fixed device.
    pub fn handle_start(&mut self, time: ReadingTime, now: Instant) {
        for (index, sensor) in self.sensors.iter().enumerate() {
            if let DeviceSelector::Fixed(device) = &sensor.device {
                self.silence.handle_start(index, *device, now, time);
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
        let (sensors, plans) = (Arc::clone(&self.sensors), Arc::clone(&self.plans));
        let mut output = OutputBuilder::default();
        let mut failures = Failures::default();
        let readers = self.topics.readers(&message.topic);
        failures.has_reader = !readers.is_empty();
        for index in readers.iter().copied() {
            let Some((sensor, plan)) = sensors.get(index).zip(plans.get(index)) else { continue };
            let reader = Reader { index, sensor, plan };
            if sensor.ignores(&message.payload) {
                continue;
            }
            if message.payload.trim_ascii().is_empty() {
                failures.is_empty = true;
                continue;
            }
            self.stats.change(index, SensorStats::begin_message);
            match sensor.format.decode(&message.topic, &message.payload, &mut self.births) {
                Ok(messages) => {
                    for (number, decoded) in messages.into_iter().enumerate() {
                        output.set_message(number);
                        output.set_sensor(index, sensor.priority);
                        if !decoded.losses().is_empty() {
                            let is_counted = *failures.loser.get_or_insert(index) == index;
                            let output = is_counted.then_some(&mut output);
                            self.reject_losses(reader, &decoded, now, output);
                        }
                        let arrival = Arrival { message, now };
                        if !self.map_message(arrival, reader, &decoded, &mut output) {
                            self.stats.change(index, SensorStats::note_unmapped);
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
        if output.is_empty() {
            self.reject_message(message, failures, now, &mut output);
        }
        for index in readers {
            // Has no effect on a sensor that ignored the message.
            self.stats.change(index, |stats| stats.end_message(now));
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

    /// Counts the parts of a payload that were rejected, while others were decoded.
    fn reject_losses(
        &mut self,
        Reader { index, sensor, .. }: Reader<'_>,
        decoded: &Decoded,
        now: Instant,
        mut output: Option<&mut OutputBuilder>,
    ) {
        for error in decoded.losses() {
            let rejection = Rejection::new(error.reason(), error.to_string());
            self.record_rejection(index, &rejection, now);
            if let Some(output) = &mut output {
                output.reject(rejection.reason, [format!("sensor {}: {error}", sensor.name)]);
            }
        }
    }

    fn record_rejection(&mut self, sensor_index: usize, rejection: &Rejection, now: Instant) {
        self.stats.change(sensor_index, |stats| {
            stats.record_rejection(rejection.reason, &rejection.detail, now);
        });
    }

    /// Continues a counter of an earlier run, or of the pipeline before a reload. Returns `false`
    /// if no mapping has it.
    pub fn restore_counter(&mut self, row: &CounterRow, now: Instant) -> bool {
        self.filters.restore(&self.sensors, &self.devices, row, now)
    }

    /// Returns the counters that have changed since the last call. Store them together with the
    /// states that were put out until now.
    pub fn take_counter_changes(&mut self) -> Vec<CounterRow> {
        self.filters.take_changes()
    }

    /// Returns all counters, for the pipeline that replaces this one.
    pub fn counters(&self) -> Vec<CounterRow> {
        self.filters.counters()
    }

    /// Closes all windows, and releases all delayed values. The sums of counters stay open.
    pub fn handle_stop(&mut self) {
        let mut output = OutputBuilder::default();
        self.filters.handle_stop(&mut output);
        self.push_output(output);
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
        self.filters.handle_timeout(now, &mut output);
        for sensor in self.silence.handle_timeout(now, &mut output) {
            self.stats.mark(sensor);
        }
        self.push_output(output);
    }

    /// A filter or a device that has become due later is asked at its old instant, too.
    fn poll_timeout(&self) -> Option<Instant> {
        self.filters.poll_timeout().into_iter().chain(self.silence.poll_timeout()).min()
    }

    fn poll_action(&mut self) -> Option<PipelineOutput> {
        self.outputs.pop_front()
    }
}
