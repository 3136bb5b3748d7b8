//! What is seen of all parts of the demo at one moment.

use crate::stage::{HOUSE, PROBE};
use crate::status::Status;
use crate::thermometer::Record;

/// One look at everything.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Whether the cloud is cut off.
    pub(crate) dark: bool,
    /// What the daemon says, when it answers.
    pub(crate) status: Option<Status>,
    /// Readings in the cloud.
    pub(crate) stored: u64,
    /// Command streams that the daemon holds open.
    pub(crate) streams: usize,
    /// The instrument on the serial line.
    pub(crate) probe: Record,
    /// Readings of the climate sensor that the broker acknowledged.
    pub(crate) climate: u64,
    /// Readings of the power meter that the broker acknowledged.
    pub(crate) power: u64,
    /// Whether the broker has acknowledged every message of the instruments.
    pub(crate) house_settled: bool,
    /// Whether the lamp is subscribed.
    pub(crate) lamp_listens: bool,
    /// Commands sent.
    pub(crate) sent: usize,
    /// Orders that the actuators have seen.
    pub(crate) executed: usize,
    /// The last order that the fan has seen.
    pub(crate) fan: Option<String>,
    /// The last order that the lamp has seen.
    pub(crate) lamp: Option<String>,
}

impl Figures {
    /// States in the daemon's outbox, when it answers.
    pub(crate) fn backlog(&self) -> Option<u64> {
        self.status.as_ref().map(|status| status.outbox.states)
    }

    /// Whether the actuators have seen every order.
    pub(crate) fn all_executed(&self) -> bool {
        self.executed >= self.sent
    }

    /// Readings that the instruments on MQTT have published.
    pub(crate) fn house(&self) -> u64 {
        self.climate + self.power
    }

    /// Whether the daemon has seen all that the thermometer put on the wire.
    pub(crate) fn probe_is_read(&self) -> bool {
        self.received(PROBE) >= self.probe.readings()
    }

    /// Whether the daemon has seen all that was published.
    pub(crate) fn house_is_read(&self) -> bool {
        self.house_settled && self.received(HOUSE) >= self.house()
    }

    fn received(&self, bus: &str) -> u64 {
        self.status.as_ref().map_or(0, |status| status.received(bus))
    }
}
