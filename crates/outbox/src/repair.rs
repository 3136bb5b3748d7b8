//! Damage that is found while the outbox is open.
//!
//! A group that cannot be read must not hold up what stands behind it, nor keep its file from being packed or removed. So
//! everything that waits is read once. What is damaged is set aside; of a generation, what is still whole in the bytes of its
//! files goes back into the journal; the rest is gone, and the difference to the ledger counts as dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use tracing::{error, warn};

use super::block::{Group, find_all};
use super::disk::Disk;
use super::index::{Home, Key, Spot};
use super::segment::file_of;
use super::transaction::Draft;
use super::{Amount, Error};
use tidegate_model::{DeviceId, Ledger, Name, Reason};

/// How many damaged files and generations are set aside; more are removed.
const DAMAGED_MAX: usize = 8;

/// What a look at all that waits found.
#[derive(Default)]
struct Found {
    amounts: BTreeMap<DeviceId, Amount>,
    /// Readings that wait, for each bus.
    waiting: BTreeMap<Name, u64>,
    lost: Vec<(Key, Spot)>,
}

impl Disk {
    /// Lets go of what cannot be read, and counts it.
    ///
    /// # Errors
    /// When something cannot be read for another reason than damage, or the disk takes nothing. Nothing is let go then.
    pub(super) fn mend(&mut self) -> Result<(), Error> {
        let mut damaged = Vec::new();
        for number in self.state.generations.keys().copied().collect::<Vec<_>>() {
            if self.is_damaged(number)? {
                self.rescue(number)?;
                damaged.push(self.generations.path(number));
            }
        }
        let found = self.look()?;
        let segments: BTreeSet<_> =
            found.lost.iter().filter_map(|(_, spot)| segment(spot)).collect();
        damaged.extend(segments.into_iter().map(|number| file_of(&self.directory, number)));
        let mut draft = Draft::default();
        let range = |(key, spot): &(Key, Spot)| (*key.0.as_bytes(), key.1, spot.last);
        draft.change.gone = found.lost.iter().map(range).collect();
        draft.change.ledger = self.state.ledger.clone();
        balance(&mut draft.change.ledger, &found.waiting);
        self.generations.close();
        for path in &damaged {
            self.set_aside(path);
        }
        self.write(&draft, true)?;
        for (device, lane) in &mut self.state.lanes {
            let amount = found.amounts.get(&DeviceId::from(*device));
            lane.amount = amount.copied().unwrap_or_default();
        }
        self.tidy();
        Ok(())
    }

    /// Reads everything that waits.
    fn look(&mut self) -> Result<Found, Error> {
        let mut found = Found::default();
        for (key, spot) in self.index.all() {
            let group = match self.group(key, spot) {
                Err(error) if error.is_damage() => {
                    found.lost.push((key, spot));
                    continue;
                }
                group => group?,
            };
            let gone = self.state.lanes.get(key.0.as_bytes()).map(|lane| &lane.gone);
            let amount = found.amounts.entry(key.0).or_default();
            for (sequence, record) in (group.first..).zip(&group.records) {
                if gone.is_none_or(|gone| !gone.covers(sequence, sequence)) {
                    amount.add(record);
                    *found.waiting.entry(record.bus.clone()).or_default() +=
                        u64::from(record.readings);
                }
            }
        }
        Ok(found)
    }

    /// Whether something that waits in a generation cannot be read.
    fn is_damaged(&mut self, number: u64) -> Result<bool, Error> {
        let mut spots = self.index.all();
        spots.retain(|(_, spot)| spot.home == Home::Generation(number));
        for (key, spot) in spots {
            match self.group(key, spot) {
                Err(error) if error.is_damage() => return Ok(true),
                group => drop(group?),
            }
        }
        Ok(false)
    }

    /// Puts what is whole of a damaged generation back into the journal.
    fn rescue(&mut self, number: u64) -> Result<(), Error> {
        let raw = self.generations.raw(number)?;
        let groups = raw.iter().flat_map(|file| find_all(file)).map(Group::decode);
        let mut draft = Draft::default();
        for group in groups.filter_map(Result::ok) {
            let spot = self.index.at(group.device, group.first);
            let is_here = spot.is_some_and(|(key, spot)| {
                (key.1, spot.last) == (group.first, group.last())
                    && spot.home == Home::Generation(number)
            });
            let is_new = |one: &Group| (one.device, one.first) != (group.device, group.first);
            if is_here && draft.groups.iter().all(is_new) {
                // It waits already, and is counted again where it is put.
                let counted = draft.removed.entry(*group.device.as_bytes()).or_default();
                group.records.iter().for_each(|record| counted.add(record));
                draft.groups.push(group);
            }
        }
        self.write(&draft, true).inspect_err(|_| self.generations.keep(number, raw))
    }

    /// Keeps something damaged for those who want to look into it: a copy of a file, or a directory itself.
    pub(super) fn set_aside(&self, path: &Path) {
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
            warn!(%error, "a damaged part of the outbox cannot be kept");
        }
    }
}

fn segment(spot: &Spot) -> Option<u64> {
    match spot.home {
        Home::Segment { number, .. } => Some(number),
        Home::Generation(_) => None,
    }
}

/// Makes the ledger agree with what waits: readings that it expects here and that are not here were damaged; readings that
/// it does not know were received, and their entry was lost.
pub(super) fn balance(ledger: &mut Ledger, waiting: &BTreeMap<Name, u64>) {
    for bus in waiting.keys() {
        ledger.entry(bus.clone()).or_default();
    }
    for (bus, account) in ledger {
        let (here, expected) = (waiting.get(bus).copied().unwrap_or(0), account.waiting());
        if here < expected {
            let lost = expected - here;
            error!(%bus, readings = lost, "readings in the outbox were damaged and are lost");
            *account.dropped.entry(Reason::Damaged).or_default() += lost;
        } else {
            account.received += here - expected;
            account.outbox_in += here - expected;
        }
    }
}
