//! Moves states that Losant does not accept to the rejects, lists, requeues and deletes them.

use std::collections::{BTreeMap, BTreeSet};

use tracing::error;

use super::block::Record;
use super::disk::Disk;
use super::error::Error;
use super::outbox::Outbox;
use super::ranges::SequenceRange;
use super::removal::Removal;
use super::types::{Reject, Removed};
use tidegate_model::{DeviceId, Reason, WallTime};

/// The stored length of Losant's message about a rejected state, in characters.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Why Losant would ignore a queued state as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The sequence number of the state.
    pub sequence: u64,
    /// The reason of the first value, or of all.
    pub reason: Reason,
    /// The numbers of the values that have another reason.
    pub other_reasons: BTreeMap<Reason, u64>,
    /// The reason in words.
    pub message: String,
}

impl Outbox {
    /// Moves a queued state to the rejects, with the message of the server.
    ///
    /// # Errors
    /// [`Error::NotQueued`] if the state is not in its queue, and when the disk fails; then nothing
    /// is changed.
    pub fn reject(
        &self,
        device: DeviceId,
        sequence: u64,
        message: &str,
        time: WallTime,
    ) -> Result<(), Error> {
        let (reason, other_reasons) = (Reason::RefusedByCloud, BTreeMap::new());
        let message = message.to_owned();
        self.quarantine(device, &Refusal { sequence, reason, other_reasons, message }, time)
    }

    /// Moves a queued state to the rejects, because Losant would ignore it.
    ///
    /// # Errors
    /// As [`Outbox::reject`].
    pub fn quarantine(
        &self,
        device: DeviceId,
        refusal: &Refusal,
        time: WallTime,
    ) -> Result<(), Error> {
        let sequence = refusal.sequence;
        self.change(true, |transaction, disk| {
            let record = find(disk, device, sequence)?.ok_or(Error::NotQueued(sequence))?;
            let range = SequenceRange { first: sequence, last: sequence };
            let reject = Reject {
                number: 0,
                device,
                bus: record.bus,
                moment: record.moment,
                priority: record.priority,
                readings: record.readings,
                reason: refusal.reason,
                other_reasons: refusal.other_reasons.clone(),
                why: refusal.message.chars().take(MESSAGE_CHARS_MAX).collect(),
                time: time.to_string(),
                state: String::from_utf8_lossy(&record.json).into_owned(),
            };
            let removal = Removal::Rejected(&reject.values_by_reason());
            transaction.remove(disk, device, range, removal)?;
            let encoded = serde_json::to_vec(&reject).map_err(Error::EncodeReject)?;
            transaction.delta.rejects.push(encoded);
            Ok(())
        })
    }

    /// Returns the rejects, newest first.
    ///
    /// # Errors
    /// None today. Another storage of the rejects may fail.
    pub fn rejects(&self, limit: usize) -> Result<Vec<Reject>, Error> {
        let disk = self.disk();
        let newest_first = disk.catalog.rejects.iter().rev();
        let decoded = newest_first.filter_map(|(number, bytes)| decode(*number, bytes));
        Ok(decoded.take(limit).collect())
    }

    /// Appends rejects to their queues again, with their original time, and stops counting them as
    /// rejected. Skips unknown numbers. Returns how many were requeued.
    ///
    /// # Errors
    /// When the disk is full or broken; then nothing is changed.
    pub fn requeue(&self, numbers: &[u64]) -> Result<Removed, Error> {
        self.change(true, |transaction, disk| {
            let rejects = &disk.catalog.rejects;
            let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
            let chosen = numbers.iter().filter_map(|number| rejects.get_key_value(number));
            let chosen: Vec<_> =
                chosen.filter_map(|(number, bytes)| decode(*number, bytes)).collect();
            let readings = chosen.iter().map(|reject| u64::from(reject.readings)).sum();
            let requeued = Removed { states: chosen.len() as u64, readings };
            transaction.requeue(&disk.catalog, chosen);
            Ok(requeued)
        })
    }

    /// Deletes rejects; they stay counted as rejected. Skips unknown numbers.
    ///
    /// # Errors
    /// When the disk is full or broken; then nothing is changed.
    pub fn delete_rejects(&self, numbers: &[u64]) -> Result<Removed, Error> {
        self.change(true, |transaction, disk| {
            let rejects = &disk.catalog.rejects;
            let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
            let known = numbers.into_iter().filter(|number| rejects.contains_key(number));
            transaction.delta.rejects_deleted = known.collect();
            let states = transaction.delta.rejects_deleted.len() as u64;
            Ok(Removed { states, readings: 0 })
        })
    }
}

/// Decodes a stored reject.
fn decode(number: u64, bytes: &[u8]) -> Option<Reject> {
    match serde_json::from_slice::<Reject>(bytes) {
        Ok(reject) => Some(Reject { number, ..reject }),
        Err(error) => {
            error!(%error, number, "cannot decode a rejected state; skipping it");
            None
        }
    }
}

/// Reads a queued state.
fn find(disk: &mut Disk, device: DeviceId, sequence: u64) -> Result<Option<Record>, Error> {
    let queue = disk.catalog.queues.get(device.as_bytes());
    let is_removed = queue.is_none_or(|queue| queue.removed.contains(sequence));
    let entry = disk.index.at(device, sequence);
    let Some(entry) = entry.filter(|entry| !is_removed && entry.key.first <= sequence) else {
        return Ok(None);
    };
    let block = disk.block(entry)?;
    let mut records = (block.first..).zip(block.records);
    Ok(records.find(|(number, _)| *number == sequence).map(|(_, record)| record))
}
