//! The events that buses and the dispatcher send to the collector.

use tokio::sync::mpsc;

use crate::{Ack, CheckpointChange};
use tidegate_ingest::mapping::Pipeline;
use tidegate_model::{BusMessage, DeviceId, Name, State};

/// The name under which the ledger counts reports. No bus can have this name.
pub const REPORTS: &str = "commands";

/// An event in the collector's queue.
#[derive(Debug)]
pub enum BusEvent {
    /// A message for the sensors of a bus, with its acknowledgement if the sender waits for one.
    Message(BusMessage, Option<Ack>),
    /// A line of a log with the checkpoint behind it, or a checkpoint alone. The collector commits
    /// both together.
    Line(Option<BusMessage>, CheckpointChange),
    /// The acknowledgement of a message of this bus that has no value for a sensor.
    ///
    /// It is sent after those of the messages before it.
    Empty(Name, Ack),
    /// This bus lost its broker session.
    Disconnected(Name),
    /// This bus stops once its messages are acknowledged.
    Stopping(Name),
    /// The broker has received the acknowledgement of the latest message with this packet id, and
    /// all acknowledgements before it.
    Acknowledged {
        /// The bus.
        bus: Name,
        /// The packet id.
        packet_id: u16,
    },
    /// The [`LossCounters`](crate::LossCounters) have changed.
    Counted,
    /// A state that the gateway generated.
    Report(Report),
    /// From this event on, this pipeline maps the messages of the bus; `None` if the bus is gone.
    Pipeline(Name, Option<Box<Pipeline>>),
    /// A broker session is open.
    Connected {
        /// The bus.
        bus: Name,
        /// Whether the broker kept the session, and so may redeliver unacknowledged messages.
        resumed: bool,
    },
}

impl BusEvent {
    /// Returns the message of the event, if it has one.
    pub(crate) fn message(&self) -> Option<&BusMessage> {
        match self {
            Self::Message(message, _) | Self::Line(Some(message), _) => Some(message),
            Self::Line(None, _)
            | Self::Empty(..)
            | Self::Disconnected(_)
            | Self::Stopping(_)
            | Self::Acknowledged { .. }
            | Self::Counted
            | Self::Report(_)
            | Self::Pipeline(..)
            | Self::Connected { .. } => None,
        }
    }
}

/// A state that comes from no sensor: the result of a command. Counted under [`REPORTS`].
#[derive(Debug)]
pub struct Report {
    /// The device of the state.
    pub device: DeviceId,
    /// The state.
    pub state: State,
    /// A number, and the channel that receives it when the state is on the disk.
    pub receipt: Option<(u64, mpsc::Sender<u64>)>,
}
