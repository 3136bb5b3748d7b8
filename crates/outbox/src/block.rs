//! The stored form of a group: the states of one device that one commit brought to the disk.
//!
//! A commit with much for one device is stored as several groups of at most [`GROUP_BYTES_MAX`].
//!
//! A group describes itself, so that it can be understood without the rest of the store, and ends with a checksum, so that
//! damage is noticed. All numbers are big-endian:
//!
//! ```text
//! magic "TGOB" | version u8 | commit u64 | device [12] | first sequence u64 | packing u8 | length u32, body | CRC-32 u32
//!
//! packing: 0 for a body as it is; 1 for LZ4, the body's length before it as LZ4 blocks have it by custom
//! body: buses u16, each: length u8, name | records u32, each: record
//! record: bus u16, readings u16, priority u8, moment, length u32, JSON
//! moment: 0 u8, milliseconds since 1970 i64; or 1 u8, boot id u128, milliseconds since that boot u64
//! ```

use bytes::{Buf, BufMut, Bytes};

use tidegate_model::{BootId, BootTime, DeviceId, Name, Priority, ReadingTime, WallTime};

pub(super) const MAGIC: &[u8; 4] = b"TGOB";

/// The version that is written. A reader knows all versions up to this one.
pub(super) const VERSION: u8 = 3;

/// The most bytes of JSON in a group of more than one state: enough to pack well, little enough to unpack for one batch.
pub(super) const GROUP_BYTES_MAX: usize = 16 << 10;

/// The most bytes of a body, to believe a length that was read.
const BODY_BYTES_MAX: u32 = 1 << 30;

/// Magic, version, commit, device, first, packing and length.
const HEAD_BYTES: usize = 4 + 1 + 8 + 12 + 8 + 1 + 4;

/// The states of one device from one commit, or a part of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// Counts commits over all devices: the smallest is the oldest.
    pub(super) commit: u64,
    pub(super) device: DeviceId,
    /// The sequence number of the first record; the others follow without a gap.
    pub(super) first: u64,
    pub(super) records: Vec<Record>,
}

/// One state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) bus: Name,
    pub(super) readings: u16,
    pub(super) priority: Priority,
    pub(super) moment: ReadingTime,
    pub(super) json: Bytes,
}

/// Why bytes are no group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is cut off or its checksum is wrong")]
    Checksum,
    #[error("its version {0} is not known")]
    Version(u8),
    #[error("its content does not fit its form")]
    Form,
}

impl Group {
    /// The sequence number of the last record.
    pub(super) fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - u64::from(!self.records.is_empty())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut buses: Vec<&Name> = self.records.iter().map(|record| &record.bus).collect();
        buses.sort();
        buses.dedup();
        let length = self.records.iter().map(|record| 34 + record.json.len()).sum::<usize>();
        let mut body = Vec::with_capacity(64 + length);
        body.put_u16(narrow(buses.len()));
        for bus in &buses {
            body.put_u8(narrow(bus.len()));
            body.put_slice(bus.as_bytes());
        }
        body.put_u32(narrow(self.records.len()));
        for record in &self.records {
            body.put_u16(narrow(buses.partition_point(|bus| *bus < &record.bus)));
            body.put_u16(record.readings);
            body.put_u8(record.priority as u8);
            put_moment(&mut body, record.moment);
            body.put_u32(narrow(record.json.len()));
            body.put_slice(&record.json);
        }
        let packed = lz4_flex::compress_prepend_size(&body);
        let (packing, body) = if packed.len() < body.len() { (1, packed) } else { (0, body) };
        let mut bytes = Vec::with_capacity(48 + body.len());
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u64(self.commit);
        bytes.put_slice(self.device.as_bytes());
        bytes.put_u64(self.first);
        bytes.put_u8(packing);
        bytes.put_u32(narrow(body.len()));
        bytes.put_slice(&body);
        let checksum = crc32fast::hash(&bytes);
        bytes.put_u32(checksum);
        bytes
    }

    /// Reads a group that was written by [`Group::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(Damage::Checksum)?;
        if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
            return Err(Damage::Checksum);
        }
        let mut head = content;
        if !head.starts_with(MAGIC) {
            return Err(Damage::Form);
        }
        head.advance(MAGIC.len());
        match head.try_get_u8().map_err(form)? {
            VERSION => {}
            version => return Err(Damage::Version(version)),
        }
        let commit = head.try_get_u64().map_err(form)?;
        let (device, mut head) = head.split_first_chunk::<12>().ok_or(Damage::Form)?;
        let first = head.try_get_u64().map_err(form)?;
        // The records share one copy of the body.
        let content = &mut unpack(head)?;
        let buses = content.try_get_u16().map_err(form)?;
        let buses = (0..buses).map(|_| name(content)).collect::<Result<Vec<_>, _>>()?;
        let records = content.try_get_u32().map_err(form)?;
        if first.checked_add(u64::from(records)).is_none() {
            return Err(Damage::Form);
        }
        let records =
            (0..records).map(|_| record(content, &buses)).collect::<Result<Vec<_>, _>>()?;
        if content.has_remaining() {
            return Err(Damage::Form);
        }
        Ok(Self { commit, device: DeviceId::from(*device), first, records })
    }
}

/// Reads the body behind its packing and length.
fn unpack(mut head: &[u8]) -> Result<Bytes, Damage> {
    let packing = head.try_get_u8().map_err(form)?;
    let length = head.try_get_u32().map_err(form)?;
    if usize::try_from(length).ok() != Some(head.len()) {
        return Err(Damage::Form);
    }
    match packing {
        0 => Ok(Bytes::copy_from_slice(head)),
        1 => {
            let unpacked = head.first_chunk().map(|length| u32::from_le_bytes(*length));
            let is_sane = unpacked.is_some_and(|length| length <= BODY_BYTES_MAX);
            let body = lz4_flex::decompress_size_prepended(head).ok().filter(|_| is_sane);
            body.map(Bytes::from).ok_or(Damage::Form)
        }
        _ => Err(Damage::Form),
    }
}

/// All groups that stand whole somewhere in these bytes.
pub(super) fn find_all(bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        let Some(begin) = rest.windows(MAGIC.len()).position(|window| window == MAGIC) else {
            break;
        };
        let candidate = rest.get(begin..).unwrap_or_default();
        let length = candidate.get(HEAD_BYTES - 4..).and_then(|bytes| bytes.first_chunk());
        let length = length.and_then(|length| usize::try_from(u32::from_be_bytes(*length)).ok());
        let group = length.and_then(|length| candidate.get(..HEAD_BYTES + length + 4));
        match group.filter(|group| Group::decode(group).is_ok()) {
            Some(group) => {
                found.push(group);
                at += begin + group.len();
            }
            None => at += begin + 1,
        }
    }
    found
}

/// A length as it is written. Names, buses and groups are far below these limits; what is not cannot be read back, and is
/// then noticed as damage.
fn narrow<T: TryFrom<usize> + Default>(length: usize) -> T {
    T::try_from(length).unwrap_or_default()
}

fn form(_: bytes::TryGetError) -> Damage {
    Damage::Form
}

fn take(content: &mut Bytes, length: usize) -> Result<Bytes, Damage> {
    if length <= content.len() { Ok(content.split_to(length)) } else { Err(Damage::Form) }
}

fn name(content: &mut Bytes) -> Result<Name, Damage> {
    let length = content.try_get_u8().map_err(form)?;
    let text = take(content, usize::from(length))?;
    std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or(Damage::Form)
}

fn record(content: &mut Bytes, buses: &[Name]) -> Result<Record, Damage> {
    let bus = content.try_get_u16().map_err(form)?;
    let readings = content.try_get_u16().map_err(form)?;
    let priority = match content.try_get_u8().map_err(form)? {
        0 => Priority::Low,
        1 => Priority::Normal,
        2 => Priority::High,
        _ => return Err(Damage::Form),
    };
    let moment = moment(content)?;
    let length = content.try_get_u32().map_err(form)?;
    let json = take(content, usize::try_from(length).map_err(|_| Damage::Form)?)?;
    let bus = buses.get(usize::from(bus)).ok_or(Damage::Form)?.clone();
    Ok(Record { bus, readings, priority, moment, json })
}

fn put_moment(bytes: &mut Vec<u8>, moment: ReadingTime) {
    match moment {
        ReadingTime::Wall(time) => {
            bytes.put_u8(0);
            bytes.put_i64(time.as_millis());
        }
        ReadingTime::Boot(BootTime { boot, uptime_ms }) => {
            bytes.put_u8(1);
            bytes.put_u128(boot.0);
            bytes.put_u64(uptime_ms);
        }
    }
}

fn moment(content: &mut Bytes) -> Result<ReadingTime, Damage> {
    match content.try_get_u8().map_err(form)? {
        0 => Ok(ReadingTime::Wall(WallTime::from_millis(content.try_get_i64().map_err(form)?))),
        1 => Ok(ReadingTime::Boot(BootTime {
            boot: BootId(content.try_get_u128().map_err(form)?),
            uptime_ms: content.try_get_u64().map_err(form)?,
        })),
        _ => Err(Damage::Form),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group() -> impl Strategy<Value = Group> {
        let priority =
            prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
        let moment = prop_oneof![
            any::<i32>().prop_map(|ms| ReadingTime::Wall(WallTime::from_millis(ms.into()))),
            any::<(u128, u64)>().prop_map(|(boot, uptime_ms)| ReadingTime::Boot(BootTime {
                boot: BootId(boot),
                uptime_ms
            })),
        ];
        let json = prop::collection::vec(any::<u8>(), 0..40);
        let record = ("[a-z]{1,8}", any::<u16>(), priority, moment, json).prop_map(
            |(bus, readings, priority, moment, json)| Record {
                bus: bus.parse().unwrap(),
                readings,
                priority,
                moment,
                json: Bytes::from(json),
            },
        );
        let records = prop::collection::vec(record, 1..20);
        (any::<u64>(), any::<[u8; 12]>(), 1..u64::MAX / 2, records).prop_map(
            |(commit, device, first, records)| Group {
                commit,
                device: device.into(),
                first,
                records,
            },
        )
    }

    proptest! {
        #[test]
        fn a_group_reads_back_as_it_was_written(group in group()) {
            prop_assert_eq!(Group::decode(&group.encode()), Ok(group));
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(group in group(), at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = group.encode();
            let at = at.index(bytes.len());
            prop_assert!(Group::decode(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(Group::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Group::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_group_of_a_newer_version_is_not_guessed() {
        let record = Record {
            bus: "a".parse().unwrap(),
            readings: 1,
            priority: Priority::Normal,
            moment: ReadingTime::Wall(WallTime::from_millis(0)),
            json: Bytes::from("{}"),
        };
        let group = Group { commit: 1, device: [1; 12].into(), first: 1, records: vec![record] };
        let mut bytes = group.encode();
        bytes.truncate(bytes.len() - 4);
        bytes[4] = VERSION + 1;
        let checksum = crc32fast::hash(&bytes);
        bytes.put_u32(checksum);
        assert_eq!(Group::decode(&bytes), Err(Damage::Version(VERSION + 1)));
    }
}
