//! Pulse counts that survive restarts: kept in memory and written with the collector's commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use tidegate_model::Name;

/// The table of the outbox with the counts, each under `BUS/INPUT`.
pub const PULSES: &str = "pulses";

/// The version of a record: this byte, then the count as eight bytes, little-endian.
const VERSION: u8 = 1;

/// The key of a count, and its record.
type Record = (Vec<u8>, Vec<u8>);

/// The key of a count and its new record, as the outbox takes them.
type RecordChange = (Vec<u8>, Option<Vec<u8>>);

/// The pulse counts of all buses, one for each input that ever counted. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct PulseCounts(Arc<Mutex<BTreeMap<String, Count>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    pulses: u64,
    is_written: bool,
}

impl PulseCounts {
    /// Loads the counts from records of the outbox. Ignores a record of an unknown version: its
    /// input counts from 0.
    pub fn load(records: &[Record]) -> Self {
        let mut counts = BTreeMap::new();
        for (key, record) in records {
            let Ok(key) = String::from_utf8(key.clone()) else { continue };
            let pulses = match record.split_first() {
                Some((&VERSION, count)) => count.try_into().ok().map(u64::from_le_bytes),
                Some(_) | None => None,
            };
            if let Some(pulses) = pulses {
                counts.insert(key, Count { pulses, is_written: true });
            } else {
                warn!(key, "ignoring pulse count of unknown version");
            }
        }
        Self(Arc::new(Mutex::new(counts)))
    }

    /// Returns the count of an input.
    pub(crate) fn get(&self, bus: &Name, input: &Name) -> u64 {
        self.lock().get(&key(bus, input)).copied().unwrap_or_default().pulses
    }

    /// Sets the count of an input.
    pub(crate) fn set(&self, bus: &Name, input: &Name, pulses: u64) {
        self.lock().insert(key(bus, input), Count { pulses, is_written: false });
    }

    /// Returns the records that changed since the last call. The caller must write them to disk.
    pub fn take_changes(&self) -> Vec<RecordChange> {
        let mut counts = self.lock();
        let changed = counts.iter_mut().filter(|(_, count)| !count.is_written);
        let record = |(key, count): (&String, &mut Count)| {
            count.is_written = true;
            let record = [&[VERSION][..], &count.pulses.to_le_bytes()].concat();
            (key.clone().into_bytes(), Some(record))
        };
        changed.map(record).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(bus: &Name, input: &Name) -> String {
    format!("{bus}/{input}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn count_survives_a_restart_and_is_written_once() {
        let (bus, rain) = (name("pins"), name("rain"));
        let pulses = PulseCounts::default();
        assert_eq!(pulses.get(&bus, &rain), 0);
        pulses.set(&bus, &rain, 300);
        let changes = pulses.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(pulses.take_changes(), []);
        let records: Vec<_> =
            changes.into_iter().map(|(key, record)| (key, record.unwrap())).collect();
        let again = PulseCounts::load(&records);
        assert_eq!(again.get(&bus, &rain), 300);
        assert_eq!(again.take_changes(), []);
    }

    #[test]
    fn ignores_a_record_of_another_version() {
        let records = [(b"pins/rain".to_vec(), vec![2, 1]), (b"pins/wind".to_vec(), vec![1, 9])];
        let pulses = PulseCounts::load(&records);
        assert_eq!(pulses.get(&name("pins"), &name("rain")), 0);
        assert_eq!(pulses.get(&name("pins"), &name("wind")), 0);
    }
}
