//! Starts segments, packs full segments into stores, and removes empty files.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::Disk;
use crate::block::{BLOCK_BYTES_MAX, Block};
use crate::catalog::Delta;
use crate::error::Error;
use crate::frame;
use crate::index::{BlockKey, BlockMeta, IndexEntry, Location};
use crate::segment::{Segment, file_of, release};
use crate::store::StoreBuilder;
use crate::sync;

/// Free bytes in a new segment besides the catalog and the frame that it is created for.
const MARGIN_BYTES: usize = 4 << 10;

/// A block that is being merged from others, with the location of the first of them.
struct MergedBlock {
    block: Block,
    location: Location,
}

impl Disk {
    /// Starts another segment, with room for a frame of so many bytes, and packs the full segments.
    ///
    /// # Errors
    /// When no segment can be created. If only the packing fails, that is logged and the states
    /// stay in the journal.
    pub(crate) fn rotate(&mut self, bytes: usize) -> Result<(), Error> {
        if let Some(active) = &self.active {
            let end = active.end;
            if self.first_unsynced().is_some() {
                sync::data(&active.file).inspect_err(|_| self.close_active(end))?;
                self.mark_synced();
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

    /// Packs the queued states of each full segment into a store.
    fn pack(&mut self) -> Result<(), Error> {
        self.remove_empty_files();
        let full: Vec<_> = self.catalog.segments.keys().copied().collect();
        for segment in full {
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
            for IndexEntry { key, meta } in packed {
                let location = Location::Store { number, place: places.get(&key).copied() };
                self.index.insert(key, BlockMeta { location, ..meta });
            }
            self.full.remove(&segment);
            release(&self.directory, segment, self.options.segment_bytes)?;
        }
        Ok(())
    }

    /// Writes the queued states of these blocks to a store, in blocks as large as allowed. Only one
    /// block at a time is in memory.
    fn merge(
        &mut self,
        entries: &[IndexEntry],
        builder: &mut StoreBuilder,
    ) -> Result<Vec<IndexEntry>, Error> {
        let (mut packed, mut bytes) = (Vec::new(), 0);
        let mut current: Option<MergedBlock> = None;
        let mut finish = |MergedBlock { block, location }: MergedBlock| -> Result<(), Error> {
            builder.insert(block.key(), &block.encode())?;
            packed.push(IndexEntry { key: block.key(), meta: block.meta(location) });
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
                let fits = |one: &&mut MergedBlock| {
                    one.block.device == block.device
                        && one.block.last() + 1 == sequence
                        && one.block.priority() == meta.priority
                        && bytes <= BLOCK_BYTES_MAX
                };
                if let Some(current) = current.as_mut().filter(fits) {
                    current.block.records.push(record);
                    continue;
                }
                bytes = record.json.len();
                let BlockKey { device, .. } = entry.key;
                let records = vec![record];
                let block = Block { commit: meta.commit, device, first: sequence, records };
                let next = MergedBlock { block, location: meta.location };
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
            segments_removed: segments.filter(|one| index.is_segment_empty(*one)).collect(),
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
