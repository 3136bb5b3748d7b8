//! The frame: one transaction in the journal.
//!
//! A frame describes itself and ends with a checksum, so that a reader detects a torn frame. It
//! names its segment, so that a reader ignores old frames in a reused file. Numbers are big-endian:
//!
//! ```text
//! magic "TGJF" | version u8 | segment u64 | number u64 | length u32, content |
//!     CRC-32 of all before u32
//! content: length u32, delta | chunks, each: length u32, chunk
//! ```
//!
//! Each segment starts with two copies of frame 0, which holds the complete catalog in place of a
//! delta. The other frames follow by number.

use bytes::{Buf as _, BufMut as _};

use super::chunk::Chunk;

const MAGIC: &[u8; 4] = b"TGJF";

/// The version that is written, and the only one that is read.
pub(super) const VERSION: u8 = 2;

/// Magic, version, segment, number and length.
const HEAD_BYTES: usize = 4 + 1 + 8 + 8 + 4;

const CHECKSUM_BYTES: usize = 4;

/// Frames start at multiples of this and are padded with zeros, so that a scan finds them fast.
const ALIGN: usize = 16;

/// A frame in the bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) delta: &'a [u8],
    pub(super) chunks: Vec<FrameChunk<'a>>,
    /// The end of the frame in the segment.
    pub(super) end: u64,
}

/// A chunk in the bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameChunk<'a> {
    /// The offset of the chunk in the segment.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

/// An encoded frame.
pub(super) struct EncodedFrame {
    pub(super) bytes: Vec<u8>,
    /// The offset of each chunk in the frame.
    pub(super) chunk_offsets: Vec<u64>,
}

/// The frames of a segment.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    pub(super) frames: Vec<Frame<'a>>,
    /// Frames follow after bytes that are not a frame.
    pub(super) has_gap: bool,
    /// The version of an undamaged frame that is not [`VERSION`].
    pub(super) other_version: Option<u8>,
}

/// Encodes a frame.
pub(super) fn encode(segment: u64, number: u64, delta: &[u8], chunks: &[Chunk]) -> EncodedFrame {
    let content = content_length(delta, chunks);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + content + CHECKSUM_BYTES + ALIGN);
    bytes.put_slice(MAGIC);
    bytes.put_u8(VERSION);
    bytes.put_u64(segment);
    bytes.put_u64(number);
    bytes.put_u32(narrow(content));
    bytes.put_u32(narrow(delta.len()));
    bytes.put_slice(delta);
    let mut offsets = Vec::with_capacity(chunks.len());
    for Chunk { bytes: chunk, .. } in chunks {
        bytes.put_u32(narrow(chunk.len()));
        offsets.push(bytes.len() as u64);
        bytes.put_slice(chunk);
    }
    let checksum = crc32fast::hash(&bytes);
    bytes.put_u32(checksum);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    EncodedFrame { bytes, chunk_offsets: offsets }
}

/// Returns the length of an encoded frame.
pub(super) fn length(delta: &[u8], chunks: &[Chunk]) -> usize {
    (HEAD_BYTES + content_length(delta, chunks) + CHECKSUM_BYTES).next_multiple_of(ALIGN)
}

fn content_length(delta: &[u8], chunks: &[Chunk]) -> usize {
    4 + delta.len() + chunks.iter().map(|chunk| 4 + chunk.bytes.len()).sum::<usize>()
}

/// Finds all undamaged frames of this segment, in order. Skips other bytes.
pub(super) fn scan(bytes: &[u8], segment: u64) -> Scan<'_> {
    let (mut scan, mut at) = (Scan::default(), 0);
    let mut expected = 0;
    while let Some(found) = find(bytes, at) {
        at = found;
        match decode(bytes, at, segment) {
            Ok(frame) => {
                at = usize::try_from(frame.end).unwrap_or(bytes.len());
                if frame.number >= expected {
                    scan.has_gap |= frame.number > expected;
                    expected = frame.number + 1;
                    scan.frames.push(frame);
                }
            }
            Err(version) => {
                scan.other_version = scan.other_version.max(version);
                at += 1;
            }
        }
    }
    scan
}

/// Returns the segment that the first undamaged frame names.
pub(super) fn segment_of(bytes: &[u8]) -> Option<u64> {
    let mut at = 0;
    while let Some(found) = find(bytes, at) {
        let segment = bytes.get(found + 5..)?.first_chunk().map(|one| u64::from_be_bytes(*one))?;
        if decode(bytes, found, segment).is_ok() {
            return Some(segment);
        }
        at = found + 1;
    }
    None
}

fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let mut offsets = (from.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN);
    offsets.find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(MAGIC)))
}

/// Decodes the frame at this offset. The error is the version, if the frame is undamaged
/// but of another version.
fn decode(bytes: &[u8], at: usize, segment: u64) -> Result<Frame<'_>, Option<u8>> {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut head = rest.get(MAGIC.len()..HEAD_BYTES).ok_or(None)?;
    let version = head.get_u8();
    let is_ours = head.get_u64() == segment;
    let number = head.get_u64();
    let length = HEAD_BYTES + usize::try_from(head.get_u32()).map_err(|_| None)?;
    let (content, checksum) = rest.split_at_checked(length).ok_or(None)?;
    let checksum = checksum.first_chunk().ok_or(None)?;
    if !is_ours || crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
        return Err(None);
    }
    if version != VERSION {
        return Err(Some(version));
    }
    let mut content = content.get(HEAD_BYTES..).unwrap_or_default();
    let end = at + length;
    let delta = take(&mut content).ok_or(None)?;
    let mut chunks = Vec::new();
    while !content.is_empty() {
        let begin = end - content.len() + 4;
        let bytes = take(&mut content).ok_or(None)?;
        chunks.push(FrameChunk { offset: begin as u64, bytes });
    }
    Ok(Frame { number, delta, chunks, end: (end + CHECKSUM_BYTES).next_multiple_of(ALIGN) as u64 })
}

fn take<'a>(content: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(content.try_get_u32().ok()?).ok()?;
    let (taken, rest) = content.split_at_checked(length)?;
    *content = rest;
    Some(taken)
}

/// Converts a length to its stored form. A frame is far below 4 GiB; a longer one would be stored
/// with length 0, so that it reads as damaged.
fn narrow(length: usize) -> u32 {
    let narrowed = u32::try_from(length);
    debug_assert!(narrowed.is_ok(), "length {length} does not fit its field");
    narrowed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for number in [0, 0, 1, 2, 3] {
            let chunk = |bytes: &[u8]| Chunk { bytes: bytes.to_vec(), blocks: 1 };
            let chunks = [chunk(b"group"), chunk(b"")];
            let frame = encode(7, number, b"change", &chunks).bytes;
            assert_eq!(frame.len(), length(b"change", &chunks));
            bytes.extend(frame);
            ends.push(bytes.len());
        }
        bytes.extend([0; 100]);
        (bytes, ends)
    }

    fn numbers(bytes: &[u8]) -> Vec<u64> {
        scan(bytes, 7).frames.iter().map(|frame| frame.number).collect()
    }

    #[test]
    fn frames_come_back_with_the_offsets_of_chunks() {
        let (bytes, ends) = segment();
        let scan = scan(&bytes, 7);
        assert_eq!(numbers(&bytes), [0, 1, 2, 3]);
        let last = scan.frames.last().unwrap();
        assert_eq!((last.delta, last.end), (b"change".as_slice(), ends[4] as u64));
        let place = usize::try_from(last.chunks[0].offset).unwrap();
        assert_eq!(&bytes[place..place + 5], b"group");
        assert!(!scan.has_gap);
    }

    #[test]
    fn flipped_bit_costs_at_most_one_frame() {
        let (bytes, ends) = segment();
        for at in (0..ends[4]).filter(|at| bytes[*at] != 0) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            let lost = ends.iter().position(|end| at < *end).unwrap();
            let kept: &[u64] = match lost {
                0 | 1 => &[0, 1, 2, 3],
                2 => &[0, 2, 3],
                3 => &[0, 1, 3],
                _ => &[0, 1, 2],
            };
            assert_eq!(numbers(&damaged), kept, "bit of byte {at}");
        }
    }

    #[test]
    fn ignores_frames_of_another_segment() {
        assert_eq!(scan(&segment().0, 8).frames, []);
        assert_eq!(segment_of(&segment().0), Some(7));
    }
}
