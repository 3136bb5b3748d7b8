//! Files of the Smart Message Language in their transport layer, as household meters send them
//! (BSI TR-03109-1, SML 1.04, chapter 8).
//!
//! A file stands between two escape sequences, and the last one has the number of fill bytes and a
//! checksum. An escape sequence in the data is sent twice.

use bytes::Bytes;

use super::loss::Loss;
use super::shape::{ScanResult, find_start};
use crate::sml_transport::{BEGIN, END, ESCAPE, FILL_MAX, is_checksum_of, restored};

/// Searches for the end of the file that starts at the front.
pub(super) fn scan(buffer: &[u8], scanned: usize) -> (ScanResult, usize) {
    if let Some(result) = find_start(buffer, &BEGIN) {
        return (result, 0);
    }
    let mut at = scanned.max(BEGIN.len());
    while let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) {
        match (rest.get(..4), rest.get(4..8)) {
            (None, _) if ESCAPE.starts_with(rest) => return (ScanResult::NeedsBytes, at),
            (Some(escape), None) if escape == ESCAPE => return (ScanResult::NeedsBytes, at),
            (Some(escape), Some(code)) if escape == ESCAPE => match *code {
                [END, ..] => return (ScanResult::whole(at + 8), at),
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
    let (covered, checksum) = frame.split_last_chunk()?;
    let is_right = is_checksum_of(covered, u16::from_be_bytes(*checksum).into());
    let fill = usize::from(*covered.last()?);
    if !is_right || fill > FILL_MAX {
        return None;
    }
    let mut file = restored(frame.get(BEGIN.len()..frame.len().checked_sub(8)?)?);
    file.truncate(file.len().checked_sub(fill)?);
    Some(file.into())
}
