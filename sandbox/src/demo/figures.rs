//! What is seen of all parts of the demo at one moment.

use super::stage::{HOUSE, PROBE};
use super::status::Status;
use super::thermometer::Record;

/// One look at everything.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// Whether the cloud is cut off.
    pub(super) dark: bool,
    /// What the daemon says, when it answers.
    pub(super) status: Option<Status>,
    /// Readings in the cloud.
    pub(super) stored: u64,
    /// Command streams that the daemon holds open.
    pub(super) streams: usize,
    /// The instrument on the serial line.
    pub(super) probe: Record,
    /// Readings of the climate sensor that the broker acknowledged.
    pub(super) climate: u64,
    /// Readings of the power meter that the broker acknowledged.
    pub(super) power: u64,
    /// Whether the broker has acknowledged every message of the instruments.
    pub(super) house_settled: bool,
    /// Whether the lamp is subscribed.
    pub(super) lamp_listens: bool,
    /// Commands sent.
    pub(super) sent: usize,
    /// Orders that the actuators have seen.
    pub(super) executed: usize,
    /// The last order that the fan has seen.
    pub(super) fan: Option<String>,
    /// The last order that the lamp has seen.
    pub(super) lamp: Option<String>,
}

impl Figures {
    /// States in the daemon's outbox, when it answers.
    pub(super) fn backlog(&self) -> Option<u64> {
        self.status.as_ref().map(|status| status.outbox.states)
    }

    /// Whether the actuators have seen every order.
    pub(super) fn all_executed(&self) -> bool {
        self.executed >= self.sent
    }

    /// Readings that the instruments on MQTT have published.
    pub(super) fn house(&self) -> u64 {
        self.climate + self.power
    }

    /// Whether the daemon has seen all that the thermometer put on the wire.
    pub(super) fn probe_is_read(&self) -> bool {
        self.received(PROBE) >= self.probe.readings()
    }

    /// Whether the daemon has seen all that was published.
    pub(super) fn house_is_read(&self) -> bool {
        self.house_settled && self.received(HOUSE) >= self.house()
    }

    fn received(&self, bus: &str) -> u64 {
        self.status.as_ref().map_or(0, |status| status.received(bus))
    }
}
