//! Evicts states when the outbox is full, and expires states that are too old.

use rustix::fs::fstatvfs;

use super::catalog::Catalog;
use super::disk::Disk;
use super::error::Error;
use super::index::IndexEntry;
use super::ranges::SequenceRange;
use super::removal::Removal;
use super::transaction::Transaction;
use super::types::Removed;
use tidegate_model::{DeviceId, Priority, Reason, WallTime};

/// The most blocks of a device that expire in one transaction: each of them is read first.
const EXPIRED_BLOCKS_MAX: usize = 256;

impl Disk {
    /// Returns the most bytes of states that may be queued. While the file system is nearly full,
    /// that is what is queued already, or what fits into the segment that exists anyway.
    pub(super) fn capacity(&self) -> u64 {
        let current = self.catalog.bytes().max(self.options.segment_bytes);
        let most = if self.is_nearly_full() { current } else { u64::MAX };
        self.options.bytes_max.min(most)
    }

    /// Returns whether the file system has less free space than configured.
    pub(super) fn is_nearly_full(&self) -> bool {
        let least = self.options.free_bytes_min;
        least > 0 && fstatvfs(&self.lock).is_ok_and(|space| space.f_bavail * space.f_frsize < least)
    }
}

impl Transaction {
    /// Returns the bytes of the states that are queued now and after this transaction.
    pub(super) fn bytes_after(&self, catalog: &Catalog) -> u64 {
        let removed: u64 = self.removed.values().map(|amount| amount.bytes).sum();
        catalog.bytes().saturating_sub(removed)
    }

    /// Drops blocks until `incoming` bytes fit into `capacity`: low priority first, and the oldest
    /// first among equals. With `below`, drops only blocks of a lower priority. A commit that is
    /// larger than the outbox evicts everything.
    pub(super) fn evict(
        &mut self,
        disk: &mut Disk,
        incoming: u64,
        capacity: u64,
        below: Option<Priority>,
    ) -> Result<Removed, Error> {
        let needed = self.bytes_after(&disk.catalog) + incoming;
        let mut excess = needed.saturating_sub(capacity);
        let mut dropped = Removed::default();
        if excess == 0 {
            return Ok(dropped);
        }
        // Each block holds at least one queued byte, so as many blocks as bytes are enough.
        let count = usize::try_from(excess).unwrap_or(usize::MAX);
        let is_below = |priority: Priority| below.is_none_or(|below| priority < below);
        let victims = disk.index.by_eviction_order();
        let victims = victims.take_while(|entry| is_below(entry.meta.priority));
        let victims: Vec<_> = victims.take(count).collect();
        for IndexEntry { key, meta } in victims {
            if excess == 0 {
                break;
            }
            let range = SequenceRange { first: key.first, last: meta.last };
            let removal = Removal::Dropped(Reason::OutboxFull);
            let amount = self.remove(disk, key.device, range, removal)?;
            excess = excess.saturating_sub(amount.bytes);
            dropped.add(amount.into());
        }
        Ok(dropped)
    }

    /// Drops the blocks whose states were all measured before `time`: for each device from the
    /// oldest block to the first that is newer.
    pub(super) fn expire(&mut self, disk: &mut Disk, time: WallTime) -> Result<Removed, Error> {
        let mut dropped = Removed::default();
        let devices = disk.catalog.queues.keys().map(|device| DeviceId::from(*device));
        for device in devices.collect::<Vec<_>>() {
            let entries: Vec<_> = disk.index.from(device, 0).take(EXPIRED_BLOCKS_MAX).collect();
            for entry in entries {
                let block = disk.block(entry)?;
                let is_old = |moment: Option<WallTime>| moment.is_some_and(|moment| moment < time);
                if !block.records.iter().all(|record| is_old(record.moment.wall())) {
                    break;
                }
                let range = SequenceRange { first: entry.key.first, last: entry.meta.last };
                let removal = Removal::Dropped(Reason::TooOld);
                dropped.add(self.remove(disk, device, range, removal)?.into());
            }
        }
        Ok(dropped)
    }
}
