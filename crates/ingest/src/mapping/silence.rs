//! Reports silent sensors with an attribute: true while messages arrive, and false otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::sensor_stats::SilentDevice;
use tidegate_model::{AttributeName, DeviceId, ReadingTime, State, Value};
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
}

impl SilenceMonitor {
    pub(super) fn new(settings: StaleSettings) -> Self {
        Self { settings, devices: BTreeMap::new(), actions: VecDeque::new() }
    }

    /// Starts to monitor a device that has not sent a message yet.
    pub(super) fn handle_start(&mut self, device: DeviceId, now: Instant, time: ReadingTime) {
        self.devices.entry(device).or_insert(LastMessage { at: now, time, is_online: None });
    }

    /// Records a message that arrived from a device at `time`.
    pub(super) fn handle_message(&mut self, device: DeviceId, now: Instant, time: ReadingTime) {
        let last = LastMessage { at: now, time, is_online: Some(true) };
        let before = self.devices.insert(device, last);
        if before.is_none_or(|before| before.is_online != Some(true)) {
            // Values that were measured before the silence may arrive now, so the state has the
            // time of arrival.
            let state = self.settings.state(time, true);
            self.actions.push_back(DeviceState { device, state });
        }
    }

    /// Returns the devices that are silent for too long.
    pub(super) fn silent(&self) -> impl Iterator<Item = SilentDevice> {
        let silent = self.devices.iter().filter(|(_, last)| last.is_online == Some(false));
        silent.map(|(device, last)| SilentDevice { device: *device, since: last.at })
    }
}

/// Reports each silent device once, with the time at which the silence became too long.
impl Machine for SilenceMonitor {
    type Action = DeviceState;

    fn handle_timeout(&mut self, now: Instant) {
        for (device, last) in &mut self.devices {
            if last.is_online != Some(false) && last.at + self.settings.after <= now {
                last.is_online = Some(false);
                let state = self.settings.state(last.time.plus(self.settings.after), false);
                self.actions.push_back(DeviceState { device: *device, state });
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let online = self.devices.values().filter(|last| last.is_online != Some(false));
        online.map(|last| last.at + self.settings.after).min()
    }

    fn poll_action(&mut self) -> Option<DeviceState> {
        self.actions.pop_front()
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
