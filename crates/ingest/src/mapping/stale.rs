//! Who has fallen silent: an attribute that is true while a sensor is heard and false when it is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_model::{AttributeName, DeviceId, ReadingTime, State, Value};

/// The alarm of one sensor.
#[derive(Debug, Clone)]
pub struct StaleSettings {
    /// How long it may be silent.
    pub after: Duration,
    /// What tells it.
    pub attribute: AttributeName,
}

/// The devices of one sensor. As large as the configuration has devices.
#[derive(Debug, Default)]
pub(super) struct Silence {
    devices: BTreeMap<DeviceId, Heard>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    time: ReadingTime,
    is_online: Option<bool>,
}

impl Silence {
    /// Begins to wait for a device that was not heard yet.
    pub(super) fn expect(&mut self, device: DeviceId, at: Instant, time: ReadingTime) {
        self.devices.entry(device).or_insert(Heard { at, time, is_online: None });
    }

    /// Notes a message of a device; true if that is news.
    pub(super) fn hear(&mut self, device: DeviceId, at: Instant, time: ReadingTime) -> bool {
        let heard = Heard { at, time, is_online: Some(true) };
        self.devices.insert(device, heard).is_none_or(|before| before.is_online != Some(true))
    }

    /// Whether any of the devices has been silent for too long.
    pub(super) fn is_stale(&self) -> bool {
        self.devices.values().any(|heard| heard.is_online == Some(false))
    }

    pub(super) fn poll_timeout(&self, settings: &StaleSettings) -> Option<Instant> {
        let online = self.devices.values().filter(|heard| heard.is_online != Some(false));
        online.map(|heard| heard.at + settings.after).min()
    }

    /// The devices that have been silent for too long at `now`, each told once, at the time when it became too long.
    pub(super) fn handle_timeout(
        &mut self,
        settings: &StaleSettings,
        now: Instant,
    ) -> Vec<(DeviceId, State)> {
        let mut states = Vec::new();
        for (device, heard) in &mut self.devices {
            if heard.is_online != Some(false) && heard.at + settings.after <= now {
                heard.is_online = Some(false);
                states.push((*device, settings.state(heard.time.plus(settings.after), false)));
            }
        }
        states
    }
}

impl StaleSettings {
    pub(super) fn state(&self, time: ReadingTime, is_online: bool) -> State {
        State { time, data: [(self.attribute.clone(), Value::Boolean(is_online))].into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::WallTime;

    #[test]
    fn silence_and_return_are_told_once_each() {
        let second = Duration::from_secs(1);
        let settings = StaleSettings { after: 5 * second, attribute: "online".parse().unwrap() };
        let (mut silence, device) = (Silence::default(), DeviceId::from([1; 12]));
        let start = tokio::time::Instant::now().into_std();
        let time = |millis| ReadingTime::from(WallTime::from_millis(millis));
        silence.expect(device, start, time(0));
        assert_eq!(silence.poll_timeout(&settings), Some(start + 5 * second));
        let told = silence.handle_timeout(&settings, start + 6 * second);
        assert_eq!(told, [(device, settings.state(time(5_000), false))]);
        assert_eq!(silence.handle_timeout(&settings, start + 7 * second), []);
        assert_eq!(silence.poll_timeout(&settings), None);
        assert!(silence.hear(device, start + 8 * second, time(8_000)));
        assert!(!silence.hear(device, start + 9 * second, time(9_000)));
        assert_eq!(silence.handle_timeout(&settings, start + 13 * second), []);
        let told = silence.handle_timeout(&settings, start + 14 * second);
        assert_eq!(told, [(device, settings.state(time(14_000), false))]);
    }
}
