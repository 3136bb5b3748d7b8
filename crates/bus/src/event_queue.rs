//! The collector's queue, bounded by the number of its events and by the bytes of their payloads.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::BusEvent;
use tidegate_model::BusMessage;

/// The most events in the queue.
const EVENTS_MAX: usize = 1_024;

/// The most bytes of topics and payloads in the queue. A single larger message has the queue to
/// itself.
const BYTES_MAX: usize = 4 << 20;

/// Reports that the queue has no room, or that the collector has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue of the collector is full or closed")]
pub struct QueueFull;

/// The end of the queue for the buses. Clones share the queue.
#[derive(Debug, Clone)]
pub struct EventSender {
    events: mpsc::Sender<QueuedEvent>,
    /// The bytes that are free.
    bytes: Arc<Semaphore>,
}

/// The end of the queue for the collector.
#[derive(Debug)]
pub struct EventReceiver {
    events: mpsc::Receiver<QueuedEvent>,
}

/// An event that takes room in the queue until it is dropped.
#[derive(Debug)]
pub struct QueuedEvent {
    /// The event.
    pub event: BusEvent,
    _room: Option<OwnedSemaphorePermit>,
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    place: mpsc::Permit<'a, QueuedEvent>,
    room: Option<OwnedSemaphorePermit>,
}

/// Creates a queue. It ends when all senders have been dropped.
pub fn event_queue() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let bytes = Arc::new(Semaphore::new(BYTES_MAX));
    (EventSender { events: sender, bytes }, EventReceiver { events: receiver })
}

impl EventSender {
    /// Adds an event. Waits while the queue is full.
    ///
    /// # Errors
    /// When the collector has ended.
    pub async fn send(&self, event: BusEvent) -> Result<(), QueueFull> {
        self.reserve(event.message()).await?.send(event);
        Ok(())
    }

    /// Adds an event, if there is room.
    ///
    /// # Errors
    /// When the queue is full, or when the collector has ended.
    pub fn try_send(&self, event: BusEvent) -> Result<(), QueueFull> {
        let place = self.events.try_reserve().map_err(|_| QueueFull)?;
        let take = |bytes| Arc::clone(&self.bytes).try_acquire_many_owned(bytes);
        let room = size(event.message()).map(take).transpose().map_err(|_| QueueFull)?;
        Place { place, room }.send(event);
        Ok(())
    }

    /// Waits for a place for an event with this message.
    ///
    /// # Errors
    /// When the collector has ended.
    pub(crate) async fn reserve(
        &self,
        message: Option<&BusMessage>,
    ) -> Result<Place<'_>, QueueFull> {
        let room = match size(message) {
            None => None,
            Some(bytes) => {
                let room = Arc::clone(&self.bytes).acquire_many_owned(bytes);
                Some(room.await.map_err(|_| QueueFull)?)
            }
        };
        let place = self.events.reserve().await.map_err(|_| QueueFull)?;
        Ok(Place { place, room })
    }
}

impl EventReceiver {
    /// Waits for the next event; `None` when all senders have been dropped. Cancel-safe.
    pub async fn recv(&mut self) -> Option<BusEvent> {
        self.events.recv().await.map(|queued| queued.event)
    }

    /// Waits for events, and moves up to `limit` of them to `buffer`. Returns 0 when all senders
    /// have been dropped. Cancel-safe.
    pub async fn recv_many(&mut self, buffer: &mut Vec<QueuedEvent>, limit: usize) -> usize {
        self.events.recv_many(buffer, limit).await
    }
}

impl Place<'_> {
    pub(crate) fn send(self, event: BusEvent) {
        let Self { place, room } = self;
        place.send(QueuedEvent { event, _room: room });
    }
}

/// Returns the bytes of a message in the queue; `None` for an event without one.
fn size(message: Option<&BusMessage>) -> Option<u32> {
    let message = message?;
    let bytes = (message.topic.len() + message.payload.len()).min(BYTES_MAX);
    u32::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;

    use super::*;
    use tidegate_model::{ReadingTime, WallTime};

    fn message(bytes: usize) -> BusEvent {
        let message = BusMessage {
            bus: "probes".parse().unwrap(),
            time: ReadingTime::Wall(WallTime::EPOCH),
            topic: String::new(),
            payload: Bytes::from(vec![0; bytes]),
            origin: None,
        };
        BusEvent::Message(message, None)
    }

    #[test]
    fn large_messages_fill_the_queue() {
        let (sender, mut receiver) = event_queue();
        for _ in 0..16 {
            sender.try_send(message(256 << 10)).unwrap();
        }
        assert_eq!(sender.try_send(message(1)), Err(QueueFull));
        assert_eq!(sender.try_send(BusEvent::Counted), Ok(()), "it has no payload");
        let mut arrived = Vec::new();
        assert_eq!(receiver.recv_many(&mut arrived, 4).now_or_never(), Some(4));
        assert_eq!(sender.try_send(message(1)), Err(QueueFull), "four are being handled");
        arrived.clear();
        assert_eq!(sender.try_send(message(1 << 20)), Ok(()));
    }

    #[test]
    fn many_small_messages_fill_the_queue() {
        let (sender, _receiver) = event_queue();
        for _ in 0..EVENTS_MAX {
            sender.try_send(message(10)).unwrap();
        }
        assert_eq!(sender.try_send(BusEvent::Counted), Err(QueueFull));
    }

    #[tokio::test]
    async fn message_larger_than_the_queue_waits_until_it_is_empty() {
        let (sender, mut receiver) = event_queue();
        sender.send(message(100)).await.unwrap();
        {
            let large = sender.send(message(2 * BYTES_MAX));
            tokio::pin!(large);
            assert!(futures_util::poll!(&mut large).is_pending());
            assert!(receiver.recv().await.is_some());
            large.await.unwrap();
        }
        drop(sender);
        assert!(receiver.recv().await.is_some());
        assert!(receiver.recv().await.is_none());
    }
}
