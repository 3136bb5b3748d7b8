//! Writes from actuators to a bus, and their outcomes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::BusContext;
use tidegate_model::{Name, Write};

/// The most writes in the queue of a bus.
const WRITES_MAX: usize = 64;

/// Why a write did not happen, or may not have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The bus has no connection.
    #[error("the bus is not connected")]
    NotConnected,
    /// The queue of the bus is full.
    #[error("the bus has too many writes waiting")]
    Busy,
    /// The connection was lost during the write, which may have happened.
    #[error("the connection was lost: {0}")]
    Broken(String),
    /// The device did not confirm the write.
    #[error("{0}")]
    Unconfirmed(String),
    /// The bus has no unit or output of this name.
    #[error("the bus has nothing named {0}")]
    Unknown(Name),
    /// The write is for another kind of bus.
    #[error("the write is for another kind of bus")]
    WrongKind,
}

/// A write, and the channel for its outcome.
#[derive(Debug)]
pub struct WriteRequest {
    /// The write.
    pub(crate) write: Write,
    outcome: oneshot::Sender<Result<String, WriteError>>,
}

impl WriteRequest {
    /// Returns whether the actuator has stopped waiting.
    pub(crate) fn is_given_up(&self) -> bool {
        self.outcome.is_closed()
    }

    /// Sends the outcome to the actuator.
    pub(crate) fn finish(self, outcome: Result<String, WriteError>) {
        // An actuator that stopped waiting has reported the write as timed out.
        drop(self.outcome.send(outcome));
    }
}

/// Sends writes to one bus.
#[derive(Debug, Clone)]
pub struct BusHandle {
    writes: mpsc::Sender<WriteRequest>,
}

/// The handles of all buses.
pub type Handles = BTreeMap<Name, BusHandle>;

impl BusHandle {
    /// Creates a handle, and the queue for the driver of the bus.
    pub fn new() -> (Self, WriteQueue) {
        let (writes, requests) = mpsc::channel(WRITES_MAX);
        (Self { writes }, WriteQueue(requests))
    }

    /// Queues a write without waiting for its outcome. The write may be lost.
    pub fn offer(&self, write: Write) {
        let (outcome, _) = oneshot::channel();
        self.writes.try_send(WriteRequest { write, outcome }).unwrap_or_default();
    }

    /// Writes and waits for the outcome.
    ///
    /// `Ok` means that the operating system has the bytes, that the broker has acknowledged the
    /// message, or that the device has confirmed it; the text is the device's reply, if any.
    pub async fn write(&self, write: Write) -> Result<String, WriteError> {
        let (outcome, finished) = oneshot::channel();
        let request = WriteRequest { write, outcome };
        self.writes.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::NotConnected,
        })?;
        finished.await.unwrap_or(Err(WriteError::NotConnected))
    }
}

/// The writes that wait for one bus. When a driver drops the queue, all writes fail at once.
#[derive(Debug)]
pub struct WriteQueue(mpsc::Receiver<WriteRequest>);

impl WriteQueue {
    /// Returns the next write. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> Option<WriteRequest> {
        self.0.recv().await
    }

    /// Waits for `delay` and rejects the writes that arrive meanwhile, because there is no
    /// connection. Returns `false` if the bus is stopped.
    pub(crate) async fn reject_for(&mut self, delay: Duration, context: &BusContext) -> bool {
        let end = Instant::now() + delay;
        loop {
            tokio::select! {
                () = context.stopped() => return false,
                () = tokio::time::sleep_until(end) => return true,
                Some(request) = self.recv() => request.finish(Err(WriteError::NotConnected)),
            }
        }
    }
}
