//! What a bus yields: one message of a sensor, not yet about any device.

use bytes::Bytes;

use super::{Name, ReadingTime};

/// One line or payload as it came from a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The bus that it came from.
    pub bus: Name,
    /// When its last byte arrived.
    pub time: ReadingTime,
    /// The MQTT topic; empty on a bus that has none.
    pub topic: String,
    /// The frame without its delimiter, or the payload.
    pub payload: Bytes,
    /// What the outbox must remember so that a redelivery is known; `None` where the bus never redelivers.
    pub origin: Option<MessageFingerprint>,
}

/// The mark of one QoS 1 message in a broker session: enough to know it when it is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageFingerprint {
    /// The MQTT packet id, which a redelivery in the same session repeats.
    pub packet_id: u16,
    /// CRC-32 of topic and payload, which tells a redelivery from another message that reuses the packet id.
    pub digest: u32,
}

/// What changes of the origins that are remembered of a broker session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FingerprintChanges {
    /// These come after those that are known, oldest first.
    pub added: Vec<MessageFingerprint>,
    /// So many of the oldest of all are then forgotten.
    pub forgotten: usize,
}

impl FingerprintChanges {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
