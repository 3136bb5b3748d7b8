//! The outbox on the disk: a journal in front, generations behind it.
//!
//! Every change is a frame in the journal's active segment, and counts when it is written and synced. When the segment is full
//! another takes its place, which begins with the whole state, and what still waits in the full one is packed into a
//! generation. A write or a sync that fails ends its segment at the frame before: what follows goes into another file, and
//! nothing is read back to learn what came of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use tracing::{info, warn};

use super::block::{GROUP_BYTES_MAX, Group, Record};
use super::frame;
use super::index::{Home, Index, Key, Spot};
use super::segment::{Segment, file_of, release};
use super::state::{Change, Device, State};
use super::store::{Builder, Generations, key};
use super::sync;
use super::thin::Thinning;
use super::transaction::Draft;
use super::{Entry, Error, Options};
use tidegate_model::{DeviceId, Priority};

/// Room in a new segment for more than the state and the frame that it was made for.
const ROOM_BYTES: usize = 4 << 10;

/// The files, and what they hold.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) directory: PathBuf,
    pub(super) options: Options,
    /// Held for as long as this is open.
    pub(super) lock: File,
    /// None after a failure, until another can be made.
    pub(super) active: Option<Segment>,
    /// The full segments, open to be read.
    pub(super) full: BTreeMap<u64, File>,
    pub(super) generations: Generations,
    /// Something could not be read because it is damaged.
    pub(super) is_suspect: bool,
    pub(super) thinning: Thinning,
    /// Groups that were written and not synced since.
    pub(super) unsynced: Vec<Key>,
    pub(super) index: Index,
    pub(super) state: State,
    pub(super) next_segment: u64,
    pub(super) next_generation: u64,
}

impl Disk {
    /// A group. Where damage keeps it from being read, that is remembered.
    pub(super) fn group(&mut self, key: Key, spot: Spot) -> Result<Group, Error> {
        let group = self.read(key, spot);
        self.is_suspect |= group.as_ref().is_err_and(Error::is_damage);
        group
    }

    fn read(&mut self, (device, first): Key, spot: Spot) -> Result<Group, Error> {
        let bytes = match spot.home {
            Home::Generation(number) => {
                let groups = self.state.generations.get(&number).copied().unwrap_or_default();
                let bytes = self.generations.get(number, groups, &key(device, first))?;
                bytes.ok_or(Error::Unreadable)?.to_vec()
            }
            Home::Segment { number, offset, length } => {
                let active = self.active.as_ref().filter(|active| active.number == number);
                let file = active.map(|active| &active.file).or_else(|| self.full.get(&number));
                let file = file.ok_or(Error::Unreadable)?;
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, offset)?;
                bytes
            }
        };
        let group = Group::decode(&bytes).map_err(|_| Error::Unreadable)?;
        let is_it = (group.device, group.first) == (device, first);
        if is_it { Ok(group) } else { Err(Error::Unreadable) }
    }

    /// The oldest states of a device above `after`, within the bounds of [`super::Outbox::peek`].
    pub(super) fn peek(
        &mut self,
        device: DeviceId,
        after: u64,
        states_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, Error> {
        let lane = self.state.lanes.get(device.as_bytes()).cloned().unwrap_or_default();
        let after = after.max(lane.gone.cursor());
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0, after + 1);
        while let Some((key, spot)) = self.index.at(device, next) {
            next = spot.last + 1;
            let group = match self.group(key, spot) {
                // What is acknowledged together must not reach across what was not sent.
                Err(error) if error.is_damage() && !entries.is_empty() => break,
                Err(error) if error.is_damage() => continue,
                group => group?,
            };
            for (sequence, record) in (group.first..).zip(group.records) {
                if sequence <= after || lane.gone.covers(sequence, sequence) {
                    continue;
                }
                bytes += record.json.len() + 1;
                let is_full = entries.len() >= states_max || bytes > bytes_max;
                if is_full && !entries.is_empty() {
                    return Ok(entries);
                }
                let (moment, readings) = (record.moment, record.readings);
                entries.push(Entry { sequence, moment, readings, json: record.json });
            }
        }
        Ok(entries)
    }

    /// Writes a draft, and syncs it if it `is_durable`. After an error nothing has changed.
    pub(super) fn write(&mut self, draft: &Draft, is_durable: bool) -> Result<(), Error> {
        let groups: Vec<_> = draft.groups.iter().map(Group::encode).collect();
        let change = postcard::to_stdvec(&draft.change)?;
        let bytes = frame::encode(0, 0, &change, &groups).0.len();
        if !self.active.as_ref().is_some_and(|active| active.has_room(bytes)) {
            self.rotate(bytes)?;
        }
        let places = self.put(&change, &groups, is_durable)?;
        self.state.apply(&draft.change);
        for (group, (number, offset, length)) in draft.groups.iter().zip(places) {
            let lane = self.state.lanes.entry(*group.device.as_bytes()).or_default();
            group.records.iter().for_each(|record| lane.amount.add(record));
            let home = Home::Segment { number, offset, length };
            self.index.insert((group.device, group.first), group.spot(home));
            self.unsynced.push((group.device, group.first));
        }
        if is_durable {
            self.synced();
        }
        for (device, removed) in &draft.removed {
            let lane = self.state.lanes.entry(*device).or_default();
            lane.amount = lane.amount.minus(*removed);
        }
        let emptied = self.emptied(&draft.change.gone);
        for key in &emptied {
            self.index.remove(*key);
        }
        if !emptied.is_empty() {
            self.tidy();
        }
        Ok(())
    }

    /// The groups touched by these ranges of which nothing waits any more. Only now can that be said: a rotation may have
    /// packed a group together with its neighbours since the draft was made.
    fn emptied(&self, gone: &[(Device, u64, u64)]) -> Vec<Key> {
        let mut emptied = Vec::new();
        for (device, first, through) in gone {
            let Some(lane) = self.state.lanes.get(device) else { continue };
            let touched = self.index.from(DeviceId::from(*device), *first);
            let touched = touched.take_while(|(key, _)| key.1 <= *through);
            let is_empty = |(key, spot): &(Key, Spot)| lane.gone.covers(key.1, spot.last);
            emptied.extend(touched.filter(is_empty).map(|(key, _)| key));
        }
        emptied
    }

    /// Brings all that was written to the disk.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let Some(active) = &self.active else { return self.rotate(0) };
        let end = active.end;
        sync::data(&active.file).inspect_err(|_| self.abandon(end))?;
        self.synced();
        Ok(())
    }

    /// The active segment is synced: what stands in another that was given up is not, until it is packed.
    fn synced(&mut self) {
        let Self { unsynced, index, full, .. } = self;
        let is_given_up = |spot: Spot| match spot.home {
            Home::Segment { number, .. } => full.contains_key(&number),
            Home::Generation(_) => false,
        };
        unsynced.retain(|key| index.get(*key).is_some_and(is_given_up));
    }

    /// Whether nothing waits that a power cut could take.
    pub(super) fn is_settled(&self) -> bool {
        self.unsynced.iter().all(|key| self.index.get(*key).is_none())
    }

    /// Writes a frame; where each group came to stand: segment, offset, length.
    fn put(
        &mut self,
        change: &[u8],
        groups: &[Vec<u8>],
        is_durable: bool,
    ) -> io::Result<Vec<(u64, u64, usize)>> {
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotFound.into()) };
        let (number, end) = (active.number, active.end);
        let (bytes, places) = frame::encode(number, active.frame, change, groups);
        if !active.has_room(bytes.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = active.append(&bytes).and_then(|begin| {
            if is_durable {
                sync::data(&active.file)?;
            }
            Ok(begin)
        });
        let begin = written.inspect_err(|_| self.abandon(end))?;
        let place = |(at, group): (u64, &Vec<u8>)| (number, begin + at, group.len());
        Ok(places.into_iter().zip(groups).map(place).collect())
    }

    /// Ends the active segment: what stands after `end` does not count.
    fn abandon(&mut self, end: u64) {
        if let Some(active) = self.active.take() {
            self.state.segments.insert(active.number, end);
            self.full.insert(active.number, active.file);
        }
    }

    /// Begins another segment, with room for a frame of so many bytes, and packs what waits in the full ones.
    pub(super) fn rotate(&mut self, bytes: usize) -> Result<(), Error> {
        if let Some(active) = &self.active {
            let end = active.end;
            if !self.is_settled() {
                sync::data(&active.file).inspect_err(|_| self.abandon(end))?;
                self.synced();
            }
            self.abandon(end);
        }
        let number = self.next_segment;
        self.next_segment += 1;
        let (state, _) = frame::encode(number, 0, &postcard::to_stdvec(&self.state)?, &[]);
        let length = (2 * state.len() + bytes + ROOM_BYTES).next_multiple_of(4096) as u64;
        let length = length.max(self.options.segment_bytes);
        let made = Segment::create(&self.directory, number, length).and_then(|mut segment| {
            segment.append(&state)?;
            segment.append(&state)?;
            segment.frame = 1;
            sync::data(&segment.file)?;
            Ok(segment)
        });
        let made = made.inspect_err(|_| {
            // A name without a state in its file is passed over when the outbox is opened.
            std::fs::remove_file(file_of(&self.directory, number)).ok();
        });
        self.active = Some(made?);
        if let Err(error) = self.pack() {
            warn!(%error, "what waits cannot be packed now; it stays in the journal");
        }
        Ok(())
    }

    /// Packs what waits in the full segments, each into a generation.
    fn pack(&mut self) -> Result<(), Error> {
        self.tidy();
        let full: Vec<_> = self.state.segments.keys().copied().collect();
        for segment in full {
            let before = self.index.of_segment(segment);
            let number = self.next_generation;
            self.next_generation += 1;
            let mut builder = self.generations.begin(number)?;
            let groups = self.merged(&before, &mut builder)?;
            builder.finish()?;
            let change = Change {
                generations: BTreeMap::from([(number, groups.len() as u64)]),
                segments_gone: vec![segment],
                ..Change::default()
            };
            self.put(&postcard::to_stdvec(&change)?, &[], true)?;
            self.state.apply(&change);
            for (key, _) in &before {
                self.index.remove(*key);
            }
            for (key, spot) in groups {
                self.index.insert(key, Spot { home: Home::Generation(number), ..spot });
            }
            self.full.remove(&segment);
            release(&self.directory, segment, self.options.segment_bytes)?;
        }
        Ok(())
    }

    /// Puts what waits in these groups into a generation, in groups as large as they may be. One at a time is in memory.
    fn merged(
        &mut self,
        spots: &[(Key, Spot)],
        builder: &mut Builder,
    ) -> Result<Vec<(Key, Spot)>, Error> {
        let (mut packed, mut bytes) = (Vec::new(), 0);
        let mut current: Option<(Group, Home)> = None;
        let mut finish = |(done, home): (Group, Home)| -> Result<(), Error> {
            builder.insert(key(done.device, done.first), &done.encode())?;
            packed.push(((done.device, done.first), done.spot(home)));
            Ok(())
        };
        for (place, spot) in spots {
            let group = self.group(*place, *spot)?;
            let lane = self.state.lanes.get(group.device.as_bytes()).cloned().unwrap_or_default();
            for (sequence, record) in (group.first..).zip(group.records) {
                if lane.gone.covers(sequence, sequence) {
                    continue;
                }
                bytes += record.json.len();
                let fits = |(one, _): &&mut (Group, Home)| {
                    one.device == group.device
                        && one.last() + 1 == sequence
                        && one.priority() == spot.priority
                        && bytes <= GROUP_BYTES_MAX
                };
                if let Some((current, _)) = current.as_mut().filter(fits) {
                    current.records.push(record);
                    continue;
                }
                bytes = record.json.len();
                let (commit, device, records) = (spot.commit, group.device, vec![record]);
                let next = Group { commit, device, first: sequence, records };
                current.replace((next, spot.home)).map_or(Ok(()), &mut finish)?;
            }
        }
        current.map_or(Ok(()), &mut finish)?;
        Ok(packed)
    }

    /// Removes the segments and generations in which nothing waits.
    pub(super) fn tidy(&mut self) {
        let index = &self.index;
        let generations = self.state.generations.keys().copied();
        let segments = self.state.segments.keys().copied();
        let change = Change {
            generations_gone: generations.filter(|one| index.is_empty_generation(*one)).collect(),
            segments_gone: segments.filter(|one| index.is_empty_segment(*one)).collect(),
            ..Change::default()
        };
        if change.generations_gone.is_empty() && change.segments_gone.is_empty() {
            return;
        }
        if let Err(error) = self.forget(&change) {
            info!(%error, "what is confirmed cannot be removed now");
        }
    }

    /// The journal says first that they are gone, and that this was confirmed.
    fn forget(&mut self, change: &Change) -> Result<(), Error> {
        self.put(&postcard::to_stdvec(change)?, &[], true)?;
        self.state.apply(change);
        for segment in &change.segments_gone {
            self.full.remove(segment);
            release(&self.directory, *segment, self.options.segment_bytes)?;
        }
        for generation in &change.generations_gone {
            self.generations.remove(*generation)?;
        }
        Ok(())
    }
}

impl Group {
    pub(super) fn spot(&self, home: Home) -> Spot {
        Spot { last: self.last(), home, priority: self.priority(), commit: self.commit }
    }

    /// A group goes late if one of its states does.
    fn priority(&self) -> Priority {
        self.records.iter().map(|record: &Record| record.priority).max().unwrap_or_default()
    }
}
