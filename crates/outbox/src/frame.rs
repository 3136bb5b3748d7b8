//! The frame: one change of the outbox as it stands in the journal.
//!
//! A frame describes itself and ends with a checksum, so that a torn one is noticed. It names its segment, so that what a
//! reused file held before is not taken for its content. Numbers are big-endian:
//!
//! ```text
//! magic "TGJF" | version u8 | segment u64 | number u64 | length u32 | content | CRC-32 u32 of all before
//! content: length u32, change | groups, each: length u32, group
//! ```
//!
//! Frame 0 of a segment stands there twice; its change is the whole state of the outbox. The others follow it by number.

use bytes::{Buf as _, BufMut as _};

const MAGIC: &[u8; 4] = b"TGJF";

/// The version that is written, and the only one that is read.
pub(super) const VERSION: u8 = 1;

/// Magic, version, segment, number and length.
const HEAD_BYTES: usize = 4 + 1 + 8 + 8 + 4;

const CHECKSUM_BYTES: usize = 4;

/// Frames begin at multiples of this and are filled up with zeros, which makes them quick to find.
const ALIGN: usize = 16;

/// A frame in the bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) change: &'a [u8],
    /// Where each group begins in the segment, and its bytes.
    pub(super) groups: Vec<(u64, &'a [u8])>,
    /// Where the frame ends in the segment.
    pub(super) end: u64,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    pub(super) frames: Vec<Frame<'a>>,
    /// There are frames after something that is none.
    pub(super) has_gap: bool,
    /// A frame of this newer version.
    pub(super) newer: Option<u8>,
}

/// A frame as bytes, and where in it each group begins.
pub(super) fn encode(
    segment: u64,
    number: u64,
    change: &[u8],
    groups: &[Vec<u8>],
) -> (Vec<u8>, Vec<u64>) {
    let content = 4 + change.len() + groups.iter().map(|group| 4 + group.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + content + CHECKSUM_BYTES);
    bytes.put_slice(MAGIC);
    bytes.put_u8(VERSION);
    bytes.put_u64(segment);
    bytes.put_u64(number);
    bytes.put_u32(narrow(content));
    bytes.put_u32(narrow(change.len()));
    bytes.put_slice(change);
    let mut places = Vec::with_capacity(groups.len());
    for group in groups {
        bytes.put_u32(narrow(group.len()));
        places.push(bytes.len() as u64);
        bytes.put_slice(group);
    }
    let checksum = crc32fast::hash(&bytes);
    bytes.put_u32(checksum);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    (bytes, places)
}

/// All whole frames of this segment, in their order. What is none is passed over to the next that is one.
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
            Err(newer) => {
                scan.newer = scan.newer.max(newer);
                at += 1;
            }
        }
    }
    scan
}

/// The segment that the first whole frame here names.
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
    let mut places = (from.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN);
    places.find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(MAGIC)))
}

/// The frame that begins here; the version where it is whole and newer.
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
    let change = take(&mut content).ok_or(None)?;
    let mut groups = Vec::new();
    while !content.is_empty() {
        let begin = end - content.len() + 4;
        groups.push((begin as u64, take(&mut content).ok_or(None)?));
    }
    Ok(Frame { number, change, groups, end: (end + CHECKSUM_BYTES).next_multiple_of(ALIGN) as u64 })
}

fn take<'a>(content: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(content.try_get_u32().ok()?).ok()?;
    let (taken, rest) = content.split_at_checked(length)?;
    *content = rest;
    Some(taken)
}

/// A length as it is written. What is too long cannot be read back, and is noticed as damage.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for number in [0, 0, 1, 2, 3] {
            let (frame, _) = encode(7, number, b"change", &[b"group".to_vec(), vec![]]);
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
    fn frames_come_back_with_the_places_of_their_groups() {
        let (bytes, ends) = segment();
        let scan = scan(&bytes, 7);
        assert_eq!(numbers(&bytes), [0, 1, 2, 3]);
        let last = scan.frames.last().unwrap();
        assert_eq!((last.change, last.end), (b"change".as_slice(), ends[4] as u64));
        let place = usize::try_from(last.groups[0].0).unwrap();
        assert_eq!(&bytes[place..place + 5], b"group");
        assert!(!scan.has_gap);
    }

    #[test]
    fn a_flipped_bit_costs_one_frame_and_the_first_not_even_that() {
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
    fn frames_of_another_segment_are_not_taken() {
        assert_eq!(scan(&segment().0, 8).frames, []);
        assert_eq!(segment_of(&segment().0), Some(7));
    }
}
