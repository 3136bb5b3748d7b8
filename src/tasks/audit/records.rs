//! The table of the outbox that keeps samples, so that they survive a restart.
//!
//! The journal repeats the table at the begin of each segment of 2 MiB, which limits its size.

use std::collections::BTreeMap;

use tidegate_delivery::audit::Sample;
use tidegate_outbox::{Commit, Row};

/// The table of the outbox that keeps the samples.
pub const TABLE: &str = "audit";

/// The most samples of one device.
const SAMPLES_MAX: usize = 8;

/// The most bytes of all samples: 6 % of a segment of the journal.
const TABLE_BYTES_MAX: usize = 128 << 10;

/// The keys of the table, with the size of each row.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<Key, usize>);

/// The key of a row: device, and the time of the last confirmation in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    device: [u8; 12],
    confirmed_ms: u64,
}

impl Key {
    fn of(sample: &Sample) -> Self {
        let confirmed_ms = u64::try_from(sample.confirmed().as_millis()).unwrap_or_default();
        Self { device: *sample.device().as_bytes(), confirmed_ms }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (device, confirmed_ms) = bytes.split_first_chunk()?;
        Some(Self {
            device: *device,
            confirmed_ms: u64::from_be_bytes(confirmed_ms.try_into().ok()?),
        })
    }

    fn bytes(self) -> Vec<u8> {
        [&self.device[..], &self.confirmed_ms.to_be_bytes()].concat()
    }
}

impl Records {
    /// Reads the keys of the table.
    pub(super) fn new(rows: &[Row]) -> Self {
        let keys = rows.iter().filter_map(|(key, row)| Some((Key::parse(key)?, row.len())));
        Self(keys.collect())
    }

    /// Returns the commit that adds a sample and removes the oldest ones beyond the limits.
    pub(super) fn add(&mut self, sample: &Sample) -> Commit {
        let (key, record) = (Key::of(sample), sample.encode());
        self.0.insert(key, record.len());
        let mut changes = vec![(key.bytes(), Some(record))];
        while let Some(oldest) = self.surplus(key) {
            self.0.remove(&oldest);
            changes.push((oldest.bytes(), None));
        }
        Commit { rows: BTreeMap::from([(TABLE, changes)]), ..Commit::default() }
    }

    /// Returns the row to remove after `new` was added, if there are too many.
    fn surplus(&self, new: Key) -> Option<Key> {
        let others = || self.0.keys().copied().filter(|key| *key != new);
        let mut of_device = others().filter(|key| key.device == new.device);
        if of_device.clone().count() >= SAMPLES_MAX {
            return of_device.next();
        }
        let bytes: usize = self.0.values().sum();
        let oldest = || others().min_by_key(|key| key.confirmed_ms);
        (bytes > TABLE_BYTES_MAX).then(oldest).flatten()
    }
}

/// Decodes the rows of the table. Rows of another version are left out.
pub fn stored(rows: Vec<Row>) -> Vec<Sample> {
    rows.into_iter().filter_map(|(_, record)| Sample::decode(&record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::{DeviceId, WallTime};

    fn sample(device: u8, confirmed: i64, text: &str) -> Sample {
        let mut sample = Sample::new(DeviceId::from([device; 12]));
        for second in 0..90 {
            let time = WallTime::from_millis(confirmed + second);
            let element = format!(r#"{{"time":"{time}","data":{{"a":"{text}"}}}}"#);
            sample.add(element.as_bytes(), WallTime::from_millis(confirmed), usize::MAX);
        }
        sample
    }

    /// Applies a commit to the rows of a table.
    fn apply(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, commit: &Commit) {
        for (key, row) in &commit.rows[TABLE] {
            match row {
                Some(row) => drop(rows.insert(key.clone(), row.clone())),
                None => drop(rows.remove(key)),
            }
        }
    }

    #[test]
    fn keeps_the_last_samples_of_each_device() {
        let (mut records, mut rows) = (Records::default(), BTreeMap::new());
        for confirmed in 0..20 {
            apply(&mut rows, &records.add(&sample(1, confirmed, "x")));
            apply(&mut rows, &records.add(&sample(2, confirmed, "x")));
        }
        let samples = stored(rows.clone().into_iter().collect());
        let confirmed: Vec<_> = samples.iter().map(|one| one.confirmed().as_millis()).collect();
        let kept: Vec<i64> = (12..20).collect();
        assert_eq!(confirmed, [&kept[..], &kept[..]].concat());
        let rows: Vec<_> = rows.into_iter().collect();
        assert_eq!(Records::new(&rows).0, records.0);
    }

    #[test]
    fn table_never_exceeds_its_size() {
        let (mut records, mut rows) = (Records::default(), BTreeMap::new());
        let text = "x".repeat(64);
        for device in 0..60 {
            apply(&mut rows, &records.add(&sample(device, i64::from(device), &text)));
            let bytes: usize = rows.values().map(Vec::len).sum();
            assert!(bytes <= TABLE_BYTES_MAX, "{bytes} bytes");
        }
        assert!(rows.len() > 10, "{} rows", rows.len());
        assert!(
            stored(rows.into_iter().collect()).iter().any(|one| one.confirmed().as_millis() == 59)
        );
    }
}
