//! Buses: one connection each, owned once, used in both directions.
//!
//! A bus puts what it hears into the collector's queue as [`BusEvent`]s and takes [`WriteRequest`]s from its own queue. It
//! never waits for a collector that is behind, except where the other side then holds the data for us (MQTT QoS 1).

mod ack;
mod attempts;
mod checkpoints;
mod exec;
mod feed;
mod file;
mod gpio;
mod http;
mod modbus;
mod monitor;
mod mqtt;
mod problem_log;
mod pulse_counts;
mod serial;
mod system;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use ack::Ack;
pub use checkpoints::{CHECKPOINTS, CheckpointChange, TailCheckpoints};
pub use exec::ExecTask;
pub use feed::Feed;
pub use file::FileTask;
pub use gpio::GpioTask;
pub use http::HttpTask;
pub use modbus::ModbusTask;
pub use monitor::{Monitor, SharedMonitor};
pub use mqtt::{MqttTask, Subscription};
pub use pulse_counts::{PULSES, PulseCounts};
pub use serial::{SerialTask, Tty, open_line};
pub use system::{Health, SystemTask};

use tidegate_ingest::frame::Loss;
use tidegate_ingest::mapping::Pipeline;
use tidegate_model::{DeviceId, Ledger, Name, Reading, Reason, State, Write};

/// Arrivals that may wait for the collector.
pub const ARRIVALS_MAX: usize = 1_024;

/// Writes that may wait for a bus.
const WRITES_MAX: usize = 64;

/// The first and the longest wait before a lost connection is tried again: a replugged adapter should be back in seconds.
const RECONNECT_WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What a bus tells the collector.
#[derive(Debug)]
pub enum BusEvent {
    /// A message of a sensor, with its acknowledgement if the sender waits for one.
    Reading(Reading, Option<Ack>),
    /// A line of a log, if it is not only the place, and where it is read on behind it: committed together.
    Line(Option<Reading>, CheckpointChange),
    /// A message with nothing to keep that must be acknowledged in its turn.
    Empty(Ack),
    /// The broker session of this bus was lost.
    Disconnected(Name),
    /// The broker has heard the acknowledgement of the message that had this packet id last, and those before it.
    Acknowledged {
        /// The bus.
        bus: Name,
        /// The packet id.
        packet_id: u16,
    },
    /// Something was counted in the [`LossCounters`].
    Counted,
    /// A state of the gateway's own.
    Report(Report),
    /// From here on the readings of this bus mean this; nothing, when the bus is gone.
    Pipeline(Name, Option<Pipeline>),
    /// A broker session was opened; `resumed` says whether it may deliver again what was not acknowledged.
    Session {
        /// The bus.
        bus: Name,
        /// Whether the broker kept the session.
        resumed: bool,
    },
}

/// A state that comes from no sensor: what became of a command. It is counted under [`REPORTS`].
#[derive(Debug)]
pub struct Report {
    /// Whose state.
    pub device: DeviceId,
    /// The state.
    pub state: State,
    /// Told the number when the state is on the disk.
    pub told: Option<(u64, mpsc::Sender<u64>)>,
}

/// The name under which the ledger counts reports; no bus can have it.
pub const REPORTS: &str = "commands";

/// Counts what a bus loses before it reaches the collector, which adds it to the ledger at its next commit; and the pulses
/// that a bus counts, which go to the disk with the same commit. It also knows up to where logs were read.
#[derive(Debug, Clone, Default)]
pub struct LossCounters {
    losses: Arc<Mutex<Ledger>>,
    pulses: PulseCounts,
    marks: TailCheckpoints,
}

impl LossCounters {
    /// A tally that goes on from these pulses and these marks.
    pub fn new(pulses: PulseCounts, marks: TailCheckpoints) -> Self {
        Self { losses: Arc::default(), pulses, marks }
    }

    /// The pulses.
    pub fn pulses(&self) -> &PulseCounts {
        &self.pulses
    }

    /// Counts messages that are not fit to be sent.
    pub fn reject(&self, bus: &Name, reason: Reason) {
        self.losses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(bus.clone())
            .or_default()
            .reject(reason, 1);
    }

    /// Counts messages that were lost.
    pub fn drop(&self, bus: &Name, reason: Reason) {
        self.losses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(bus.clone())
            .or_default()
            .drop(reason, 1);
    }

    /// Counts a message that was delivered again and is known.
    pub fn duplicate(&self, bus: &Name) {
        let mut ledger = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.entry(bus.clone()).or_default().duplicates += 1;
    }

    /// Takes what was counted since the last time.
    pub fn take(&self) -> Ledger {
        std::mem::take(&mut *self.losses.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A bus's way to the collector, and to the monitor of its condition.
#[derive(Debug, Clone)]
pub struct BusContext {
    bus: Name,
    arrivals: mpsc::Sender<BusEvent>,
    tally: LossCounters,
    monitor: SharedMonitor,
}

impl BusContext {
    /// The way of `bus` to the collector.
    pub fn new(
        bus: Name,
        arrivals: mpsc::Sender<BusEvent>,
        tally: LossCounters,
        monitor: SharedMonitor,
    ) -> Self {
        Self { bus, arrivals, tally, monitor }
    }

    /// The line or the session is there.
    fn connected(&self) {
        self.monitor.connected(&self.bus);
    }

    /// The line or the session is not there.
    fn lost(&self, error: &str) {
        self.monitor.disconnected(&self.bus, error);
    }

    /// Something on the bus is in trouble, or is no longer.
    fn trouble(&self, subject: &str, trouble: Option<&str>) {
        self.monitor.problem(&self.bus, subject, trouble);
    }

    /// Passes a reading on, or counts it as dropped when the collector is behind.
    fn offer(&self, reading: Reading, ack: Option<Ack>) {
        if self.arrivals.try_send(BusEvent::Reading(reading, ack)).is_err() {
            self.tally.drop(&self.bus, Reason::QueueFull);
        }
    }

    /// Waits until the collector takes it.
    async fn deliver(&self, arrival: BusEvent) {
        if self.arrivals.send(arrival).await.is_err() {
            self.tally.drop(&self.bus, Reason::QueueFull);
        }
    }

    /// Counts what a framer could not make a frame of.
    fn lose_frame(&self, loss: Loss) {
        let reason = match loss {
            Loss::TooLong => Reason::TooLong,
            Loss::Checksum => Reason::BadChecksum,
            Loss::Incomplete => Reason::Incomplete,
            Loss::Noise => Reason::Noise,
        };
        debug!(bus = %self.bus, %reason, "bytes that are no frame were rejected");
        self.reject(reason);
    }

    fn duplicate(&self) {
        self.tally.duplicate(&self.bus);
        self.arrivals.try_send(BusEvent::Counted).unwrap_or_default();
    }

    fn reject(&self, reason: Reason) {
        self.tally.reject(&self.bus, reason);
        // A full queue brings the collector to its next commit anyway.
        self.arrivals.try_send(BusEvent::Counted).unwrap_or_default();
    }
}

/// Why a write did not happen, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The bus has no connection now.
    #[error("the bus is not connected")]
    NotConnected,
    /// More writes wait than the bus takes.
    #[error("the bus has too many writes waiting")]
    Busy,
    /// The connection broke while the write was under way: it may have happened.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The device did not say that it did it.
    #[error("{0}")]
    Unconfirmed(String),
    /// The bus does not know where to.
    #[error("the bus has nothing called {0}")]
    Unknown(Name),
    /// The write is for another kind of bus.
    #[error("this is not a write for this kind of bus")]
    WrongKind,
}

/// A write and the place where its outcome goes.
#[derive(Debug)]
pub struct WriteRequest {
    write: Write,
    done: oneshot::Sender<Result<String, WriteError>>,
}

impl WriteRequest {
    /// Whether whoever asked has stopped waiting.
    fn is_given_up(&self) -> bool {
        self.done.is_closed()
    }

    /// Tells the outcome. Whoever asked may have stopped waiting, which is their affair.
    fn finish(self, outcome: Result<String, WriteError>) {
        drop(self.done.send(outcome));
    }
}

/// The actuators' way to a bus.
#[derive(Debug, Clone)]
pub struct BusHandle {
    writes: mpsc::Sender<WriteRequest>,
}

impl BusHandle {
    /// A handle, and the queue for the bus's task.
    pub fn new() -> (Self, mpsc::Receiver<WriteRequest>) {
        let (writes, requests) = mpsc::channel(WRITES_MAX);
        (Self { writes }, requests)
    }

    /// Writes what nobody waits for; it may be lost.
    pub fn offer(&self, write: Write) {
        let (done, _) = oneshot::channel();
        self.writes.try_send(WriteRequest { write, done }).unwrap_or_default();
    }

    /// Writes, and waits for the outcome: the bytes are with the operating system, the broker has acknowledged, or the device
    /// has answered, in its words.
    pub async fn write(&self, write: Write) -> Result<String, WriteError> {
        let (done, outcome) = oneshot::channel();
        self.writes.try_send(WriteRequest { write, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::NotConnected,
        })?;
        outcome.await.unwrap_or(Err(WriteError::NotConnected))
    }
}

/// The handles of all buses.
pub type Handles = BTreeMap<Name, BusHandle>;

/// Sleeps until then; for ever if there is nothing to wait for.
async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Waits before the next connection; writes that come meanwhile are refused. `false` when the daemon stops.
async fn pause(
    delay: Duration,
    writes: &mut mpsc::Receiver<WriteRequest>,
    stop: &CancellationToken,
) -> bool {
    let until = Instant::now() + delay;
    loop {
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep_until(until) => return true,
            Some(request) = writes.recv() => request.finish(Err(WriteError::NotConnected)),
        }
    }
}
