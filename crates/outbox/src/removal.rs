//! Removes states from their queues, and counts them in the ledger.

use std::collections::BTreeMap;

use super::disk::Disk;
use super::error::Error;
use super::ranges::SequenceRange;
use super::transaction::Transaction;
use super::types::{Amount, IgnoredValues};
use tidegate_model::{Account, DeviceId, Reason};

/// Why a state leaves its queue.
#[derive(Debug, Clone, Copy)]
pub(super) enum Removal<'a> {
    /// Losant confirmed the state. It was sent without the ignored values.
    Stored(&'a IgnoredValues),
    /// One state that Losant does not accept: the numbers of its values by reason.
    Rejected(&'a BTreeMap<Reason, u64>),
    Dropped(Reason),
}

impl Removal<'_> {
    /// Returns whether the states in this range cannot be counted together.
    fn has_details(self, first: u64, last: u64) -> bool {
        matches!(self, Self::Stored(ignored) if ignored.range(first..=last).next().is_some())
    }

    fn count(self, account: &mut Account, sequence: u64, readings: u64) {
        match self {
            Self::Stored(ignored) => {
                let mut stored = readings;
                for (reason, values) in ignored.get(&sequence).into_iter().flatten() {
                    let values = (*values).min(stored);
                    stored -= values;
                    *account.rejected.entry(*reason).or_default() += values;
                }
                account.stored += stored;
            }
            Self::Rejected(values) => {
                for (reason, values) in values {
                    *account.rejected.entry(*reason).or_default() += values;
                }
            }
            Self::Dropped(reason) => *account.dropped.entry(reason).or_default() += readings,
        }
    }
}

impl Transaction {
    /// Removes the queued states of a device in this range. Returns how much that is; states that
    /// left the queue before are not counted again.
    ///
    /// # Errors
    /// [`Error::TooManyRanges`] if the device would have too many separate ranges, except for
    /// dropped states; and when a block cannot be read.
    pub(super) fn remove(
        &mut self,
        disk: &mut Disk,
        device: DeviceId,
        range: SequenceRange,
        removal: Removal<'_>,
    ) -> Result<Amount, Error> {
        let mut amount = Amount::default();
        let queue = disk.catalog.queues.get(device.as_bytes());
        let Some(queue) = queue else { return Ok(amount) };
        let (first, last) = (range.first, range.last.min(queue.last));
        let before = self.removed_ranges.get(device.as_bytes()).unwrap_or(&queue.removed).clone();
        let mut after = before.clone();
        match removal {
            Removal::Dropped(_) => after.merge(first, last),
            Removal::Stored(_) | Removal::Rejected(_) if after.insert(first, last) => {}
            Removal::Stored(_) | Removal::Rejected(_) => return Err(Error::TooManyRanges),
        }
        let touched = disk.index.from(device, first);
        let touched: Vec<_> = touched.take_while(|entry| entry.key.first <= last).collect();
        for entry in touched {
            let (begin, end) = (entry.key.first, entry.meta.last);
            let is_whole = first <= begin && end <= last && !before.has_any(begin, end);
            let totals = disk.index.totals(&entry).filter(|_| is_whole);
            if let Some((bus, all)) = totals.filter(|_| !removal.has_details(begin, end)) {
                amount = amount.plus(all);
                self.count_removed(*device.as_bytes(), bus, all);
                removal.count(self.account(&disk.catalog, bus), begin, all.readings);
                continue;
            }
            let block = disk.block(entry)?;
            for (sequence, record) in (block.first..=last).zip(&block.records) {
                if sequence >= first && !before.contains(sequence) {
                    amount = amount.plus(record.amount());
                    self.count_removed(*device.as_bytes(), &record.bus, record.amount());
                    let account = self.account(&disk.catalog, &record.bus);
                    removal.count(account, sequence, record.readings.into());
                }
            }
        }
        self.delta.remove(*device.as_bytes(), first.max(1), last);
        self.removed_ranges.insert(*device.as_bytes(), after);
        Ok(amount)
    }
}
