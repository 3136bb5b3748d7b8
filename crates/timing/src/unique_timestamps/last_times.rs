//! The last time of each attribute, within a limit of memory.
//!
//! Templates can name any number of attributes. Above the limit, the attributes without a recent
//! value are forgotten first. For the forgotten attributes of a device one span of time remains,
//! and each attribute that is not remembered counts as if it had a value at each millisecond of the
//! span. So a forgotten attribute never gets the time of its last value again.

use std::collections::{BTreeMap, VecDeque};

use super::AHEAD_MAX;
use tidegate_model::{AttributeName, BootId, DeviceId, ReadingTime, State};

/// The most memory for the names of attributes and their times: about 32,000 attributes, such as
/// those of 5,000 sensors with six each.
pub(super) const BYTES_MAX: usize = 8 << 20;

/// The approximate memory of an attribute, without the bytes of its name: its entries in a map and
/// in the queue.
const ENTRY_BYTES: usize = 240;

/// The attributes of all devices.
#[derive(Debug, Default)]
pub(super) struct LastTimes {
    devices: BTreeMap<DeviceId, BTreeMap<AttributeName, Last>>,
    /// Each attribute once. Those at the front are forgotten first.
    queue: VecDeque<(DeviceId, AttributeName)>,
    forgotten: BTreeMap<(DeviceId, Clock), Span>,
    bytes: usize,
}

/// The last time of an attribute.
#[derive(Debug)]
struct Last {
    time: ReadingTime,
    /// Whether the attribute had a value since it was put at the end of the queue.
    is_used: bool,
}

/// The clock of a time: a boot, or the wall clock.
type Clock = Option<BootId>;

/// The first and the last time of forgotten attributes.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: ReadingTime,
    last: ReadingTime,
}

impl LastTimes {
    /// Returns the times at which an attribute of a state has, or may have, a value and which
    /// prevent that the state has the time `at`.
    ///
    /// A time before `at` does not matter, nor does one far ahead: the clock was set back.
    pub(super) fn taken(
        &self,
        device: DeviceId,
        state: &State,
        at: ReadingTime,
    ) -> impl Iterator<Item = ReadingTime> {
        let names = self.devices.get(&device);
        let span = self.forgotten.get(&(device, clock(at)));
        let span = span.filter(|span| (span.first..=span.last).contains(&at));
        state.data.keys().filter_map(move |name| match names.and_then(|names| names.get(name)) {
            Some(last) => {
                let is_close = |ahead| ahead < AHEAD_MAX;
                last.time.since(at).is_some_and(is_close).then_some(last.time)
            }
            None => span.map(|span| span.last),
        })
    }

    /// Records the attributes of a state, and forgets others if there are too many.
    pub(super) fn record(&mut self, device: DeviceId, state: &State) {
        let names = self.devices.entry(device).or_default();
        for name in state.data.keys() {
            if let Some(last) = names.get_mut(name) {
                (last.time, last.is_used) = (state.time, true);
            } else {
                self.bytes += bytes(name);
                names.insert(name.clone(), Last { time: state.time, is_used: false });
                self.queue.push_back((device, name.clone()));
            }
        }
        while self.bytes > BYTES_MAX {
            self.forget_one();
        }
        debug_assert!(self.bytes > 0 || self.queue.is_empty(), "each name has its bytes");
    }

    /// Forgets the first attribute of the queue, or moves it to the end if it was used.
    fn forget_one(&mut self) {
        let Some((device, name)) = self.queue.pop_front() else {
            self.bytes = 0;
            return;
        };
        let Some(names) = self.devices.get_mut(&device) else { return };
        if let Some(last) = names.get_mut(&name)
            && std::mem::take(&mut last.is_used)
        {
            self.queue.push_back((device, name));
            return;
        }
        if let Some(Last { time, .. }) = names.remove(&name) {
            self.bytes -= bytes(&name);
            Span { first: time, last: time }.add_to(&mut self.forgotten, device);
        }
        if names.is_empty() {
            self.devices.remove(&device);
        }
    }

    /// Converts all times to another clock.
    pub(super) fn convert(&mut self, convert: impl Fn(ReadingTime) -> ReadingTime) {
        for last in self.devices.values_mut().flat_map(BTreeMap::values_mut) {
            last.time = convert(last.time);
        }
        for ((device, _), Span { first, last }) in std::mem::take(&mut self.forgotten) {
            let span = Span { first: convert(first), last: convert(last) };
            span.add_to(&mut self.forgotten, device);
        }
    }

    /// Returns the approximate memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Span {
    /// Extends the span of a device by this one.
    fn add_to(self, spans: &mut BTreeMap<(DeviceId, Clock), Self>, device: DeviceId) {
        let span = spans.entry((device, clock(self.first))).or_insert(self);
        span.first = span.first.min(self.first);
        span.last = span.last.max(self.last);
    }
}

fn clock(time: ReadingTime) -> Clock {
    match time {
        ReadingTime::Wall(_) => None,
        ReadingTime::Boot(time) => Some(time.boot),
    }
}

fn bytes(name: &AttributeName) -> usize {
    name.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::{BootTime, Value, WallTime};

    const DEVICE: [u8; 12] = [1; 12];

    fn state(name: &str, time: ReadingTime) -> State {
        State { time, data: [(name.parse().unwrap(), Value::Integer(1))].into() }
    }

    fn is_taken(times: &LastTimes, name: &str, at: ReadingTime) -> bool {
        times.taken(DEVICE.into(), &state(name, at), at).next().is_some()
    }

    #[test]
    fn used_names_are_kept_and_bytes_are_limited() {
        let mut times = LastTimes::default();
        let wall = |millis| ReadingTime::from(WallTime::from_millis(millis));
        for number in 0..100_000 {
            times.record(DEVICE.into(), &state("used", wall(number)));
            times.record(DEVICE.into(), &state(&format!("a{number}"), wall(number)));
            assert!(times.bytes() <= BYTES_MAX);
        }
        let names = times.devices.values().map(BTreeMap::len).sum::<usize>();
        assert_eq!(names, times.queue.len());
        assert!(times.devices.values().all(|names| names.contains_key("used")));
        assert!(is_taken(&times, "a1", wall(1)), "it was forgotten");
        assert!(!is_taken(&times, "used", wall(200_000)));
    }

    #[test]
    fn spans_of_a_boot_become_wall_times() {
        let boot = |uptime_ms| ReadingTime::from(BootTime { boot: BootId(1), uptime_ms });
        let wall = |millis| ReadingTime::from(WallTime::from_millis(millis));
        let mut times = LastTimes::default();
        times.record(DEVICE.into(), &state("a", boot(5)));
        times.forget_one();
        assert!(is_taken(&times, "a", boot(5)) && !is_taken(&times, "a", wall(5)));
        times.convert(|time| if time == boot(5) { wall(1_005) } else { time });
        assert!(is_taken(&times, "a", wall(1_005)) && !is_taken(&times, "a", boot(5)));
    }
}
