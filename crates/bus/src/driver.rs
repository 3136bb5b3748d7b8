//! The interface of all drivers, and the table of their kinds.

use std::pin::Pin;

use crate::{BusContext, WriteQueue};
use tidegate_config::BusKind;
use tidegate_ingest::frame::Framing;

/// The task of one bus.
pub type BusTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects to one kind of bus. The settings of the kind implement it.
pub trait BusDriver {
    /// Returns the connection in a few words, for `tidegate check`.
    fn describe(&self) -> String;

    /// Returns the bytes that the driver sends and expects, one line for each kind, for `tidegate
    /// check` and `tidegate sensor test`. Default: none.
    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns how a recorded stream of bytes is cut into messages. `None`, the default, means that
    /// a recording is a single message.
    fn framing(&self) -> Option<Framing> {
        None
    }

    /// Returns the task that runs the bus until [`BusContext::stopped`].
    ///
    /// The task waits for absent instruments. A driver that only reads drops `writes`, so that each
    /// write fails at once.
    fn task(&self, context: BusContext, writes: WriteQueue) -> BusTask;
}

/// Returns the driver of a bus. This is the table of kinds: one line each.
pub fn driver(kind: &BusKind) -> &dyn BusDriver {
    match kind {
        BusKind::Exec(settings) => settings,
        BusKind::File(settings) => settings,
        BusKind::Gpio(settings) => settings,
        BusKind::Http(settings) => settings,
        BusKind::Modbus(settings) => settings,
        BusKind::Mqtt(settings) => settings,
        BusKind::Serial(settings) => settings,
        BusKind::System(settings) => settings,
    }
}
