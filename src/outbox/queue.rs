//! The queues in the store: how they are keyed, and how they are read.

use super::group::{Group, Record};
use super::ranges::Ranges;
use super::store::Store;
use super::{Amount, Entry, Error, Inner, Lane, Note};
use crate::model::{DeviceId, Name, Origin};

impl Store {
    /// What waits in a lane after `after`, oldest first, within the bounds but at least one state.
    pub(super) fn read(
        &self,
        device: DeviceId,
        lane: &Lane,
        after: u64,
        (states_max, bytes_max): (usize, usize),
    ) -> Result<Vec<Entry>, Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let after = after.max(lane.gone.cursor());
        for group in self.groups_of(device, after)? {
            let group = group?;
            for (sequence, record) in (group.first..=lane.last).zip(group.records) {
                if sequence <= after || lane.gone.covers(sequence, sequence) {
                    continue;
                }
                bytes += record.json.len() + 1;
                let is_full = entries.len() >= states_max || bytes > bytes_max;
                if is_full && !entries.is_empty() {
                    return Ok(entries);
                }
                let (moment, readings) = (record.moment, record.readings);
                entries.push(Entry { sequence, moment, readings, json: record.json });
            }
        }
        Ok(entries)
    }

    /// A state that waits.
    pub(super) fn find(
        &self,
        device: DeviceId,
        lane: &Lane,
        sequence: u64,
    ) -> Result<Option<Record>, Error> {
        let Some(group) = self.groups_of(device, sequence.saturating_sub(1))?.next().transpose()?
        else {
            return Ok(None);
        };
        let mut records = (group.first..).zip(group.records);
        let found = records.find(|(number, _)| *number == sequence).map(|(_, record)| record);
        Ok(found.filter(|_| !lane.gone.covers(sequence, sequence)))
    }

    /// The groups of a device that have states above `cursor`, oldest first.
    pub(super) fn groups_of(
        &self,
        device: DeviceId,
        cursor: u64,
    ) -> Result<impl Iterator<Item = Result<Group, Error>>, Error> {
        let next = group_key(device, cursor.saturating_add(1));
        // The group that holds the next state may begin before it.
        let start = match self.groups.get_lt(&next)? {
            Some((key, _)) if key.starts_with(device.as_bytes()) => key.to_vec(),
            Some(_) | None => next,
        };
        let end = group_key(device, u64::MAX);
        let groups = self.groups.range(start..=end).filter_map(move |item| match item {
            // What cannot be decoded was set aside when the outbox was opened.
            Ok((_, value)) => Group::decode(&value).ok().filter(|g| g.last() > cursor).map(Ok),
            Err(error) => Some(Err(error.into())),
        });
        Ok(groups)
    }

    /// The notes of a table in the order of their keys.
    pub(super) fn notes(&self, table: &str) -> Result<Vec<Note>, Error> {
        let prefix = note_key(table, &[]);
        let note = |item: Result<(sled::IVec, sled::IVec), sled::Error>| {
            let (key, value) = item?;
            Ok((key.get(prefix.len()..).unwrap_or_default().to_vec(), value.to_vec()))
        };
        self.notes.scan_prefix(&prefix).map(note).collect()
    }

    /// The group of the earliest commit.
    pub(super) fn oldest(&self, inner: &Inner) -> Result<Option<Group>, Error> {
        let mut oldest: Option<Group> = None;
        for (device, lane) in inner.lanes.iter().filter(|(_, lane)| lane.amount.states > 0) {
            let Some(group) = self.groups_of(*device, lane.gone.cursor())?.next().transpose()?
            else {
                continue;
            };
            // A group that lies in a range that is gone went with it, so this one has something that waits.
            if oldest.as_ref().is_none_or(|oldest| group.commit < oldest.commit) {
                oldest = Some(group);
            }
        }
        Ok(oldest)
    }
}

impl Lane {
    pub(super) fn encode(&self) -> Vec<u8> {
        let ranges = self.gone.iter().flat_map(|(first, last)| [first, last]);
        let mut bytes = [self.last.to_be_bytes(), self.latest_ms.to_be_bytes()].concat();
        bytes.extend(ranges.flat_map(u64::to_be_bytes));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (last, rest) = bytes.split_first_chunk()?;
        let (latest, rest) = rest.split_first_chunk()?;
        let mut gone = Ranges::default();
        for range in rest.chunks_exact(16) {
            let (first, last) = range.split_first_chunk()?;
            gone.merge(u64::from_be_bytes(*first), u64::from_be_bytes(*last.first_chunk()?));
        }
        Some(Self {
            gone,
            last: u64::from_be_bytes(*last),
            latest_ms: i64::from_be_bytes(*latest),
            amount: Amount::default(),
        })
    }
}

pub(super) fn group_key(device: DeviceId, first: u64) -> Vec<u8> {
    [device.as_bytes().as_slice(), &first.to_be_bytes()].concat()
}

pub(super) fn note_key(table: &str, key: &[u8]) -> Vec<u8> {
    [table.as_bytes(), &[0], key].concat()
}

pub(super) fn lane_key(device: DeviceId) -> Vec<u8> {
    [b"lane/".as_slice(), device.as_bytes()].concat()
}

pub(super) fn origins_key(bus: &Name) -> String {
    format!("origins/{bus}")
}

/// Six bytes an origin.
pub(super) fn pack(origins: &[Origin]) -> Vec<u8> {
    origins
        .iter()
        .flat_map(|one| [&one.packet_id.to_be_bytes()[..], &one.digest.to_be_bytes()].concat())
        .collect()
}

pub(super) fn unpack(bytes: &[u8]) -> Vec<Origin> {
    let origin = |bytes: &[u8]| {
        let (packet_id, digest) = bytes.split_first_chunk()?;
        let digest = digest.first_chunk()?;
        Some(Origin {
            packet_id: u16::from_be_bytes(*packet_id),
            digest: u32::from_be_bytes(*digest),
        })
    };
    bytes.chunks_exact(6).filter_map(origin).collect()
}
