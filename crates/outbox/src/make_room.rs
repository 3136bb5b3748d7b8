//! Decides which new states enter a full outbox, and makes room for them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::disk::Disk;
use super::error::Error;
use super::transaction::Transaction;
use super::types::{NewState, Removed};
use tidegate_model::{Priority, Reason, WhenFull};

/// The states that enter the outbox, and the losses for them.
pub(super) struct Admitted<'a> {
    pub(super) states: Vec<&'a NewState>,
    pub(super) dropped: Removed,
}

impl Transaction {
    /// Makes room for new states. Returns which of them enter the outbox.
    pub(super) fn admit<'a>(
        &mut self,
        disk: &mut Disk,
        states: &'a [NewState],
    ) -> Result<Admitted<'a>, Error> {
        let capacity = disk.capacity();
        let incoming = states.iter().map(bytes_of).sum();
        let dropped = if disk.catalog.bytes().saturating_add(incoming) <= capacity {
            Removed::default()
        } else {
            match disk.options.when_full {
                WhenFull::DropOldest => self.evict(disk, incoming, capacity, None)?,
                WhenFull::Downsample => self.downsample(disk, incoming, capacity)?,
                WhenFull::DropNewest => return self.admit_some(disk, states, capacity),
            }
        };
        Ok(Admitted { states: states.iter().collect(), dropped })
    }

    /// Admits states of a higher priority than queued ones, and then what fits. Drops the rest.
    fn admit_some<'a>(
        &mut self,
        disk: &mut Disk,
        states: &'a [NewState],
        capacity: u64,
    ) -> Result<Admitted<'a>, Error> {
        let mut levels: BTreeMap<Reverse<Priority>, Vec<(usize, &NewState)>> = BTreeMap::new();
        for (place, state) in states.iter().enumerate() {
            levels.entry(Reverse(state.priority)).or_default().push((place, state));
        }
        let (mut admitted, mut bytes, mut dropped) = (Vec::new(), 0, Removed::default());
        for (Reverse(priority), level) in levels {
            let needed = bytes + level.iter().map(|(_, state)| bytes_of(state)).sum::<u64>();
            dropped.add(self.evict(disk, needed, capacity, Some(priority))?);
            for (place, state) in level {
                if self.bytes_after(&disk.catalog) + bytes + bytes_of(state) <= capacity {
                    bytes += bytes_of(state);
                    admitted.push((place, state));
                } else {
                    dropped.add(self.drop_new(disk, state));
                }
            }
        }
        admitted.sort_by_key(|(place, _)| *place);
        Ok(Admitted { states: admitted.into_iter().map(|(_, state)| state).collect(), dropped })
    }

    /// Counts a new state as dropped instead of queued.
    fn drop_new(&mut self, disk: &Disk, state: &NewState) -> Removed {
        let readings = u64::from(state.readings);
        let account = self.account(&disk.catalog, &state.bus);
        *account.dropped.entry(Reason::OutboxFull).or_default() += readings;
        account.outbox_in = account.outbox_in.saturating_sub(readings);
        Removed { states: 1, readings }
    }
}

fn bytes_of(state: &NewState) -> u64 {
    state.json.len() as u64
}
