//! The attribute filters of one bus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crc::{Crc, NoTable};

use super::attribute_filter::{AttributeFilter, FilterResult};
use super::counter_record::CounterRecord;
use super::output::OutputBuilder;
use super::rejection::Rejection;
use super::sample::Sample;
use super::settings::{DeviceSelector, Mapping, Sensor};
use super::timers::{Registration, Timers};
use tidegate_model::{AttributeName, DeviceId, Name, Priority, Value};
use tidegate_timing::machine::Machine;

/// The most filters of attributes that templates name. A message can name any number of them; the
/// values of further ones are sent unfiltered.
///
/// Filters of other attributes have no limit of their own: the configuration names the attributes
/// and the devices.
pub(super) const NAMED_BY_MESSAGES_MAX: usize = 1_024;

/// The longest text in bytes that a filter of such an attribute keeps; longer ones are sent
/// unfiltered. A filter keeps up to four values, so these filters have 4 MiB of texts at most.
const TEXT_BYTES_MAX: usize = 1_024;

/// The filters of all sensors, and when they are due.
#[derive(Debug)]
pub(super) struct FilterTable {
    slots: Vec<Slot>,
    /// The slots by the index of the sensor, so that a search does not depend on the number of
    /// sensors.
    by_sensor: Vec<BTreeMap<FilterKey, usize>>,
    timers: Timers<usize>,
    named_by_messages: usize,
    /// The slots of counters that have changed since the last call of `take_changes`.
    changed: BTreeSet<usize>,
}

/// The state of a counter, which the outbox keeps over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRow {
    /// The sensor, the device, the attribute, and a digest of the settings that the state depends
    /// on: a state of other settings is not continued.
    pub key: String,
    /// The state.
    pub value: Vec<u8>,
}

/// One attribute of one device, as a mapping of a sensor yields it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilterKey {
    /// The index of the mapping in the sensor.
    pub(super) mapping: usize,
    pub(super) device: DeviceId,
    pub(super) attribute: AttributeName,
}

#[derive(Debug)]
struct Slot {
    /// The index of the sensor.
    sensor: usize,
    priority: Priority,
    device: DeviceId,
    attribute: AttributeName,
    filter: AttributeFilter,
    timer: Registration,
    /// The key of the row of a counter.
    row: Option<String>,
}

/// The place of a filter in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotIndex(usize);

impl FilterTable {
    /// Creates an empty table for so many sensors.
    pub(super) fn new(sensors: usize) -> Self {
        let by_sensor = std::iter::repeat_with(BTreeMap::new).take(sensors).collect();
        Self {
            slots: Vec::new(),
            by_sensor,
            timers: Timers::default(),
            named_by_messages: 0,
            changed: BTreeSet::new(),
        }
    }

    /// Returns the filter of an attribute for a value; it is created if necessary. `None` if
    /// messages have named too many attributes, or if the value is too long for one of them.
    pub(super) fn find(
        &mut self,
        index: usize,
        sensor: &Sensor,
        key: FilterKey,
        value: &Value,
    ) -> Option<SlotIndex> {
        let mapping = sensor.map.get(key.mapping)?;
        let is_long = matches!(value, Value::Text(text) if text.len() > TEXT_BYTES_MAX);
        if is_long && !mapping.attribute.is_fixed() {
            return None;
        }
        let slots = self.by_sensor.get_mut(index)?;
        if let Some(slot) = slots.get(&key) {
            return Some(SlotIndex(*slot));
        }
        if !mapping.attribute.is_fixed() {
            if self.named_by_messages >= NAMED_BY_MESSAGES_MAX {
                return None;
            }
            self.named_by_messages += 1;
        }
        let slot = self.slots.len();
        self.slots.push(Slot {
            sensor: index,
            priority: sensor.priority,
            device: key.device,
            attribute: key.attribute.clone(),
            filter: AttributeFilter::new(mapping.filter.clone()),
            timer: Registration::default(),
            row: mapping.filter.is_kept().then(|| row_key(sensor, mapping, &key)),
        });
        slots.insert(key, slot);
        Some(SlotIndex(slot))
    }

    /// Passes a value to a filter. The values that are due before it come first.
    pub(super) fn handle_sample(
        &mut self,
        SlotIndex(index): SlotIndex,
        sample: Sample,
        now: Instant,
        output: &mut OutputBuilder,
    ) -> Result<FilterResult, Rejection> {
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(FilterResult::Send(sample.value));
        };
        slot.filter.handle_time(sample.time, now);
        slot.filter.handle_timeout(now);
        slot.put_generated(output);
        let result = slot.filter.handle_sample(sample, now);
        self.changed.extend(slot.row.as_ref().map(|_| index));
        self.timers.register(index, &mut slot.timer, slot.filter.poll_timeout());
        result
    }

    /// Updates the filters that are due, and puts out the values that they generate.
    pub(super) fn handle_timeout(&mut self, now: Instant, output: &mut OutputBuilder) {
        let due: Vec<_> = std::iter::from_fn(|| self.timers.take_due(now)).collect();
        for index in due {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            slot.timer.clear();
            slot.filter.handle_timeout(now);
            if slot.put_generated(output) {
                self.changed.extend(slot.row.as_ref().map(|_| index));
            }
            self.timers.register(index, &mut slot.timer, slot.filter.poll_timeout());
        }
    }

    /// Continues a counter of an earlier run. Returns `false` if no mapping has it, or if its
    /// record is damaged.
    pub(super) fn restore(
        &mut self,
        sensors: &[Sensor],
        devices: &BTreeMap<Name, DeviceId>,
        row: &CounterRow,
        now: Instant,
    ) -> bool {
        let record = serde_json::from_slice(&row.value).ok().filter(CounterRecord::is_valid);
        let mut names = row.key.split('/').skip(1);
        let device = names.next().and_then(|device| device.parse::<DeviceId>().ok());
        let attribute = names.next().and_then(|name| name.parse::<AttributeName>().ok());
        let (Some(record), Some((device, attribute))) = (record, device.zip(attribute)) else {
            return false;
        };
        for (index, sensor) in sensors.iter().enumerate() {
            let is_known = match &sensor.device {
                DeviceSelector::Fixed(own) => *own == device,
                DeviceSelector::ByTemplate(_) => devices.values().any(|known| *known == device),
            };
            for (at, mapping) in sensor.map.iter().enumerate().filter(|_| is_known) {
                let key = FilterKey { mapping: at, device, attribute: attribute.clone() };
                if !mapping.filter.is_kept() || row_key(sensor, mapping, &key) != row.key {
                    continue;
                }
                let slot = self.find(index, sensor, key, &Value::Integer(0));
                let Some(SlotIndex(index)) = slot else { return false };
                let Some(slot) = self.slots.get_mut(index) else { return false };
                slot.filter.restore(&record, now);
                self.timers.register(index, &mut slot.timer, slot.filter.poll_timeout());
                return true;
            }
        }
        false
    }

    /// Returns the counters that have changed since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<CounterRow> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|index| self.slots.get(index)?.counter()).collect()
    }

    /// Returns all counters.
    pub(super) fn counters(&self) -> Vec<CounterRow> {
        self.slots.iter().filter_map(Slot::counter).collect()
    }

    /// Closes all windows, and releases all delayed values.
    pub(super) fn handle_stop(&mut self, output: &mut OutputBuilder) {
        for slot in &mut self.slots {
            slot.filter.handle_stop();
            slot.put_generated(output);
        }
    }

    /// Returns the first instant at which a filter may be due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Slot {
    /// Puts out the values that the filter generated. Returns whether there are any.
    fn put_generated(&mut self, output: &mut OutputBuilder) -> bool {
        let mut has_value = false;
        while let Some(sample) = self.filter.poll_action() {
            output.set_sensor(self.sensor, self.priority);
            output.add_generated_value(self.device, self.attribute.clone(), sample);
            has_value = true;
        }
        has_value
    }

    /// Returns the state of the counter, if the filter is one and has a value.
    fn counter(&self) -> Option<CounterRow> {
        let (key, record) = (self.row.clone()?, self.filter.record()?);
        Some(CounterRow { key, value: serde_json::to_vec(&record).ok()? })
    }
}

/// Returns the key of the row of a counter.
fn row_key(sensor: &Sensor, mapping: &Mapping, key: &FilterKey) -> String {
    let Mapping { source, attribute, conversion, filter } = mapping;
    let settings = format!("{source} {attribute:?} {conversion:?} {:?}", filter.derive);
    let digest = Crc::<u32, NoTable>::new(&crc::CRC_32_ISO_HDLC).checksum(settings.as_bytes());
    format!("{}/{}/{}/{digest:08x}", sensor.name, key.device, key.attribute)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::attribute_filter::FilterSettings;
    use super::super::settings::{AttributeSelector, Mapping};
    use super::super::tests::{map, sensor, template};
    use super::*;
    use tidegate_model::WallTime;

    fn limited(attribute: AttributeSelector) -> Sensor {
        let interval_min = Some(Duration::from_secs(5));
        let filter = FilterSettings { interval_min, ..FilterSettings::default() };
        sensor("#", vec![Mapping { attribute, filter, ..map("t", "t") }])
    }

    fn key(device: u8, attribute: &str) -> FilterKey {
        let device = DeviceId::from([device; 12]);
        FilterKey { mapping: 0, device, attribute: attribute.parse().unwrap() }
    }

    fn sample(number: i64) -> Sample {
        Sample { time: WallTime::from_millis(number).into(), value: Value::Integer(number) }
    }

    #[test]
    fn only_names_from_messages_are_limited() {
        let named = limited(AttributeSelector::ByTemplate(template("{{ channel }}")));
        let mut table = FilterTable::new(1);
        let found = (0..2 * NAMED_BY_MESSAGES_MAX).filter(|number| {
            let key = key(1, &format!("a{number}"));
            table.find(0, &named, key, &Value::Integer(1)).is_some()
        });
        assert_eq!(found.count(), NAMED_BY_MESSAGES_MAX);
        let fixed = limited(AttributeSelector::Fixed("t".parse().unwrap()));
        let long = Value::Text("x".repeat(2 * TEXT_BYTES_MAX));
        assert!((0..=255).all(|device| table.find(0, &fixed, key(device, "t"), &long).is_some()));
        assert!(table.find(0, &named, key(1, "a0"), &long).is_none());
    }

    #[test]
    fn time_out_touches_only_filters_that_are_due() {
        let fixed = limited(AttributeSelector::Fixed("t".parse().unwrap()));
        let (mut table, start) = (FilterTable::new(1), tokio::time::Instant::now().into_std());
        for device in 0..100 {
            let now = start + Duration::from_secs(u64::from(device));
            let slot = table.find(0, &fixed, key(device, "t"), &Value::Integer(1)).unwrap();
            for number in 0..50 {
                let mut output = OutputBuilder::default();
                table.handle_sample(slot, sample(number), now, &mut output).unwrap();
            }
        }
        assert_eq!(table.timers.len(), 100, "one instant for each filter");
        assert_eq!(table.poll_timeout(), Some(start + Duration::from_secs(5)));
        let mut output = OutputBuilder::default();
        table.handle_timeout(start + Duration::from_secs(6), &mut output);
        assert_eq!(output.build().generated.len(), 2);
        assert_eq!(table.timers.len(), 98);
        assert_eq!(table.poll_timeout(), Some(start + Duration::from_secs(7)));
    }
}
