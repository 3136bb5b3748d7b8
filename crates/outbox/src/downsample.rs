//! Downsampling: a full outbox replaces old numeric states by their means.
//!
//! One step takes a run: neighbouring blocks of one device and one priority, oldest first. It reads
//! them, computes a mean for each bucket of time, removes the states of the run, and appends the
//! result to the end of the queue. All of that is one frame, so after a power cut the outbox has
//! either the states or their means, and the ledger agrees. States that the reporter has read are
//! left alone, because Losant would get them twice.

mod mean;

use std::collections::BTreeMap;
use std::time::Duration;

use super::block::Record;
use super::disk::Disk;
use super::error::Error;
use super::index::IndexEntry;
use super::ranges::SequenceRange;
use super::removal::Removal;
use super::transaction::Transaction;
use super::types::{NewState, Removed};
use tidegate_model::{Name, Priority, Reason};

/// The most blocks of one run. So many times 16 KiB are in memory and in one frame.
const RUN_BLOCKS_MAX: usize = 16;

/// The most runs of one priority for one commit. Then the oldest states are dropped.
const RUNS_MAX: usize = 4;

impl Transaction {
    /// Downsamples until `incoming` bytes fit into `capacity`: low priority first. If nothing of a
    /// priority is left to downsample, its oldest states are dropped before the next priority is
    /// touched.
    pub(super) fn downsample(
        &mut self,
        disk: &mut Disk,
        incoming: u64,
        capacity: u64,
    ) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        let levels = [
            (Priority::Low, Some(Priority::Normal)),
            (Priority::Normal, Some(Priority::High)),
            (Priority::High, None),
        ];
        for (level, next) in levels {
            for _ in 0..RUNS_MAX {
                if self.bytes_after(&disk.catalog) + incoming <= capacity {
                    return Ok(removed);
                }
                let run = self.oldest_run(disk, level);
                if run.is_empty() {
                    break;
                }
                removed.add(self.downsample_run(disk, &run)?);
            }
            removed.add(self.evict(disk, incoming, capacity, next)?);
        }
        Ok(removed)
    }

    /// Returns the oldest blocks of this priority that may be downsampled: neighbours of one
    /// device.
    fn oldest_run(&self, disk: &Disk, level: Priority) -> Vec<IndexEntry> {
        let is_allowed = |entry: &IndexEntry| {
            entry.meta.priority == level
                && !disk.exclusions.contains(entry)
                && !self.removes(entry.key.device, entry.meta.last)
        };
        let is_lower = |entry: &IndexEntry| entry.meta.priority < level;
        let ordered = disk.index.by_eviction_order().skip_while(is_lower);
        let mut ordered = ordered.take_while(|entry| entry.meta.priority == level);
        let Some(IndexEntry { key, .. }) = ordered.find(is_allowed) else { return Vec::new() };
        let neighbours = disk.index.from(key.device, key.first);
        neighbours.take_while(is_allowed).take(RUN_BLOCKS_MAX).collect()
    }

    /// Replaces the states of a run by their means, if that makes them fewer.
    fn downsample_run(&mut self, disk: &mut Disk, run: &[IndexEntry]) -> Result<Removed, Error> {
        let [IndexEntry { key, meta }, ..] = run else { return Ok(Removed::default()) };
        let device = key.device;
        let last = run.last().map_or(meta.last, |entry| entry.meta.last);
        let mut records = Vec::new();
        for entry in run {
            let block = disk.block(*entry)?;
            let queue = disk.catalog.queues.get(device.as_bytes());
            let is_queued = |number| queue.is_none_or(|queue| !queue.removed.contains(number));
            let numbered = (block.first..).zip(block.records);
            records.extend(numbered.filter(|(number, _)| is_queued(*number)).map(|(_, one)| one));
        }
        let (states, readings) = (records.len() as u64, readings_of(&records));
        let kept = downsample_records(records, disk.options.downsample_bucket);
        if kept.len() as u64 == states {
            disk.exclusions.add_incompressible(run, &disk.index);
            return Ok(Removed::default());
        }
        let lost = readings.saturating_sub(readings_of(&kept));
        let range = SequenceRange { first: key.first, last };
        self.remove(disk, device, range, Removal::Dropped(Reason::Downsampled))?;
        // The kept readings are not lost: they are appended again below.
        for record in &kept {
            let account = self.account(&disk.catalog, &record.bus);
            let counted = account.dropped.entry(Reason::Downsampled).or_default();
            *counted = counted.saturating_sub(u64::from(record.readings));
        }
        let kept: Vec<_> = kept.into_iter().map(|one| NewState::from_record(device, one)).collect();
        self.append(&disk.catalog, device, &kept.iter().collect::<Vec<_>>());
        Ok(Removed { states: states - kept.len() as u64, readings: lost })
    }
}

fn readings_of(records: &[Record]) -> u64 {
    records.iter().map(|record| u64::from(record.readings)).sum()
}

/// Replaces the numeric records of each bus and bucket by one mean, if that is smaller. The mean
/// takes the place of the first of them.
fn downsample_records(records: Vec<Record>, width: Duration) -> Vec<Record> {
    let mut buckets: BTreeMap<(Name, i64), Vec<usize>> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        let time = record.moment.wall().filter(|_| mean::is_numeric(&record.json));
        if let Some(time) = time {
            let bucket = mean::bucket(time, width);
            buckets.entry((record.bus.clone(), bucket)).or_default().push(at);
        }
    }
    let mut kept: Vec<Option<Record>> = records.into_iter().map(Some).collect();
    for places in buckets.into_values() {
        let states: Vec<_> =
            places.iter().filter_map(|at| Some(kept.get(*at)?.as_ref()?.json.clone())).collect();
        let mut mean = mean::mean_of(&states);
        if mean.is_none() {
            continue;
        }
        for at in places {
            let Some(place) = kept.get_mut(at) else { continue };
            // The first record becomes the mean, the others are removed.
            let first = place.take().zip(mean.take());
            *place = first.map(|(first, mean)| Record {
                json: mean.json,
                readings: mean.readings,
                ..first
            });
        }
    }
    kept.into_iter().flatten().collect()
}
