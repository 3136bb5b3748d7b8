//! Reports silent sensors with an attribute: true while messages arrive, and false otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::output::OutputBuilder;
use super::settings::Sensor;
use super::timers::{Registration, Timers};
use crate::sensor_stats::SilentDevice;
use tidegate_model::{AttributeName, DeviceId, Priority, ReadingTime, State, Value};
use tidegate_timing::machine::Machine;

/// The settings for the silence of one sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct StaleSettings {
    /// The longest time between two messages of a device.
    pub after: Duration,
    /// The attribute that shows whether messages arrive.
    pub attribute: AttributeName,
}

/// Monitors the devices of one sensor. The configuration limits their number.
#[derive(Debug)]
pub(super) struct SilenceMonitor {
    settings: StaleSettings,
    devices: BTreeMap<DeviceId, LastMessage>,
    /// The devices that are silent for too long.
    silent: BTreeSet<DeviceId>,
    timers: Timers<DeviceId>,
    actions: VecDeque<DeviceState>,
}

/// A state to send for a device.
#[derive(Debug, PartialEq)]
pub(super) struct DeviceState {
    pub(super) device: DeviceId,
    pub(super) state: State,
}

#[derive(Debug)]
struct LastMessage {
    at: Instant,
    time: ReadingTime,
    /// The last reported value of the attribute.
    is_online: Option<bool>,
    timer: Registration,
}

impl SilenceMonitor {
    pub(super) fn new(settings: StaleSettings) -> Self {
        Self {
            settings,
            devices: BTreeMap::new(),
            silent: BTreeSet::new(),
            timers: Timers::default(),
            actions: VecDeque::new(),
        }
    }

    /// Starts to monitor a device that has not sent a message yet.
    pub(super) fn handle_start(&mut self, device: DeviceId, now: Instant, time: ReadingTime) {
        let last = self.devices.entry(device).or_insert_with(|| LastMessage::new(now, time));
        let due = last.due(&self.settings);
        self.timers.register(device, &mut last.timer, due);
    }

    /// Records a message that arrived from a device at `time`.
    pub(super) fn handle_message(&mut self, device: DeviceId, now: Instant, time: ReadingTime) {
        let last = self.devices.entry(device).or_insert_with(|| LastMessage::new(now, time));
        (last.at, last.time) = (now, time);
        if last.is_online.replace(true) != Some(true) {
            self.silent.remove(&device);
            // Values that were measured before the silence may arrive now, so the state has the
            // time of arrival.
            let state = self.settings.state(time, true);
            self.actions.push_back(DeviceState { device, state });
        }
        let due = last.due(&self.settings);
        self.timers.register(device, &mut last.timer, due);
    }

    /// Returns the devices that are silent for too long.
    pub(super) fn silent(&self) -> impl Iterator<Item = SilentDevice> {
        let last = |device: &DeviceId| Some((*device, self.devices.get(device)?));
        let silent = self.silent.iter().filter_map(last);
        silent.map(|(device, last)| SilentDevice { device, since: last.at })
    }
}

impl LastMessage {
    fn new(at: Instant, time: ReadingTime) -> Self {
        Self { at, time, is_online: None, timer: Registration::default() }
    }

    /// Returns the instant at which the silence becomes too long, unless it is already.
    fn due(&self, settings: &StaleSettings) -> Option<Instant> {
        (self.is_online != Some(false)).then(|| self.at + settings.after)
    }
}

/// Reports each silent device once, with the time at which the silence became too long.
impl Machine for SilenceMonitor {
    type Action = DeviceState;

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(device) = self.timers.take_due(now) {
            let Some(last) = self.devices.get_mut(&device) else { continue };
            last.timer.clear();
            if last.due(&self.settings).is_some_and(|due| due <= now) {
                last.is_online = Some(false);
                self.silent.insert(device);
                let state = self.settings.state(last.time.plus(self.settings.after), false);
                self.actions.push_back(DeviceState { device, state });
            }
            let due = last.due(&self.settings);
            self.timers.register(device, &mut last.timer, due);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn poll_action(&mut self) -> Option<DeviceState> {
        self.actions.pop_front()
    }
}

/// The monitors of all sensors of a bus.
#[derive(Debug)]
pub(super) struct SilenceTable {
    /// By the index of the sensor.
    monitors: Vec<Option<Monitored>>,
    timers: Timers<usize>,
}

#[derive(Debug)]
struct Monitored {
    priority: Priority,
    monitor: SilenceMonitor,
    timer: Registration,
}

impl SilenceTable {
    /// Creates the monitors of the sensors that have one.
    pub(super) fn new(sensors: &[Sensor]) -> Self {
        let monitored = |sensor: &Sensor| {
            let monitor = SilenceMonitor::new(sensor.stale.clone()?);
            Some(Monitored { priority: sensor.priority, monitor, timer: Registration::default() })
        };
        Self { monitors: sensors.iter().map(monitored).collect(), timers: Timers::default() }
    }

    /// Returns the monitor of a sensor.
    pub(super) fn monitor(&self, sensor: usize) -> Option<&SilenceMonitor> {
        self.monitors.get(sensor)?.as_ref().map(|monitored| &monitored.monitor)
    }

    /// Starts to monitor a device of a sensor that has not sent a message yet.
    pub(super) fn handle_start(
        &mut self,
        sensor: usize,
        device: DeviceId,
        now: Instant,
        time: ReadingTime,
    ) {
        if let Some(Some(monitored)) = self.monitors.get_mut(sensor) {
            monitored.monitor.handle_start(device, now, time);
            let due = monitored.monitor.poll_timeout();
            self.timers.register(sensor, &mut monitored.timer, due);
        }
    }

    /// Records a message of a sensor that arrived from a device at `time`. Puts out whether the
    /// device has returned.
    pub(super) fn handle_message(
        &mut self,
        sensor: usize,
        device: DeviceId,
        now: Instant,
        time: ReadingTime,
        output: &mut OutputBuilder,
    ) {
        if let Some(Some(monitored)) = self.monitors.get_mut(sensor) {
            monitored.monitor.handle_message(device, now, time);
            monitored.put_generated(sensor, output);
            let due = monitored.monitor.poll_timeout();
            self.timers.register(sensor, &mut monitored.timer, due);
        }
    }

    /// Puts out the devices whose silence has become too long. Returns the sensors that were due.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        output: &mut OutputBuilder,
    ) -> Vec<usize> {
        let due: Vec<_> = std::iter::from_fn(|| self.timers.take_due(now)).collect();
        for sensor in &due {
            let Some(Some(monitored)) = self.monitors.get_mut(*sensor) else { continue };
            monitored.timer.clear();
            monitored.monitor.handle_timeout(now);
            monitored.put_generated(*sensor, output);
            let due = monitored.monitor.poll_timeout();
            self.timers.register(*sensor, &mut monitored.timer, due);
        }
        due
    }

    /// Returns the first instant at which a device may have been silent for too long.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Monitored {
    fn put_generated(&mut self, sensor: usize, output: &mut OutputBuilder) {
        while let Some(DeviceState { device, state }) = self.monitor.poll_action() {
            output.set_sensor(sensor, self.priority);
            output.add_generated(device, state);
        }
    }
}

impl StaleSettings {
    fn state(&self, time: ReadingTime, is_online: bool) -> State {
        State { time, data: [(self.attribute.clone(), Value::Boolean(is_online))].into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::WallTime;

    #[test]
    fn reports_silence_and_return_once_each() {
        let second = Duration::from_secs(1);
        let settings = StaleSettings { after: 5 * second, attribute: "online".parse().unwrap() };
        let mut monitor = SilenceMonitor::new(settings.clone());
        let device = DeviceId::from([1; 12]);
        let start = tokio::time::Instant::now().into_std();
        let time = |millis| ReadingTime::from(WallTime::from_millis(millis));
        let report = |millis, is_online| {
            Some(DeviceState { device, state: settings.state(time(millis), is_online) })
        };
        let after = |monitor: &mut SilenceMonitor, seconds| {
            monitor.handle_timeout(start + seconds * second);
            monitor.poll_action()
        };
        monitor.handle_start(device, start, time(0));
        assert_eq!(monitor.poll_timeout(), Some(start + 5 * second));
        assert_eq!(after(&mut monitor, 6), report(5_000, false));
        assert_eq!(after(&mut monitor, 7), None);
        assert_eq!(monitor.poll_timeout(), None);
        monitor.handle_message(device, start + 8 * second, time(8_000));
        assert_eq!(monitor.poll_action(), report(8_000, true));
        monitor.handle_message(device, start + 9 * second, time(9_000));
        assert_eq!(monitor.poll_action(), None);
        assert_eq!(after(&mut monitor, 13), None);
        assert_eq!(after(&mut monitor, 14), report(14_000, false));
        assert_eq!(monitor.poll_action(), None);
    }
}
