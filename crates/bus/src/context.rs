//! The connection of a driver to the rest of the daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::checkpoints::TailCheckpoint;
use crate::problem_log::ProblemLog;
use crate::{Ack, BusEvent, EventSender, LossCounters, SharedMonitor};
use tidegate_ingest::frame::{Frame, Loss, Lost};
use tidegate_ingest::mapping::Sensor;
use tidegate_model::{BusMessage, Name, Reason};
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::wait::blocking;

/// The time after which a blocking read is reported as a problem. A 1-Wire sensor takes most of a
/// second, and a bus may have many of them.
const READ_MAX: Duration = Duration::from_secs(60);

/// The subject of that problem.
const SLOW_READ: &str = "disk";

/// Returns the values of the `gateway` channels of a system bus.
pub type GatewayChannels = Arc<dyn Fn() -> Value + Send + Sync>;

/// Connects the driver of one bus to the rest of the daemon.
///
/// Clones share everything. The collector's queue ends when all contexts have been dropped.
#[derive(Clone)]
pub struct BusContext {
    /// The name of the bus.
    pub bus: Name,
    /// The sensors that read from the bus.
    pub sensors: Vec<Sensor>,
    /// The collector's queue.
    pub events: EventSender,
    /// Counts lost messages and pulses, and keeps the checkpoints of logs.
    pub losses: LossCounters,
    /// Receives the condition of the bus.
    pub monitor: SharedMonitor,
    /// The clock that gives messages their times.
    pub clock: SharedClock,
    /// Stops the bus.
    pub stop: CancellationToken,
    /// The values of the `gateway` channels, for a system bus.
    pub gateway_channels: GatewayChannels,
    /// Whether the bus runs for `tidegate sensor`, outside the daemon. The driver must then set no
    /// output and leave the sessions of the daemon alone.
    pub is_inspection: bool,
}

impl BusContext {
    /// Reports that the connection is open.
    pub fn report_connected(&self) {
        self.monitor.set_connected(&self.bus);
    }

    /// Reports that the connection is closed, and why.
    pub fn report_disconnected(&self, error: &str) {
        self.monitor.set_disconnected(&self.bus, error);
    }

    /// Creates the log of problems with parts of the bus.
    pub fn problems(&self) -> ProblemLog {
        ProblemLog::new(self.bus.clone(), Arc::clone(&self.monitor))
    }

    /// Creates a message that has just arrived.
    pub(crate) fn message(&self, topic: &str, payload: Bytes) -> BusMessage {
        let (bus, time) = (self.bus.clone(), self.clock.now());
        BusMessage { bus, time, topic: topic.to_owned(), payload, origin: None }
    }

    /// Passes on a message that cannot be read again. Drops and counts it if the queue is full.
    pub fn offer(&self, topic: &str, payload: Bytes) {
        self.offer_message(self.message(topic, payload));
    }

    /// Passes on a message that cannot be read again. Drops and counts it if the queue is full.
    pub(crate) fn offer_message(&self, message: BusMessage) {
        if self.events.try_send(BusEvent::Message(message, None)).is_err() {
            self.losses.drop(&self.bus, Reason::QueueFull);
        }
    }

    /// Passes on a message that its source keeps meanwhile. Waits while the queue is full.
    pub async fn deliver(&self, topic: &str, payload: Bytes, ack: Option<Ack>) {
        self.send(BusEvent::Message(self.message(topic, payload), ack)).await;
    }

    /// Sends an event. Waits while the queue is full.
    pub(crate) async fn send(&self, event: BusEvent) {
        if self.events.send(event).await.is_err() {
            self.losses.drop(&self.bus, Reason::QueueFull);
        }
    }

    /// Sends a line of a log with the checkpoint behind it, or a checkpoint alone. Waits while the
    /// queue is full.
    pub(crate) async fn deliver_line(
        &self,
        path: &Path,
        line: Option<BusMessage>,
        checkpoint: Option<TailCheckpoint>,
    ) {
        // The checkpoint moves only with a place in the queue: an undelivered line is read again.
        let Ok(place) = self.events.reserve(line.as_ref()).await else { return };
        match (line, self.losses.checkpoints().set(&self.bus, path, checkpoint)) {
            (line, Some(change)) => place.send(BusEvent::Line(line, change)),
            (Some(line), None) => place.send(BusEvent::Message(line, None)),
            (None, None) => {}
        }
    }

    /// Offers a frame of a stream, or counts its loss.
    pub(crate) fn offer_frame(&self, topic: &str, frame: Frame) {
        match frame {
            Frame::Whole(payload) => self.offer(topic, payload),
            Frame::Lost(lost) => self.count_lost(&lost),
        }
    }

    /// Delivers a frame of a stream, or counts its loss. Waits while the queue is full.
    pub(crate) async fn deliver_frame(&self, frame: Frame) {
        match frame {
            Frame::Whole(payload) => self.deliver("", payload, None).await,
            Frame::Lost(lost) => self.count_lost(&lost),
        }
    }

    /// Counts bytes that the framer rejected, and logs what they began with.
    fn count_lost(&self, lost: &Lost) {
        debug!(bus = %self.bus, "rejected {lost}");
        self.reject(reason(lost.loss));
    }

    /// Counts bytes that were rejected.
    pub(crate) fn count_loss(&self, loss: Loss) {
        debug!(bus = %self.bus, "rejected {loss}");
        self.reject(reason(loss));
    }

    /// Counts a message that is invalid.
    pub fn reject(&self, reason: Reason) {
        self.losses.reject(&self.bus, reason);
        self.announce_counts();
    }

    /// Counts a message that was delivered before.
    pub(crate) fn count_duplicate(&self) {
        self.losses.duplicate(&self.bus);
        self.announce_counts();
    }

    fn announce_counts(&self) {
        // With a full queue the collector commits soon in any case.
        self.events.try_send(BusEvent::Counted).unwrap_or_default();
    }

    /// Returns the pulses that an input has counted in all runs.
    pub(crate) fn pulses(&self, input: &Name) -> u64 {
        self.losses.pulses().get(&self.bus, input)
    }

    /// Sets the pulses that an input has counted. They go to the disk with the next message.
    pub(crate) fn set_pulses(&self, input: &Name, pulses: u64) {
        self.losses.pulses().set(&self.bus, input, pulses);
    }

    /// Returns the checkpoints of the bus's logs, also those of earlier runs.
    pub(crate) fn checkpoints(&self) -> BTreeMap<PathBuf, TailCheckpoint> {
        self.losses.checkpoints().of(&self.bus)
    }

    /// Waits until the bus is stopped. Cancel-safe.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Runs a blocking read on a thread of its own. Returns `None` if the bus is stopped.
    ///
    /// Reports a problem while the read takes longer than a minute: a network share or a sensor may
    /// never answer, and a restart would not help.
    pub async fn read_blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
        problems: &mut ProblemLog,
    ) -> Option<T> {
        let mut read = pin!(blocking(read));
        let waited = tokio::select! {
            () = self.stopped() => return None,
            waited = tokio::time::timeout(READ_MAX, &mut read) => waited,
        };
        let value = if let Ok(value) = waited {
            value
        } else {
            problems.begin(SLOW_READ, &format!("reading has not ended after {READ_MAX:?}"));
            tokio::select! {
                () = self.stopped() => return None,
                value = &mut read => value,
            }
        };
        problems.end(SLOW_READ);
        Some(value)
    }
}

/// Returns the reason in the ledger.
fn reason(loss: Loss) -> Reason {
    match loss {
        Loss::TooLong => Reason::TooLong,
        Loss::Checksum => Reason::BadChecksum,
        Loss::Incomplete => Reason::Incomplete,
        Loss::Noise => Reason::Noise,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::event_queue;
    use crate::monitor::Recorder;
    use tidegate_runtime::clock::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn reports_a_blocking_read_while_it_hangs() {
        let (events, _collector) = event_queue();
        let monitor = Arc::new(Recorder::default());
        let context = BusContext {
            bus: "probes".parse().unwrap(),
            sensors: Vec::new(),
            events,
            losses: LossCounters::default(),
            monitor: monitor.clone(),
            clock: Arc::new(SystemClock),
            stop: CancellationToken::new(),
            gateway_channels: Arc::new(|| Value::Null),
            is_inspection: false,
        };
        let mut problems = context.problems();
        let (answer, answered) = channel();
        let problem = || monitor.problem_of(SLOW_READ).unwrap_or_default();
        {
            let read = context.read_blocking(move || answered.recv().unwrap(), &mut problems);
            let mut read = Box::pin(read);
            assert!(futures_util::poll!(&mut read).is_pending());
            tokio::time::advance(READ_MAX).await;
            assert!(futures_util::poll!(&mut read).is_pending());
            assert!(problem().contains("has not ended after 60s"), "{}", problem());
            answer.send(7).unwrap();
            assert_eq!(read.await, Some(7));
        }
        assert!(!problem().contains("has not ended"), "{}", problem());
    }
}
