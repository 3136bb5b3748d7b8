//! Starts segments, packs full segments into stores, and removes empty files.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::Disk;
use crate::block::{BLOCK_BYTES_MAX, Block};
use crate::catalog::Delta;
use crate::error::Error;
use crate::frame;
use crate::index::{BlockFacts, BlockKey, IndexEntry, Location};
use crate::segment::{Segment, file_of, release};
use crate::store::StoreBuilder;
use crate::sync;

/// The most queued blocks in full segments that wait in the journal. Memory holds about 150 bytes
/// for each; packing merges small ones.
const JOURNAL_BLOCKS_MAX: usize = 16_384;

/// Free bytes in a new segment besides the catalog and the frame that it is created for.
const MARGIN_BYTES: usize = 4 << 10;

impl Disk {
    /// Starts another segment, with room for a frame of so many bytes, and packs full segments if
    /// they are too many.
    ///
    /// # Errors
    /// When no segment can be created. If only the packing fails, that is logged and the states
    /// stay in the journal.
    pub(crate) fn rotate(&mut self, bytes: usize) -> Result<(), Error> {
        if let Some(active) = &self.active {
            let (number, end) = (active.number, active.end);
            if self.first_unsynced().is_some() {
                sync::data(&active.file).inspect_err(|_| self.close_active(end))?;
                self.mark_synced(number, u64::MAX);
            }
            self.close_active(end);
        }
        let number = self.next_segment;
        self.next_segment += 1;
        let catalog = frame::encode(number, 0, &postcard::to_stdvec(&self.catalog)?, &[]).bytes;
        let length = (2 * catalog.len() + bytes + MARGIN_BYTES).next_multiple_of(4096) as u64;
        let length = length.max(self.options.segment_bytes);
        let created = Segment::create(&self.directory, number, length).and_then(|mut segment| {
            segment.append(&catalog)?;
            segment.append(&catalog)?;
            segment.frame = 1;
            sync::data(&segment.file)?;
            Ok(segment)
        });
        let created = created.inspect_err(|_| {
            // The recovery skips a segment without a catalog, so a leftover file does no harm.
            std::fs::remove_file(file_of(&self.directory, number)).ok();
        });
        self.active = Some(created?);
        if let Err(error) = self.pack() {
            warn!(%error, "cannot pack queued states into a store; they stay in the journal");
        }
        self.forget_removed();
        Ok(())
    }

    /// Packs the queued states of full segments into stores, the oldest first, until the others are
    /// within [`crate::Options::journal_bytes`]. A nearly full disk keeps no full segment.
    fn pack(&mut self) -> Result<(), Error> {
        self.remove_empty_files();
        for segment in self.segments_to_pack()? {
            let before = self.index.in_segment(segment);
            let number = self.next_store;
            self.next_store += 1;
            let mut builder = self.stores.begin(number)?;
            let packed = self.merge(&before, &mut builder)?;
            builder.finish()?;
            let delta = Delta {
                stores: BTreeMap::from([(number, packed.len() as u64)]),
                segments_removed: vec![segment],
                ..Delta::default()
            };
            self.append_frame(&postcard::to_stdvec(&delta)?, &[], true)?;
            self.catalog.apply(&delta);
            let places = self.stores.places(number).unwrap_or_default();
            for entry in &before {
                self.index.remove(entry.key);
            }
            for (key, facts) in &packed {
                let location = Location::Store { number, place: places.get(key).copied() };
                self.index.insert(*key, facts, location);
            }
            self.full.remove(&segment);
            release(&self.directory, segment, self.options.segment_bytes)?;
        }
        Ok(())
    }

    /// Packs the full segments with states that no sync covers. A failure is logged.
    pub(super) fn pack_unsynced(&mut self) {
        if !self.full.keys().any(|number| self.has_unsynced(*number)) {
            return;
        }
        if let Err(error) = self.pack() {
            warn!(%error, "cannot pack queued states whose sync failed; will retry");
        }
        self.forget_removed();
    }

    /// Returns the full segments that must be packed now, oldest first: those that are too many,
    /// and those with states that no sync covers, because a write or a sync of the segment failed.
    fn segments_to_pack(&self) -> Result<Vec<u64>, Error> {
        let most = if self.is_nearly_full() { 0 } else { self.options.journal_bytes };
        let lengths = self.catalog.segments.keys().map(|number| {
            let length = self.full.get(number).map_or(Ok(0), |file| Ok(file.metadata()?.len()));
            length.map(|length| (*number, length))
        });
        let lengths = lengths.collect::<Result<Vec<_>, Error>>()?;
        let blocks_in = |number: u64| self.index.blocks_in_segment(number);
        let mut bytes: u64 = lengths.iter().map(|(_, length)| length).sum();
        let mut blocks: usize = lengths.iter().map(|(number, _)| blocks_in(*number)).sum();
        let mut chosen = Vec::new();
        for (number, length) in lengths {
            if bytes > most || blocks > JOURNAL_BLOCKS_MAX || self.has_unsynced(number) {
                (bytes, blocks) = (bytes - length, blocks - blocks_in(number));
                chosen.push(number);
            }
        }
        Ok(chosen)
    }

    fn has_unsynced(&self, segment: u64) -> bool {
        self.unsynced.iter().any(|one| {
            let location = self.index.get(one.key).map(|meta| meta.location);
            matches!(location, Some(Location::Segment { number, .. }) if number == segment)
        })
    }

    /// Writes the queued states of these blocks to a store, in blocks as large as allowed. Only one
    /// block at a time is in memory.
    fn merge(
        &mut self,
        entries: &[IndexEntry],
        builder: &mut StoreBuilder,
    ) -> Result<Vec<(BlockKey, BlockFacts)>, Error> {
        let (mut packed, mut bytes) = (Vec::new(), 0);
        let mut current: Option<Block> = None;
        let mut finish = |block: Block| -> Result<(), Error> {
            builder.insert(block.key(), &block.encode())?;
            packed.push((block.key(), block.facts()));
            Ok(())
        };
        for entry in entries {
            let meta = entry.meta;
            let block = self.block(*entry)?;
            let queue = self.catalog.queues.get(block.device.as_bytes());
            let queue = queue.cloned().unwrap_or_default();
            for (sequence, record) in (block.first..).zip(block.records) {
                if queue.removed.contains(sequence) {
                    continue;
                }
                bytes += record.json.len();
                let fits = |one: &&mut Block| {
                    one.device == block.device
                        && one.last() + 1 == sequence
                        && one.priority() == meta.priority
                        && bytes <= BLOCK_BYTES_MAX
                };
                if let Some(current) = current.as_mut().filter(fits) {
                    current.records.push(record);
                    continue;
                }
                bytes = record.json.len();
                let BlockKey { device, .. } = entry.key;
                let records = vec![record];
                let next = Block { commit: meta.commit, device, first: sequence, records };
                current.replace(next).map_or(Ok(()), &mut finish)?;
            }
        }
        current.map_or(Ok(()), &mut finish)?;
        Ok(packed)
    }

    /// Removes the segments and stores without queued states.
    pub(crate) fn remove_empty_files(&mut self) {
        let index = &self.index;
        let stores = self.catalog.stores.keys().copied();
        let segments = self.catalog.segments.keys().copied();
        let delta = Delta {
            stores_removed: stores.filter(|one| index.is_store_empty(*one)).collect(),
            segments_removed: segments.filter(|one| index.blocks_in_segment(*one) == 0).collect(),
            ..Delta::default()
        };
        if delta.stores_removed.is_empty() && delta.segments_removed.is_empty() {
            return;
        }
        if let Err(error) = self.remove_files(&delta) {
            info!(%error, "cannot remove empty files of the outbox; will retry");
        }
    }

    /// Writes the removal of files to the journal, then removes the files.
    fn remove_files(&mut self, delta: &Delta) -> Result<(), Error> {
        self.append_frame(&postcard::to_stdvec(delta)?, &[], true)?;
        self.catalog.apply(delta);
        for segment in &delta.segments_removed {
            self.full.remove(segment);
            release(&self.directory, *segment, self.options.segment_bytes)?;
        }
        for store in &delta.stores_removed {
            self.stores.remove(*store)?;
        }
        Ok(())
    }
}
