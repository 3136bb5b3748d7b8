//! What a bus is asked to write: the actuator's side of a command.

use bytes::Bytes;

/// One write to a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Bytes for a serial line, with the delimiter that the actuator wants.
    Serial {
        /// What goes on the wire.
        bytes: Bytes,
    },
    /// A message for an MQTT broker.
    Mqtt {
        /// A topic without wildcards.
        topic: String,
        /// The message.
        payload: Bytes,
        /// 0 or 1.
        qos: u8,
        /// Whether the broker keeps it for later subscribers.
        retain: bool,
    },
}
