//! The location of each block. Memory holds one entry for each block of a backlog, not for each
//! state.
//!
//! Invariants, which [`Index::violation`] checks: the blocks of a device do not overlap, the
//! eviction order holds each block once, and the counts per segment and store agree with the
//! blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::types::Amount;
use tidegate_model::{DeviceId, Name, Priority};

/// The most buses that the index knows by number.
const BUSES_MAX: usize = 256;

/// Identifies a block: its device and its first sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockKey {
    pub(super) device: DeviceId,
    pub(super) first: u64,
}

/// The facts about a block that memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockMeta {
    /// The last sequence number of the block.
    pub(super) last: u64,
    pub(super) location: Location,
    pub(super) priority: Priority,
    pub(super) commit: u64,
    /// All records of the block; `None` if they are of several buses.
    totals: Option<Totals>,
}

/// How much a block of one bus holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Totals {
    /// The place of the bus in the list of the index.
    bus: u16,
    readings: u32,
    bytes: u32,
}

/// The facts about a block, besides its key and its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockFacts {
    /// The last sequence number of the block.
    pub(super) last: u64,
    pub(super) priority: Priority,
    pub(super) commit: u64,
    /// The bus of all records; `None` if there are several.
    pub(super) bus: Option<Name>,
    pub(super) amount: Amount,
}

/// Where a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    Segment {
        number: u64,
        offset: u32,
        /// In bytes.
        length: u32,
    },
    Store {
        number: u64,
        /// Where the files of the store hold the block; `None` if only sled finds it.
        place: Option<StorePlace>,
    },
}

/// A range of bytes in a file of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StorePlace {
    /// The number of the file of one large value; `None` for the file of the database.
    pub(super) blob: Option<NonZeroU32>,
    pub(super) offset: u32,
    /// In bytes.
    pub(super) length: NonZeroU32,
}

impl Location {
    /// Returns a place in a segment. Segments are far below 4 GiB; a place behind that would be
    /// damaged.
    pub(super) fn in_segment(number: u64, offset: u64, length: usize) -> Self {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        Self::Segment { number, offset, length: u32::try_from(length).unwrap_or(u32::MAX) }
    }

    /// Returns whether the block is in this store.
    pub(super) fn is_in_store(self, store: u64) -> bool {
        matches!(self, Self::Store { number, .. } if number == store)
    }
}

/// A block in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) key: BlockKey,
    pub(super) meta: BlockMeta,
}

/// The blocks with at least one queued state.
#[derive(Debug, Default)]
pub(super) struct Index {
    blocks: BTreeMap<BlockKey, BlockMeta>,
    /// The order of eviction: low priority first, then the oldest commit.
    order: BTreeSet<(Priority, u64, BlockKey)>,
    /// The number of blocks in each segment.
    segments: BTreeMap<u64, usize>,
    /// The number of blocks in each store.
    stores: BTreeMap<u64, usize>,
    /// The buses that blocks came from, at most [`BUSES_MAX`]. Blocks of further ones have no
    /// totals.
    buses: Vec<Name>,
}

impl Index {
    /// Adds a block, and replaces the block with the same key.
    pub(super) fn insert(&mut self, key: BlockKey, facts: &BlockFacts, location: Location) {
        self.remove(key);
        let BlockFacts { last, priority, commit, bus, amount } = facts;
        let totals = bus.as_ref().and_then(|bus| {
            let (readings, bytes) =
                (amount.readings.try_into().ok()?, amount.bytes.try_into().ok()?);
            Some(Totals { bus: self.bus_number(bus)?, readings, bytes })
        });
        let (last, priority, commit) = (*last, *priority, *commit);
        let meta = BlockMeta { last, location, priority, commit, totals };
        debug_assert!(
            key.first <= meta.last && !self.has_any(key.device, key.first, meta.last),
            "block {key:?} with {meta:?} is empty or overlaps another block"
        );
        self.order.insert((meta.priority, meta.commit, key));
        *self.count_mut(meta.location) += 1;
        self.blocks.insert(key, meta);
    }

    /// Removes a block, if the index has it.
    pub(super) fn remove(&mut self, key: BlockKey) {
        let Some(meta) = self.blocks.remove(&key) else { return };
        self.order.remove(&(meta.priority, meta.commit, key));
        *self.count_mut(meta.location) -= 1;
    }

    fn bus_number(&mut self, bus: &Name) -> Option<u16> {
        let known = self.buses.iter().position(|one| one == bus);
        let number = known.or_else(|| {
            let is_new = self.buses.len() < BUSES_MAX;
            is_new.then(|| {
                self.buses.push(bus.clone());
                self.buses.len() - 1
            })
        });
        number.and_then(|number| u16::try_from(number).ok())
    }

    /// Returns the bus of all records of a block and how much they are, if it is one bus.
    pub(super) fn totals(&self, IndexEntry { key, meta }: &IndexEntry) -> Option<(&Name, Amount)> {
        let Totals { bus, readings, bytes } = meta.totals?;
        let states = meta.last + 1 - key.first;
        let amount = Amount { states, readings: readings.into(), bytes: bytes.into() };
        self.buses.get(usize::from(bus)).map(|bus| (bus, amount))
    }

    fn count_mut(&mut self, location: Location) -> &mut usize {
        match location {
            Location::Segment { number, .. } => self.segments.entry(number).or_default(),
            Location::Store { number, .. } => self.stores.entry(number).or_default(),
        }
    }

    /// Iterates over the blocks of a device, from the block that holds `sequence`, or the next one.
    pub(super) fn from(&self, device: DeviceId, sequence: u64) -> impl Iterator<Item = IndexEntry> {
        let at = |first| BlockKey { device, first };
        let before = self.blocks.range(at(0)..=at(sequence)).next_back();
        let start = before.filter(|(_, meta)| meta.last >= sequence);
        let start = start.map_or(sequence, |(key, _)| key.first);
        self.blocks.range(at(start)..=at(u64::MAX)).map(|(key, meta)| entry(key, meta))
    }

    /// Returns the entry of a block.
    pub(super) fn get(&self, key: BlockKey) -> Option<BlockMeta> {
        self.blocks.get(&key).copied()
    }

    /// Records where the files of its store hold a block.
    pub(super) fn set_place(&mut self, key: BlockKey, found: StorePlace) {
        let location = self.blocks.get_mut(&key).map(|meta| &mut meta.location);
        if let Some(Location::Store { place, .. }) = location {
            *place = Some(found);
        }
    }

    /// Returns the number of blocks.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns all blocks, ordered by device and sequence number.
    pub(super) fn all(&self) -> Vec<IndexEntry> {
        self.blocks.iter().map(|(key, meta)| entry(key, meta)).collect()
    }

    /// Returns the block that holds this state, or the next block of the device.
    pub(super) fn at(&self, device: DeviceId, sequence: u64) -> Option<IndexEntry> {
        self.from(device, sequence).next()
    }

    /// Returns whether a block holds at least one of these states.
    pub(super) fn has_any(&self, device: DeviceId, first: u64, last: u64) -> bool {
        self.at(device, first).is_some_and(|entry| entry.key.first <= last)
    }

    /// Iterates over the blocks in the order of eviction.
    pub(super) fn by_eviction_order(&self) -> impl Iterator<Item = IndexEntry> {
        self.order
            .iter()
            .filter_map(|(_, _, key)| self.blocks.get_key_value(key))
            .map(|(key, meta)| entry(key, meta))
    }

    /// Returns the blocks of a segment, ordered by device and sequence number.
    pub(super) fn in_segment(&self, segment: u64) -> Vec<IndexEntry> {
        let is_here = |meta: &BlockMeta| match meta.location {
            Location::Segment { number, .. } => number == segment,
            Location::Store { .. } => false,
        };
        self.blocks
            .iter()
            .filter(|(_, meta)| is_here(meta))
            .map(|(key, meta)| entry(key, meta))
            .collect()
    }

    /// Returns the number of blocks in a segment.
    pub(super) fn blocks_in_segment(&self, number: u64) -> usize {
        self.segments.get(&number).copied().unwrap_or_default()
    }

    pub(super) fn is_store_empty(&self, number: u64) -> bool {
        self.stores.get(&number).is_none_or(|blocks| *blocks == 0)
    }

    /// Returns the first invariant that does not hold. Takes time in proportion to the blocks.
    pub(super) fn violation(&self) -> Option<&'static str> {
        if self.blocks.iter().any(|(key, meta)| meta.last < key.first) {
            return Some("a block is empty");
        }
        let follows = |((before, meta), (after, _)): ((&BlockKey, &BlockMeta), (&BlockKey, _))| {
            before.device != after.device || meta.last < after.first
        };
        if !self.blocks.iter().zip(self.blocks.iter().skip(1)).all(follows) {
            return Some("two blocks of a device overlap");
        }
        let is_ordered = |(key, meta): (&BlockKey, &BlockMeta)| {
            self.order.contains(&(meta.priority, meta.commit, *key))
        };
        if self.order.len() != self.blocks.len() || !self.blocks.iter().all(is_ordered) {
            return Some("the eviction order does not hold each block once");
        }
        let mut counted = Self::default();
        self.blocks.values().for_each(|meta| *counted.count_mut(meta.location) += 1);
        let used = |counts: &BTreeMap<u64, usize>| {
            let used = counts.iter().filter(|(_, blocks)| **blocks > 0);
            used.map(|(number, blocks)| (*number, *blocks)).collect::<Vec<_>>()
        };
        if used(&self.segments) != used(&counted.segments) {
            return Some("the counts per segment do not agree with the blocks");
        }
        let is_store_count_wrong = used(&self.stores) != used(&counted.stores);
        is_store_count_wrong.then_some("the counts per store do not agree with the blocks")
    }
}

fn entry(key: &BlockKey, meta: &BlockMeta) -> IndexEntry {
    IndexEntry { key: *key, meta: *meta }
}
