//! Acknowledgements: how whoever sent a message learns that it is on the disk.

use tokio::sync::{mpsc, oneshot};

use super::mqtt::Due;

/// An acknowledgement that somebody waits for.
#[derive(Debug)]
pub struct Ack(Waiting);

#[derive(Debug)]
enum Waiting {
    Broker { acks: mpsc::Sender<Due>, due: Due },
    Caller(oneshot::Sender<()>),
}

impl Ack {
    /// One that a broker waits for.
    pub(super) fn broker(acks: mpsc::Sender<Due>, due: Due) -> Self {
        Self(Waiting::Broker { acks, due })
    }

    /// One that somebody on this computer waits for.
    pub(super) fn caller() -> (Self, oneshot::Receiver<()>) {
        let (ack, acknowledged) = oneshot::channel();
        (Self(Waiting::Caller(ack)), acknowledged)
    }

    /// Acknowledges. Call it only when the message is safe, and in the order of arrival.
    pub fn send(self) {
        match self.0 {
            // A full or closed queue means that the connection is gone; the broker will deliver again.
            Waiting::Broker { acks, due } => acks.try_send(due).unwrap_or_default(),
            // A caller that has gone will send again.
            Waiting::Caller(ack) => ack.send(()).unwrap_or_default(),
        }
    }
}
