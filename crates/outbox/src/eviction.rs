//! What goes when there is no room for all, and what is too old to stay.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rustix::fs::fstatvfs;

use super::disk::Disk;
use super::transaction::{Draft, Fate};
use super::{Error, Pending, Removed};
use tidegate_model::{DeviceId, Priority, Reason, WallTime, WhenFull};

/// How many groups of a device go at once because they are too old: each is read first.
const EXPIRED_MAX: usize = 256;

impl Disk {
    /// The most bytes of states that may wait now. A file system that is nearly full takes no more than it has of ours, or than
    /// fits into the segment that is there anyway.
    fn room(&self) -> u64 {
        let least = self.options.free_bytes_min;
        let is_tight = least > 0
            && fstatvfs(&self.lock).is_ok_and(|space| space.f_bavail * space.f_frsize < least);
        let kept = self.state.bytes().max(self.options.segment_bytes);
        let most = if is_tight { kept } else { u64::MAX };
        self.options.bytes_max.min(most)
    }
}

impl Draft {
    /// Makes room for what comes, and tells which of it is taken and what had to go.
    pub(super) fn admit<'a>(
        &mut self,
        disk: &mut Disk,
        states: &'a [Pending],
    ) -> Result<(Vec<&'a Pending>, Removed), Error> {
        let room = disk.room();
        let incoming = states.iter().map(bytes_of).sum();
        if disk.state.bytes().saturating_add(incoming) <= room {
            return Ok((states.iter().collect(), Removed::default()));
        }
        match disk.options.when_full {
            WhenFull::DropOldest => {
                let dropped = self.make_room(disk, incoming, room, None)?;
                Ok((states.iter().collect(), dropped))
            }
            WhenFull::Downsample => {
                let gone = self.thin(disk, incoming, room)?;
                Ok((states.iter().collect(), gone))
            }
            WhenFull::DropNewest => self.admit_some(disk, states, room),
        }
    }

    /// Takes what is worth more than what waits, and of the rest what fits; the others are dropped.
    fn admit_some<'a>(
        &mut self,
        disk: &mut Disk,
        states: &'a [Pending],
        room: u64,
    ) -> Result<(Vec<&'a Pending>, Removed), Error> {
        let mut levels: BTreeMap<Reverse<Priority>, Vec<(usize, &Pending)>> = BTreeMap::new();
        for (place, state) in states.iter().enumerate() {
            levels.entry(Reverse(state.priority)).or_default().push((place, state));
        }
        let (mut admitted, mut bytes, mut dropped) = (Vec::new(), 0, Removed::default());
        for (Reverse(priority), level) in levels {
            let needed = bytes + level.iter().map(|(_, state)| bytes_of(state)).sum::<u64>();
            dropped.add(self.make_room(disk, needed, room, Some(priority))?);
            for (place, state) in level {
                if self.bytes_left(disk) + bytes + bytes_of(state) <= room {
                    bytes += bytes_of(state);
                    admitted.push((place, state));
                } else {
                    dropped.add(self.turn_away(disk, state));
                }
            }
        }
        admitted.sort_by_key(|(place, _)| *place);
        Ok((admitted.into_iter().map(|(_, state)| state).collect(), dropped))
    }

    /// Counts a state as dropped that never got in.
    fn turn_away(&mut self, disk: &Disk, state: &Pending) -> Removed {
        let readings = u64::from(state.readings);
        let account = self.account(disk, &state.bus);
        *account.dropped.entry(Reason::OutboxFull).or_default() += readings;
        account.outbox_in = account.outbox_in.saturating_sub(readings);
        Removed { states: 1, readings }
    }

    /// The bytes that wait when this draft is written.
    pub(super) fn bytes_left(&self, disk: &Disk) -> u64 {
        let removed: u64 = self.removed.values().map(|amount| amount.bytes).sum();
        disk.state.bytes().saturating_sub(removed)
    }

    /// Drops groups, low priority first and the oldest first among equals, until `incoming` bytes fit into `room`; only such
    /// as are worth less than `below`, if that is said. A commit that is larger than the outbox drives out everything.
    pub(super) fn make_room(
        &mut self,
        disk: &mut Disk,
        incoming: u64,
        room: u64,
        below: Option<Priority>,
    ) -> Result<Removed, Error> {
        let mut excess = (self.bytes_left(disk) + incoming).saturating_sub(room);
        let mut dropped = Removed::default();
        if excess == 0 {
            return Ok(dropped);
        }
        // So many groups hold more than what must go, for each of them has a byte that waits.
        let worth_less = |spot: Priority| below.is_none_or(|below| spot < below);
        let victims = disk.index.oldest().take_while(|(_, spot)| worth_less(spot.priority));
        let victims: Vec<_> = victims.take(usize::try_from(excess).unwrap_or(usize::MAX)).collect();
        for ((device, first), spot) in victims {
            if excess == 0 {
                break;
            }
            let fate = Fate::Dropped(Reason::OutboxFull);
            let amount = self.remove(disk, device, (first, spot.last), fate)?;
            excess = excess.saturating_sub(amount.bytes);
            dropped.add(Removed { states: amount.states, readings: amount.readings });
        }
        Ok(dropped)
    }

    /// Drops what was measured before `time`, from the oldest of each device on to the first that was not.
    pub(super) fn expire(&mut self, disk: &mut Disk, time: WallTime) -> Result<Removed, Error> {
        let mut dropped = Removed::default();
        let devices: Vec<DeviceId> =
            disk.state.lanes.keys().map(|device| DeviceId::from(*device)).collect();
        for device in devices {
            let spots: Vec<_> = disk.index.from(device, 0).take(EXPIRED_MAX).collect();
            for (key, spot) in spots {
                let group = disk.group(key, spot)?;
                let is_old = |moment: Option<WallTime>| moment.is_some_and(|moment| moment < time);
                if !group.records.iter().all(|record| is_old(record.moment.wall())) {
                    break;
                }
                let fate = Fate::Dropped(Reason::TooOld);
                let amount = self.remove(disk, device, (key.1, spot.last), fate)?;
                dropped.add(Removed { states: amount.states, readings: amount.readings });
            }
        }
        Ok(dropped)
    }
}

pub(super) fn bytes_of(state: &Pending) -> u64 {
    state.json.len() as u64
}
