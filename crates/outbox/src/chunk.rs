//! The chunk: neighbouring blocks of one frame, packed together.
//!
//! A small commit has many blocks of one state each, which repeat the same names and numbers; one
//! block alone cannot be packed. Numbers are big-endian:
//!
//! ```text
//! plain length u32 (0: not packed) | blocks, packed as LZ4 if that is smaller
//! blocks: each: length u32, block
//! ```
//!
//! Each block ends with a checksum, so a chunk has none.

use std::borrow::Cow;

use bytes::{Buf as _, BufMut as _};

use super::block::{self, Block};
use super::index::BlockKey;

/// The most bytes of blocks in a chunk of more than one block. Reading one block unpacks all.
const CHUNK_BYTES_MAX: usize = 4 << 10;

/// The most bytes that a chunk unpacks to. A larger length is damage.
const PLAIN_BYTES_MAX: u32 = 1 << 30;

/// An encoded chunk.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// The number of blocks.
    pub(super) blocks: usize,
}

/// Encodes blocks as chunks, in order.
pub(super) fn encode(blocks: &[Block]) -> Vec<Chunk> {
    let (mut chunks, mut plain, mut count) = (Vec::new(), Vec::new(), 0);
    let mut finish = |plain: &mut Vec<u8>, blocks: &mut usize| {
        if *blocks > 0 {
            chunks.push(Chunk { bytes: pack(plain), blocks: *blocks });
        }
        plain.clear();
        *blocks = 0;
    };
    for block in blocks {
        let length = block.plain_length();
        if plain.len() + 4 + length > CHUNK_BYTES_MAX {
            finish(&mut plain, &mut count);
        }
        let begin = plain.len();
        plain.put_u32(0);
        block.encode_plain(&mut plain);
        let length = u32::try_from(plain.len() - begin - 4).unwrap_or_default();
        if let Some(place) = plain.get_mut(begin..begin + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        count += 1;
    }
    finish(&mut plain, &mut count);
    chunks
}

fn pack(plain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(plain.len()).unwrap_or_default();
    let mut bytes = vec![0; 4 + lz4_flex::block::get_maximum_output_size(plain.len())];
    let target = bytes.get_mut(4..).unwrap_or_default();
    match lz4_flex::block::compress_into(plain, target) {
        Ok(packed) if packed < plain.len() => {
            bytes.truncate(4 + packed);
            bytes.splice(..4, length.to_be_bytes());
            bytes
        }
        Ok(_) | Err(_) => [&[0; 4], plain].concat(),
    }
}

/// Returns the encoded blocks of a chunk, up to the first damage.
pub(super) fn blocks(chunk: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let Some(plain) = unpack(chunk) else { return blocks };
    let mut rest = plain.as_ref();
    while let Some(block) = next(&mut rest) {
        blocks.push(block.to_vec());
    }
    blocks
}

/// Returns the block of a chunk with this key, if it is undamaged.
pub(super) fn find(chunk: &[u8], key: BlockKey) -> Option<Block> {
    let plain = unpack(chunk)?;
    let mut rest = plain.as_ref();
    while let Some(bytes) = next(&mut rest) {
        if block::named_key(bytes) == Some(key) {
            return Block::decode(bytes).ok();
        }
    }
    None
}

fn unpack(mut chunk: &[u8]) -> Option<Cow<'_, [u8]>> {
    match chunk.try_get_u32().ok()? {
        0 => Some(Cow::Borrowed(chunk)),
        length if length > PLAIN_BYTES_MAX => None,
        length => {
            let length = usize::try_from(length).ok()?;
            lz4_flex::block::decompress(chunk, length).ok().map(Cow::Owned)
        }
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let (block, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(block)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::block::Record;
    use tidegate_model::{Priority, ReadingTime, WallTime};

    fn block(device: u8, length: usize) -> Block {
        let record = Record {
            bus: "a".parse().unwrap(),
            readings: 1,
            priority: Priority::Normal,
            moment: ReadingTime::Wall(WallTime::from_millis(5)),
            json: Bytes::from(vec![b'x'; length]),
        };
        Block { commit: 1, device: [device; 12].into(), first: 7, records: vec![record] }
    }

    proptest! {
        #[test]
        fn each_block_is_found_in_its_chunk(
            lengths in prop::collection::vec(0..6_000_usize, 0..40)
        ) {
            let all: Vec<_> =
                (0..).zip(&lengths).map(|(device, length)| block(device, *length)).collect();
            let chunks = encode(&all);
            prop_assert_eq!(chunks.iter().map(|chunk| chunk.blocks).sum::<usize>(), all.len());
            let mut left = all.iter();
            for chunk in &chunks {
                prop_assert_eq!(blocks(&chunk.bytes).len(), chunk.blocks);
                for block in left.by_ref().take(chunk.blocks) {
                    let found = find(&chunk.bytes, block.key());
                    prop_assert_eq!(found.as_ref(), Some(block));
                }
            }
        }

        #[test]
        fn random_bytes_cause_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            blocks(&bytes);
            prop_assert_eq!(find(&bytes, block(1, 1).key()), None);
        }
    }

    #[test]
    fn small_blocks_are_packed_together() {
        let all: Vec<_> = (0..10).map(|device| block(device, 100)).collect();
        let chunks = encode(&all);
        let (bytes, alone) = (chunks[0].bytes.len(), all[0].encode().len());
        assert!(chunks.len() == 1 && bytes < 5 * alone, "{bytes} bytes, alone {alone} each");
    }

    #[test]
    fn damaged_block_of_a_chunk_is_not_returned() {
        let mut bytes = [&[0; 4], pack(&[]).get(4..).unwrap()].concat();
        let mut plain = Vec::new();
        block(1, 50).encode_plain(&mut plain);
        bytes.put_u32(u32::try_from(plain.len()).unwrap());
        bytes.extend(&plain);
        assert!(find(&bytes, block(1, 50).key()).is_some());
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        assert_eq!(find(&bytes, block(1, 50).key()), None);
    }
}
