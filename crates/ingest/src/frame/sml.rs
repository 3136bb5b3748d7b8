//! Files of the Smart Message Language in their transport layer, as household meters send them
//! (BSI TR-03109-1, SML 1.04, chapter 8).
//!
//! A file stands between two escape sequences, and the last one has the number of fill bytes and a
//! checksum. An escape sequence in the data is sent twice.

use bytes::Bytes;
use crc::{Crc, NoTable};

use super::loss::Loss;
use super::shape::{ScanResult, find_start};

const ESCAPE: [u8; 4] = [0x1b; 4];
const START: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];

/// The code of the last escape sequence.
const END: u8 = 0x1a;

/// The most fill bytes: a file is filled up to a multiple of four bytes.
const FILL_MAX: usize = 3;

/// Searches for the end of the file that starts at the front.
pub(super) fn scan(buffer: &[u8], scanned: usize) -> (ScanResult, usize) {
    if let Some(result) = find_start(buffer, &START) {
        return (result, 0);
    }
    let mut at = scanned.max(START.len());
    while let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) {
        match (rest.get(..4), rest.get(4..8)) {
            (None, _) if ESCAPE.starts_with(rest) => return (ScanResult::NeedsBytes, at),
            (Some(escape), None) if escape == ESCAPE => return (ScanResult::NeedsBytes, at),
            (Some(escape), Some(code)) if escape == ESCAPE => match *code {
                [END, ..] => {
                    let all = 0..at + 8;
                    let (length, content) = (all.end, all.clone());
                    let checked = all;
                    return (ScanResult::Frame { length, checked, content, is_checked: true }, at);
                }
                [1, 1, 1, 1] => {
                    return (ScanResult::Failed { loss: Loss::Incomplete, length: at }, at);
                }
                _ if code == ESCAPE => at += 8,
                _ => at += 1,
            },
            _ => at += 1,
        }
    }
    (ScanResult::NeedsBytes, at)
}

/// Returns the file without its transport layer; `None` if its checksum is wrong.
pub(super) fn open(frame: &[u8]) -> Option<Bytes> {
    let (covered, checksum) = frame.split_at_checked(frame.len().checked_sub(2)?)?;
    // The sender writes the low byte first. Some meters use the CRC of Kermit.
    let given = checksum.iter().rev().fold(0, |value, byte| value << 8 | u16::from(*byte));
    let is_right = [&crc::CRC_16_IBM_SDLC, &crc::CRC_16_KERMIT]
        .into_iter()
        .any(|algorithm| Crc::<u16, NoTable>::new(algorithm).checksum(covered) == given);
    let fill = usize::from(*covered.last()?);
    if !is_right || fill > FILL_MAX {
        return None;
    }
    let mut rest = frame.get(START.len()..frame.len().checked_sub(8)?)?;
    let mut file = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        file.push(*byte);
        let repeated = rest.strip_prefix(&ESCAPE).and_then(|rest| rest.strip_prefix(&ESCAPE));
        rest = match repeated {
            Some(after) => {
                file.extend(&ESCAPE[1..]);
                after
            }
            None => after,
        };
    }
    file.truncate(file.len().checked_sub(fill)?);
    Some(file.into())
}
