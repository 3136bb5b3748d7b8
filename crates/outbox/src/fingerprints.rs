//! The origins of a bus as they are stored, and how a commit changes them. Numbers are big-endian:
//!
//! ```text
//! origins: each: packet id u16, digest u32, oldest first
//! change: forgotten u32, origins that were added; or origins alone, which replace all, as earlier versions wrote it
//! ```

use bytes::{Buf as _, BufMut as _};

use tidegate_model::{FingerprintChanges, MessageFingerprint};

/// A packet id and a digest.
const ORIGIN_BYTES: usize = 2 + 4;

pub(super) fn pack(change: &FingerprintChanges) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + ORIGIN_BYTES * change.added.len());
    // More than are remembered cannot be forgotten.
    bytes.put_u32(u32::try_from(change.forgotten).unwrap_or(u32::MAX));
    for origin in &change.added {
        bytes.put_u16(origin.packet_id);
        bytes.put_u32(origin.digest);
    }
    bytes
}

/// Applies a change to stored origins: the new ones are added, and of all the oldest forgotten.
pub(super) fn apply(stored: &mut Vec<u8>, mut change: &[u8]) {
    if change.len().is_multiple_of(ORIGIN_BYTES) {
        *stored = change.to_vec();
        return;
    }
    let forgotten =
        change.try_get_u32().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
    stored.extend_from_slice(change);
    stored.drain(..forgotten.saturating_mul(ORIGIN_BYTES).min(stored.len()));
}

pub(super) fn unpack(mut stored: &[u8]) -> Vec<MessageFingerprint> {
    let mut origins = Vec::with_capacity(stored.len() / ORIGIN_BYTES);
    while let (Ok(packet_id), Ok(digest)) = (stored.try_get_u16(), stored.try_get_u32()) {
        origins.push(MessageFingerprint { packet_id, digest });
    }
    origins
}
