//! The state of all parts of the demo at one moment.

use crate::example_config::{HOUSE, PROBE};
use crate::status::Status;
use crate::thermometer::Activity;

/// A snapshot of all parts of the demo.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Whether the demo has made the cloud unreachable.
    pub(crate) outage: bool,
    /// The daemon's status; `None` while it does not respond.
    pub(crate) status: Option<Status>,
    /// Readings stored in the cloud.
    pub(crate) stored: u64,
    /// Command streams that the daemon has open.
    pub(crate) streams: usize,
    /// The activity of the serial thermometer.
    pub(crate) thermometer: Activity,
    /// Readings of the climate sensor that the broker acknowledged.
    pub(crate) climate: u64,
    /// Readings of the power meter that the broker acknowledged.
    pub(crate) power: u64,
    /// Whether the broker has acknowledged all messages of the MQTT sensors.
    pub(crate) mqtt_acknowledged: bool,
    /// Whether the lamp's subscription is confirmed.
    pub(crate) lamp_subscribed: bool,
    /// Commands sent.
    pub(crate) commands_sent: usize,
    /// Commands that the actuators received.
    pub(crate) commands_received: usize,
    /// The last command that the fan received.
    pub(crate) fan: Option<String>,
    /// The last command that the lamp received.
    pub(crate) lamp: Option<String>,
}

impl Snapshot {
    /// Returns the states in the daemon's outbox; `None` while the daemon does not respond.
    pub(crate) fn queued_states(&self) -> Option<u64> {
        self.status.as_ref().map(|status| status.outbox.states)
    }

    /// Returns whether the actuators have received all commands.
    pub(crate) fn all_commands_received(&self) -> bool {
        self.commands_received >= self.commands_sent
    }

    /// Returns the readings that the MQTT sensors have published.
    pub(crate) fn mqtt_readings(&self) -> u64 {
        self.climate + self.power
    }

    /// Returns whether the daemon has received all readings of the thermometer.
    pub(crate) fn probe_received(&self) -> bool {
        self.received(PROBE) >= self.thermometer.readings()
    }

    /// Returns whether the daemon has received all readings of the MQTT sensors.
    pub(crate) fn house_received(&self) -> bool {
        self.mqtt_acknowledged && self.received(HOUSE) >= self.mqtt_readings()
    }

    fn received(&self, bus: &str) -> u64 {
        self.status.as_ref().map_or(0, |status| status.received(bus))
    }
}
