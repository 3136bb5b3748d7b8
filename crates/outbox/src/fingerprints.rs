//! The stored form of the MQTT fingerprints of a bus, and of their changes. Numbers are big-endian:
//!
//! ```text
//! fingerprints: each: packet id u16, digest u32, oldest first
//! change: count to remove from the front u32, fingerprints to add;
//!     or fingerprints alone, which replace all (written by earlier versions)
//! ```

use bytes::{Buf as _, BufMut as _};

use tidegate_model::{FingerprintChanges, MessageFingerprint};

/// A packet id and a digest.
const FINGERPRINT_BYTES: usize = 2 + 4;

/// Encodes a change.
pub(super) fn pack(change: &FingerprintChanges) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + FINGERPRINT_BYTES * change.added.len());
    // A count above the number of fingerprints removes all of them.
    bytes.put_u32(u32::try_from(change.forgotten).unwrap_or(u32::MAX));
    for fingerprint in &change.added {
        bytes.put_u16(fingerprint.packet_id);
        bytes.put_u32(fingerprint.digest);
    }
    bytes
}

/// Applies a change: adds the new fingerprints, then removes the oldest.
pub(super) fn apply(stored: &mut Vec<u8>, mut change: &[u8]) {
    if change.len().is_multiple_of(FINGERPRINT_BYTES) {
        *stored = change.to_vec();
        return;
    }
    let forgotten =
        change.try_get_u32().map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
    stored.extend_from_slice(change);
    stored.drain(..forgotten.saturating_mul(FINGERPRINT_BYTES).min(stored.len()));
}

/// Decodes fingerprints, oldest first.
pub(super) fn unpack(mut stored: &[u8]) -> Vec<MessageFingerprint> {
    let mut fingerprints = Vec::with_capacity(stored.len() / FINGERPRINT_BYTES);
    while let (Ok(packet_id), Ok(digest)) = (stored.try_get_u16(), stored.try_get_u32()) {
        fingerprints.push(MessageFingerprint { packet_id, digest });
    }
    fingerprints
}
