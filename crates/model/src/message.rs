//! One message of a bus, before it is decoded and mapped to a device.

use bytes::Bytes;

use super::{Name, ReadingTime};

/// Holds one line, frame or payload as it arrived from a bus. It may contain many readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusMessage {
    /// The bus that received the message.
    pub bus: Name,
    /// The time at which the last byte arrived.
    pub time: ReadingTime,
    /// The MQTT topic; empty on a bus that has none.
    pub topic: String,
    /// The frame without its delimiter, or the payload.
    pub payload: Bytes,
    /// Lets the outbox recognise a redelivery; `None` if the bus never redelivers.
    pub origin: Option<MessageFingerprint>,
}

/// Identifies one QoS 1 message of a broker session, so that a redelivery is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageFingerprint {
    /// The MQTT packet id, which a redelivery in the same session repeats.
    pub packet_id: u16,
    /// The CRC-32 of topic and payload. It differs if another message reuses the packet id.
    pub digest: u32,
}

/// Describes a change to the stored fingerprints of a broker session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FingerprintChanges {
    /// The fingerprints to append to the stored ones, oldest first.
    pub added: Vec<MessageFingerprint>,
    /// The number of oldest fingerprints to remove after that.
    pub forgotten: usize,
}

impl FingerprintChanges {
    /// Returns whether there is no change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
