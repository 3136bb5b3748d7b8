//! Thinning: old states of numbers are joined, so that a full outbox keeps what they were like.
//!
//! It goes by runs: neighbouring groups of a device and a priority, oldest first. They are read, joined bucket by bucket, and let
//! go; what comes of them is put back behind all else, in the same frame. So an outbox has either the one or the other, wherever the
//! power fails, and the ledger agrees. What the reporter has in hand is not touched: the cloud would get it twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::block::Record;
use super::disk::Disk;
use super::index::{Key, Spot};
use super::transaction::{Draft, Fate};
use super::{Error, Pending, Removed};
use crate::downsample;
use tidegate_model::{DeviceId, Name, Priority, Reason};

/// Groups that are joined at a time: so many times 16 KiB are in memory, and in one frame, at most.
const RUN_GROUPS_MAX: usize = 16;

/// Runs of one priority that are looked at for one commit before its oldest states are dropped after all.
const RUNS_MAX: usize = 4;

/// Of so many batches of a device it is remembered which states were in them: more are never under way.
const LENT_MAX: usize = 8;

/// What thinning goes by, and what is not worth storing.
#[derive(Debug, Default)]
pub(super) struct Thinning {
    /// Groups of which nothing can be joined.
    barren: BTreeSet<Key>,
    /// First and last states of the batches that the reporter was given, newest last.
    lent: BTreeMap<DeviceId, Vec<(u64, u64)>>,
}

impl Thinning {
    /// Remembers what the reporter was given.
    pub(super) fn lend(&mut self, device: DeviceId, range: (u64, u64)) {
        let lent = self.lent.entry(device).or_default();
        lent.retain(|one| *one != range);
        lent.push(range);
        if lent.len() > LENT_MAX {
            lent.remove(0);
        }
    }

    fn is_free(&self, key: Key, spot: &Spot) -> bool {
        let mut lent = self.lent.get(&key.0).into_iter().flatten();
        let is_lent = lent.any(|(first, last)| *first <= spot.last && key.1 <= *last);
        !is_lent && !self.barren.contains(&key)
    }
}

impl Draft {
    /// Makes room as far as thinning can: low priority first, and where nothing of a priority is left to thin, its oldest states
    /// are dropped before anything of the next is touched.
    pub(super) fn thin(
        &mut self,
        disk: &mut Disk,
        incoming: u64,
        room: u64,
    ) -> Result<Removed, Error> {
        let mut gone = Removed::default();
        let levels = [
            (Priority::Low, Some(Priority::Normal)),
            (Priority::Normal, Some(Priority::High)),
            (Priority::High, None),
        ];
        for (level, next) in levels {
            for _ in 0..RUNS_MAX {
                if self.bytes_left(disk) + incoming <= room {
                    return Ok(gone);
                }
                let run = self.oldest_run(disk, level);
                if run.is_empty() {
                    break;
                }
                gone.add(self.join(disk, &run)?);
            }
            gone.add(self.make_room(disk, incoming, room, next)?);
        }
        Ok(gone)
    }

    /// The oldest groups of this priority that can be tried, neighbours of one device.
    fn oldest_run(&self, disk: &Disk, level: Priority) -> Vec<(Key, Spot)> {
        let is_open = |(key, spot): &(Key, Spot)| {
            let is_fit = spot.priority == level && disk.thinning.is_free(*key, spot);
            is_fit && !self.is_gone(key.0, spot.last)
        };
        let level_begins = |(_, spot): &(Key, Spot)| spot.priority < level;
        let oldest = disk.index.oldest().skip_while(level_begins);
        let mut oldest = oldest.take_while(|(_, spot)| spot.priority == level);
        let Some(((device, first), _)) = oldest.find(is_open) else { return Vec::new() };
        disk.index.from(device, first).take_while(is_open).take(RUN_GROUPS_MAX).collect()
    }

    /// Joins a run, if anything is gained by it.
    fn join(&mut self, disk: &mut Disk, run: &[(Key, Spot)]) -> Result<Removed, Error> {
        let mut records = Vec::new();
        for (key, spot) in run {
            let group = disk.group(*key, *spot)?;
            let lane = disk.state.lanes.get(key.0.as_bytes());
            let waits = |number: u64| lane.is_none_or(|lane| !lane.gone.covers(number, number));
            let numbered = (group.first..).zip(group.records);
            records.extend(numbered.filter(|(number, _)| waits(*number)).map(|(_, one)| one));
        }
        let Some(((device, first), _)) = run.first().copied() else {
            return Ok(Removed::default());
        };
        let last = run.last().map_or(first, |(_, spot)| spot.last);
        let (states, readings) = (records.len() as u64, readings_of(&records));
        let kept = joined(records, disk.options.downsample_bucket);
        if kept.len() as u64 == states {
            let prune = disk.thinning.barren.len() > 2 * disk.index.len();
            disk.thinning.barren.retain(|key| !prune || disk.index.has_any(key.0, key.1, key.1));
            disk.thinning.barren.extend(run.iter().map(|(key, _)| *key));
            return Ok(Removed::default());
        }
        let lost = readings.saturating_sub(kept.iter().map(|one| u64::from(one.readings)).sum());
        self.remove(disk, device, (first, last), Fate::Dropped(Reason::Downsampled))?;
        for one in &kept {
            let account = self.account(disk, &one.bus);
            let counted = account.dropped.entry(Reason::Downsampled).or_default();
            *counted = counted.saturating_sub(u64::from(one.readings));
        }
        let back: Vec<Pending> = kept.into_iter().map(|one| one.pending(device)).collect();
        let gone = Removed { states: states - back.len() as u64, readings: lost };
        self.put(disk, device, &back.iter().collect::<Vec<_>>());
        Ok(gone)
    }
}

fn readings_of(records: &[Record]) -> u64 {
    records.iter().map(|record| u64::from(record.readings)).sum()
}

/// The records with those of each bus and bucket as one, where that is possible and makes them smaller; in the order of the first
/// of each.
fn joined(records: Vec<Record>, width: Duration) -> Vec<Record> {
    let mut buckets: BTreeMap<(Name, i64), Vec<usize>> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        let time = record.moment.wall().filter(|_| downsample::is_numeric(&record.json));
        if let Some(time) = time {
            buckets
                .entry((record.bus.clone(), downsample::bucket(time, width)))
                .or_default()
                .push(at);
        }
    }
    let mut kept: Vec<Option<Record>> = records.into_iter().map(Some).collect();
    for places in buckets.into_values() {
        let states: Vec<_> =
            places.iter().filter_map(|at| Some(kept.get(*at)?.as_ref()?.json.clone())).collect();
        let Some(whole) = downsample::downsampled(&states) else { continue };
        let mut whole = Some(whole);
        for at in places {
            let Some(place) = kept.get_mut(at) else { continue };
            // The first becomes the whole, the others go.
            let one = place.take().zip(whole.take());
            *place = one.map(|(first, whole)| Record {
                json: whole.json,
                readings: whole.readings,
                ..first
            });
        }
    }
    kept.into_iter().flatten().collect()
}
