//! Sentences of NMEA 0183, cut by their own marks: several may stand in one line, behind other
//! bytes or tag blocks.

use bytes::Bytes;

use super::checksum::{Checksum, ChecksumAlgorithm, CoverEnd, Notation};
use super::loss::Loss;
use super::shape::ScanResult;

/// The checksum of a sentence.
const CHECKSUM: Checksum = Checksum {
    algorithm: ChecksumAlgorithm::Nmea,
    notation: Notation::Hexadecimal,
    from: 0,
    to: CoverEnd::BeforeChecksum(0),
};

/// The asterisk and the two digits of a checksum.
const CHECKSUM_BYTES: usize = 3;

/// Searches for the sentence that starts at the front.
pub(super) fn scan(buffer: &[u8]) -> ScanResult {
    match buffer.first() {
        None => ScanResult::NeedsBytes,
        Some(b'$' | b'!') => sentence(buffer),
        Some(b'\\') => tag_block(buffer),
        Some(_) => {
            let at = buffer.iter().position(|byte| matches!(byte, b'$' | b'!' | b'\\'));
            ScanResult::NotFrame(at.unwrap_or(buffer.len()))
        }
    }
}

fn sentence(buffer: &[u8]) -> ScanResult {
    let ends = |byte: &u8| matches!(byte, b'*' | b'\r' | b'\n' | b'$' | b'!');
    let Some(at) = buffer.iter().skip(1).position(ends).map(|at| at + 1) else {
        return ScanResult::NeedsBytes;
    };
    match buffer.get(at) {
        Some(b'*') => {
            let length = at + CHECKSUM_BYTES;
            let digits = buffer.get(at + 1..length.min(buffer.len())).unwrap_or_default();
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                ScanResult::Failed { loss: Loss::Checksum, length: at }
            } else if digits.len() < CHECKSUM_BYTES - 1 {
                ScanResult::NeedsBytes
            } else {
                ScanResult::whole(length)
            }
        }
        // Without a checksum nothing shows that the sentence is whole.
        Some(b'\r' | b'\n') => ScanResult::Failed { loss: Loss::Checksum, length: at },
        Some(_) | None => ScanResult::Failed { loss: Loss::Incomplete, length: at },
    }
}

/// Skips a tag block: `\s:rec,c:123*hh\`.
fn tag_block(buffer: &[u8]) -> ScanResult {
    let ends = |byte: &u8| matches!(byte, b'\\' | b'\r' | b'\n' | b'$' | b'!');
    let Some(at) = buffer.iter().skip(1).position(ends).map(|at| at + 1) else {
        return ScanResult::NeedsBytes;
    };
    if buffer.get(at) == Some(&b'\\') { ScanResult::Skip(at + 1) } else { ScanResult::NotFrame(at) }
}

/// Returns the sentence if its checksum is right.
pub(super) fn open(frame: &[u8]) -> Option<Bytes> {
    CHECKSUM.verify(frame).map(|_| Bytes::copy_from_slice(frame))
}
