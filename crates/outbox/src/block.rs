//! The stored form of a block: states of one device from one commit.
//!
//! A commit with many states of one device is stored as several blocks of at most
//! [`BLOCK_BYTES_MAX`] bytes. A block describes itself, so that the recovery can read it without
//! the rest of the outbox, and ends with a checksum. All numbers are big-endian:
//!
//! ```text
//! magic "TGOB" | version u8 | commit u64 | device [12] | first sequence u64 |
//!     packing u8 | length u32, body | CRC-32 u32
//!
//! packing: 0 for a plain body; 1 for LZ4, after the length of the plain body (u32, little-endian)
//! body: buses u16, each: length u8, name | records u32, each: record
//! record: bus u16, readings u16, priority u8, moment, length u32, JSON
//! moment: 0 u8, milliseconds since 1970 i64;
//!     or 1 u8, boot id u128, milliseconds since that boot u64
//! ```

use bytes::{Buf, BufMut, Bytes};

use super::index::{BlockFacts, BlockKey};
use super::types::{Amount, NewState};
use tidegate_model::{BootId, BootTime, DeviceId, Name, Priority, ReadingTime, WallTime};

pub(super) const MAGIC: &[u8; 4] = b"TGOB";

/// The version that is written. A reader knows all versions up to this one.
pub(super) const VERSION: u8 = 3;

/// The most bytes of JSON in a block of more than one state. A block of this size compresses well,
/// and unpacking it for one batch is cheap.
pub(super) const BLOCK_BYTES_MAX: usize = 16 << 10;

/// The most bytes of a body. A larger length is damage.
const BODY_BYTES_MAX: u32 = 1 << 30;

/// Bus, readings, priority, moment and length of a record; the moment is usually shorter.
const RECORD_BYTES: usize = 2 + 2 + 1 + 25 + 4;

/// Magic, version, commit, device, first, packing and length.
const HEAD_BYTES: usize = 4 + 1 + 8 + 12 + 8 + 1 + 4;

/// States of one device from one commit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    /// The number of the commit, which counts over all devices: the smallest is the oldest.
    pub(super) commit: u64,
    pub(super) device: DeviceId,
    /// The sequence number of the first record; the others follow without a gap.
    pub(super) first: u64,
    pub(super) records: Vec<Record>,
}

/// One state in a block.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) bus: Name,
    pub(super) readings: u16,
    pub(super) priority: Priority,
    pub(super) moment: ReadingTime,
    pub(super) json: Bytes,
}

/// Why bytes are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("the block is truncated or its checksum is wrong")]
    Checksum,
    #[error("unknown block version {0}")]
    Version(u8),
    #[error("the content of the block is malformed")]
    Form,
}

impl Record {
    /// Returns the record as one state of a queue.
    pub(super) fn amount(&self) -> Amount {
        let (readings, bytes) = (u64::from(self.readings), self.json.len() as u64);
        Amount { states: 1, readings, bytes }
    }
}

impl From<&NewState> for Record {
    fn from(state: &NewState) -> Self {
        Self {
            bus: state.bus.clone(),
            readings: state.readings,
            priority: state.priority,
            moment: state.moment,
            json: state.json.clone(),
        }
    }
}

impl NewState {
    /// Returns a record as a state that can be queued again.
    pub(super) fn from_record(device: DeviceId, record: Record) -> Self {
        let Record { bus, readings, priority, moment, json } = record;
        Self { device, bus, moment, priority, readings, json }
    }
}

impl Block {
    /// Returns the key of the block in the index.
    pub(super) fn key(&self) -> BlockKey {
        BlockKey { device: self.device, first: self.first }
    }

    /// Returns the facts about the block that the index holds.
    pub(super) fn facts(&self) -> BlockFacts {
        let (last, priority, commit) = (self.last(), self.priority(), self.commit);
        let bus = self.records.first().map(|record| record.bus.clone());
        let bus = bus.filter(|bus| self.records.iter().all(|record| record.bus == *bus));
        let amounts = self.records.iter().map(Record::amount);
        let amount = amounts.fold(Amount::default(), Amount::plus);
        BlockFacts { last, priority, commit, bus, amount }
    }

    /// Returns the highest priority of any record: a block is evicted as late as its records.
    pub(super) fn priority(&self) -> Priority {
        self.records.iter().map(|record| record.priority).max().unwrap_or_default()
    }

    /// Returns the sequence number of the last record.
    pub(super) fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - u64::from(!self.records.is_empty())
    }

    /// Encodes the block, packed if that is smaller.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = self.body();
        let packed = lz4_flex::compress_prepend_size(&body);
        let mut bytes = Vec::with_capacity(48 + body.len());
        if packed.len() < body.len() {
            self.encode_as(1, &packed, &mut bytes);
        } else {
            self.encode_as(0, &body, &mut bytes);
        }
        bytes
    }

    /// Appends the encoded block to `bytes`, not packed.
    pub(super) fn encode_plain(&self, bytes: &mut Vec<u8>) {
        self.encode_as(0, &self.body(), bytes);
    }

    /// Returns about how long the block is if it is not packed.
    pub(super) fn plain_length(&self) -> usize {
        let records = self.records.iter().map(|record| RECORD_BYTES + record.json.len());
        HEAD_BYTES + 4 + records.sum::<usize>()
    }

    fn body(&self) -> Vec<u8> {
        let mut buses: Vec<&Name> = self.records.iter().map(|record| &record.bus).collect();
        buses.sort();
        buses.dedup();
        let mut body = Vec::with_capacity(64 + self.plain_length());
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
        body
    }

    fn encode_as(&self, packing: u8, body: &[u8], bytes: &mut Vec<u8>) {
        let begin = bytes.len();
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u64(self.commit);
        bytes.put_slice(self.device.as_bytes());
        bytes.put_u64(self.first);
        bytes.put_u8(packing);
        bytes.put_u32(narrow(body.len()));
        bytes.put_slice(body);
        let checksum = crc32fast::hash(bytes.get(begin..).unwrap_or_default());
        bytes.put_u32(checksum);
    }

    /// Decodes a block from [`Block::encode`].
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

/// Decodes packing, length and body.
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

/// An encoded block among other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundBlock<'a> {
    pub(super) key: BlockKey,
    /// The offset of the block in the bytes that were searched.
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
}

/// Finds all blocks with a correct checksum in these bytes.
pub(super) fn find_all(bytes: &[u8]) -> Vec<FoundBlock<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = find_magic(bytes, at) {
        let candidate = bytes.get(begin..).unwrap_or_default();
        let length = candidate.get(HEAD_BYTES - 4..).and_then(|bytes| bytes.first_chunk());
        let length = length.and_then(|length| usize::try_from(u32::from_be_bytes(*length)).ok());
        let block = length.and_then(|length| candidate.get(..HEAD_BYTES + length + 4));
        match block.and_then(|block| Some((key_of(block)?, block))) {
            Some((key, bytes)) => {
                found.push(FoundBlock { key, offset: begin, bytes });
                at = begin + bytes.len();
            }
            None => at = begin + 1,
        }
    }
    found
}

fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        let begin = rest.iter().position(|byte| *byte == MAGIC[0])?;
        if rest.get(begin..)?.starts_with(MAGIC) {
            return Some(at + begin);
        }
        at += begin + 1;
    }
}

/// Returns the key of an encoded block, if its checksum is correct and its version is known. Does
/// not decode the records.
pub(super) fn key_of(bytes: &[u8]) -> Option<BlockKey> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let is_known = content.get(MAGIC.len()).is_some_and(|version| *version == VERSION);
    if !is_known || crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
        return None;
    }
    named_key(content)
}

/// Returns the key that an encoded block names. Does not check the block.
pub(super) fn named_key(bytes: &[u8]) -> Option<BlockKey> {
    let mut head = bytes.get(MAGIC.len() + 1 + 8..)?;
    let device = DeviceId::from(*head.split_off(..12)?.first_chunk::<12>()?);
    Some(BlockKey { device, first: head.try_get_u64().ok()? })
}

/// Converts a length to its stored form. Names, buses and blocks are far below these limits. A
/// length above them would be stored as 0, so that the block reads as damaged.
fn narrow<T: TryFrom<usize> + Default>(length: usize) -> T {
    let narrowed = T::try_from(length);
    debug_assert!(narrowed.is_ok(), "length {length} does not fit its field");
    narrowed.unwrap_or_default()
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

    fn block() -> impl Strategy<Value = Block> {
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
            |(commit, device, first, records)| Block {
                commit,
                device: device.into(),
                first,
                records,
            },
        )
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(block in block()) {
            prop_assert_eq!(Block::decode(&block.encode()), Ok(block));
        }

        #[test]
        fn rejects_any_flipped_bit_and_any_cut(
            block in block(),
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let mut bytes = block.encode();
            let at = at.index(bytes.len());
            prop_assert!(Block::decode(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(Block::decode(&bytes).is_err());
        }

        #[test]
        fn rejects_random_bytes_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            prop_assert!(Block::decode(&bytes).is_err());
        }
    }

    #[test]
    fn rejects_newer_block_version() {
        let record = Record {
            bus: "a".parse().unwrap(),
            readings: 1,
            priority: Priority::Normal,
            moment: ReadingTime::Wall(WallTime::from_millis(0)),
            json: Bytes::from("{}"),
        };
        let block = Block { commit: 1, device: [1; 12].into(), first: 1, records: vec![record] };
        let mut bytes = block.encode();
        bytes.truncate(bytes.len() - 4);
        bytes[4] = VERSION + 1;
        let checksum = crc32fast::hash(&bytes);
        bytes.put_u32(checksum);
        assert_eq!(Block::decode(&bytes), Err(Damage::Version(VERSION + 1)));
    }
}
