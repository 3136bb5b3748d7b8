//! Blocks of VE.Direct: lines of a label, a tab and a value, the last of which is the checksum
//! (Victron, "VE.Direct protocol").
//!
//! Old firmware sends messages of the HEX protocol, from a colon to a line feed, also within a
//! block. They are no part of it.

use bytes::Bytes;

use super::shape::ScanResult;

/// The label of the last field; one byte follows, which may have any value.
pub(super) const LAST_FIELD: &[u8] = b"\r\nChecksum\t";

/// Searches for the end of the block that starts at the front.
pub(super) fn scan(buffer: &[u8]) -> ScanResult {
    let mut block = Vec::with_capacity(buffer.len());
    let mut at = 0;
    while let Some(byte) = buffer.get(at) {
        if block.ends_with(LAST_FIELD) {
            return ScanResult::whole(at + 1);
        }
        if *byte == b':' {
            let rest = buffer.get(at..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
            at += end + 1;
            if block.is_empty() {
                return ScanResult::Skip(at);
            }
        } else {
            block.push(*byte);
            at += 1;
        }
    }
    ScanResult::NeedsBytes
}

/// Returns the lines of a block without HEX messages and checksum; `None` if that is wrong.
pub(super) fn open(frame: &[u8]) -> Option<Bytes> {
    let (checksum, rest) = frame.split_last()?;
    let mut block = Vec::with_capacity(frame.len());
    let mut is_hex = false;
    for byte in rest {
        match byte {
            b':' => is_hex = true,
            b'\n' if is_hex => is_hex = false,
            _ if !is_hex => block.push(*byte),
            _ => {}
        }
    }
    // All bytes of a block add up to 0.
    let sum = block.iter().fold(*checksum, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 {
        return None;
    }
    let lines = block.strip_suffix(LAST_FIELD)?;
    Some(Bytes::copy_from_slice(lines.strip_prefix(b"\r\n").unwrap_or(lines)))
}
