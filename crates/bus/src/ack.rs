//! Acknowledgements: they notify the sender of a message that it is on the disk.

use tokio::sync::{mpsc, oneshot};

use crate::mqtt::PacketAck;

/// An acknowledgement that the sender of a message waits for.
#[derive(Debug)]
pub struct Ack(Recipient);

#[derive(Debug)]
enum Recipient {
    Broker { acks: mpsc::Sender<PacketAck>, ack: PacketAck },
    Caller(oneshot::Sender<()>),
}

impl Ack {
    /// Creates an acknowledgement for a broker.
    pub(crate) fn broker(acks: mpsc::Sender<PacketAck>, ack: PacketAck) -> Self {
        Self(Recipient::Broker { acks, ack })
    }

    /// Creates an acknowledgement for a task of this process.
    pub(crate) fn caller() -> (Self, oneshot::Receiver<()>) {
        let (ack, acknowledged) = oneshot::channel();
        (Self(Recipient::Caller(ack)), acknowledged)
    }

    /// Returns whether someone waits for it now: a client for its response, not a broker session.
    pub fn is_awaited(&self) -> bool {
        matches!(self.0, Recipient::Caller(_))
    }

    /// Sends the acknowledgement. Call it only when the message is on the disk or Losant has
    /// confirmed it, and in the order of arrival.
    ///
    /// The compiler does not check this. The only caller is the collector's `Intake::release`, with
    /// the commits that `Committer::take_safe` returns.
    pub fn send(self) {
        match self.0 {
            // A full or closed queue means a lost connection: the broker redelivers the message.
            Recipient::Broker { acks, ack } => acks.try_send(ack).unwrap_or_default(),
            // A caller that has ended sends the message again.
            Recipient::Caller(ack) => ack.send(()).unwrap_or_default(),
        }
    }
}
