//! Pulse counts that outlive the daemon: kept in memory, and written with the collector's commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use tidegate_model::Name;

/// The table of the outbox that has the counts, each under `BUS/INPUT`.
pub const PULSES: &str = "pulses";

/// The version of a count's record: this byte, and the count in eight bytes, the least first.
const VERSION: u8 = 1;

/// A record of a count, and its key.
type Note = (Vec<u8>, Vec<u8>);

/// A change of such a record, as the outbox takes it.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// The counts of all buses. Clones share them. There is one for each input that the configuration has ever counted.
#[derive(Debug, Clone, Default)]
pub struct PulseCounts(Arc<Mutex<BTreeMap<String, Count>>>);

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    pulses: u64,
    is_written: bool,
}

impl PulseCounts {
    /// The counts in these records. One that is of an unknown version is left alone, and its input counts from 0.
    pub fn load(notes: &[Note]) -> Self {
        let mut counts = BTreeMap::new();
        for (key, record) in notes {
            let Ok(key) = String::from_utf8(key.clone()) else { continue };
            let pulses = match record.split_first() {
                Some((&VERSION, count)) => count.try_into().ok().map(u64::from_le_bytes),
                Some(_) | None => None,
            };
            if let Some(pulses) = pulses {
                counts.insert(key, Count { pulses, is_written: true });
            } else {
                warn!(key, "a pulse count of an unknown version is not used");
            }
        }
        Self(Arc::new(Mutex::new(counts)))
    }

    /// What this input has counted.
    pub(super) fn get(&self, bus: &Name, input: &Name) -> u64 {
        self.lock().get(&key(bus, input)).copied().unwrap_or_default().pulses
    }

    /// Notes what this input has counted.
    pub(super) fn set(&self, bus: &Name, input: &Name, pulses: u64) {
        self.lock().insert(key(bus, input), Count { pulses, is_written: false });
    }

    /// What changed since the last time. The caller must bring it to the disk.
    pub fn take_changes(&self) -> Vec<Change> {
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
    fn a_count_goes_on_after_a_restart_and_each_change_is_written_once() {
        let (bus, rain) = (name("pins"), name("rain"));
        let pulses = PulseCounts::default();
        assert_eq!(pulses.get(&bus, &rain), 0);
        pulses.set(&bus, &rain, 300);
        let changes = pulses.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(pulses.take_changes(), []);
        let notes: Vec<_> =
            changes.into_iter().map(|(key, record)| (key, record.unwrap())).collect();
        let again = PulseCounts::load(&notes);
        assert_eq!(again.get(&bus, &rain), 300);
        assert_eq!(again.take_changes(), []);
    }

    #[test]
    fn a_record_of_another_version_is_not_guessed() {
        let notes = [(b"pins/rain".to_vec(), vec![2, 1]), (b"pins/wind".to_vec(), vec![1, 9])];
        let pulses = PulseCounts::load(&notes);
        assert_eq!(pulses.get(&name("pins"), &name("rain")), 0);
        assert_eq!(pulses.get(&name("pins"), &name("wind")), 0);
    }
}
