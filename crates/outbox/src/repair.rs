//! Repairs an open outbox after it found damage.
//!
//! A damaged block must not block the states behind it, nor keep its file from being packed or
//! removed. The repair reads all queued states once. It keeps a copy of damaged files, salvages the
//! undamaged blocks of a damaged store into the journal, removes the unreadable blocks from the
//! queues, and counts the difference to the ledger as dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use tracing::warn;

use super::block::{Block, find_all};
use super::catalog::balance;
use super::disk::Disk;
use super::error::Error;
use super::index::{IndexEntry, Location};
use super::segment::file_of;
use super::transaction::Transaction;
use super::types::Amount;
use tidegate_model::{DeviceId, Name};

/// The most damaged files and stores that are kept; further ones are removed.
const DAMAGED_MAX: usize = 8;

/// The result of reading all queued states.
#[derive(Default)]
struct Survey {
    amounts: BTreeMap<DeviceId, Amount>,
    /// Readings in queued states, for each bus.
    waiting: BTreeMap<Name, u64>,
    unreadable: Vec<IndexEntry>,
}

impl Disk {
    /// Removes unreadable states from their queues, and counts them as dropped.
    ///
    /// # Errors
    /// When a block cannot be read for another reason than damage, or the disk cannot be written.
    /// Then nothing is removed.
    pub(super) fn repair(&mut self) -> Result<(), Error> {
        let mut damaged = Vec::new();
        for number in self.catalog.stores.keys().copied().collect::<Vec<_>>() {
            if self.is_store_damaged(number)? {
                self.salvage_store(number)?;
                damaged.push(self.stores.path(number));
            }
        }
        let survey = self.survey()?;
        let segments: BTreeSet<_> = survey.unreadable.iter().filter_map(segment_of).collect();
        damaged.extend(segments.into_iter().map(|number| file_of(&self.directory, number)));
        let transaction = self.removal_of(&survey);
        self.stores.close();
        for path in &damaged {
            self.keep_damaged(path);
        }
        self.write(&transaction, true)?;
        self.catalog.set_amounts(&survey.amounts);
        self.remove_empty_files();
        Ok(())
    }

    /// Returns the transaction that removes unreadable states and balances the ledger.
    fn removal_of(&self, survey: &Survey) -> Transaction {
        let mut transaction = Transaction::default();
        for IndexEntry { key, meta } in &survey.unreadable {
            transaction.delta.remove(*key.device.as_bytes(), key.first, meta.last);
        }
        transaction.delta.ledger = self.catalog.ledger.clone();
        balance(&mut transaction.delta.ledger, &survey.waiting);
        for (bus, readings) in &self.catalog.waiting {
            let left = survey.waiting.get(bus).copied().unwrap_or_default();
            transaction.removed_readings.insert(bus.clone(), readings.saturating_sub(left));
        }
        transaction
    }

    /// Reads all queued states.
    fn survey(&mut self) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        for entry in self.index.all() {
            let block = match self.block(entry) {
                Err(error) if error.is_damage() => {
                    survey.unreadable.push(entry);
                    continue;
                }
                block => block?,
            };
            let queue = self.catalog.queues.get(block.device.as_bytes());
            let amount = survey.amounts.entry(block.device).or_default();
            for (sequence, record) in (block.first..).zip(&block.records) {
                if queue.is_none_or(|queue| !queue.removed.contains(sequence)) {
                    *amount = amount.plus(record.amount());
                    *survey.waiting.entry(record.bus.clone()).or_default() +=
                        u64::from(record.readings);
                }
            }
        }
        Ok(survey)
    }

    /// Returns whether a queued block of a store cannot be read.
    fn is_store_damaged(&mut self, number: u64) -> Result<bool, Error> {
        let mut entries = self.index.all();
        entries.retain(|entry| entry.meta.location.is_in_store(number));
        for entry in entries {
            match self.block(entry) {
                Err(error) if error.is_damage() => return Ok(true),
                block => drop(block?),
            }
        }
        Ok(false)
    }

    /// Writes the undamaged blocks of a damaged store to the journal.
    fn salvage_store(&mut self, number: u64) -> Result<(), Error> {
        let raw = self.stores.raw(number)?;
        let blocks = raw.iter().flat_map(|file| find_all(file));
        let mut transaction = Transaction::default();
        for block in blocks.filter_map(|found| Block::decode(found.bytes).ok()) {
            let entry = self.index.at(block.device, block.first);
            let is_here = entry.is_some_and(|entry| {
                entry.key == block.key()
                    && entry.meta.last == block.last()
                    && entry.meta.location.is_in_store(number)
            });
            if is_here && transaction.blocks.iter().all(|one| one.key() != block.key()) {
                // The states are queued already, and the write counts them again.
                for record in &block.records {
                    let device = *block.device.as_bytes();
                    transaction.count_removed(device, &record.bus, record.amount());
                }
                transaction.blocks.push(block);
            }
        }
        self.write(&transaction, true).inspect_err(|_| self.stores.keep_damaged(number, raw))
    }

    /// Keeps something damaged for an investigation: a copy of a file, or a directory itself.
    pub(super) fn keep_damaged(&self, path: &Path) {
        let damaged = self.directory.join("damaged");
        let keep = || {
            fs::create_dir_all(&damaged)?;
            let count = fs::read_dir(&damaged)?.count();
            let name = path.file_name().filter(|_| count < DAMAGED_MAX);
            let Some(name) = name else { return io::Result::Ok(()) };
            let to = damaged.join(format!("{count}-{}", name.to_string_lossy()));
            if path.is_dir() { fs::rename(path, to) } else { fs::copy(path, to).map(drop) }
        };
        if let Err(error) = keep() {
            warn!(%error, "cannot keep a copy of a damaged part of the outbox");
        }
    }
}

fn segment_of(entry: &IndexEntry) -> Option<u64> {
    match entry.meta.location {
        Location::Segment { number, .. } => Some(number),
        Location::Store { .. } => None,
    }
}
