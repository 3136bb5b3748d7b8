//! How the daemon is: what the tasks tell of themselves on the [`StatusRegistry`], and what is told of it to those who ask.

mod document;
mod health;
mod metrics;
mod parts;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use document::{Document, Sources, ThrottleStatus, Waiting};
pub use health::{Complaint, Condition, Health, Reason};
pub use parts::{ActuatorStatus, BusStatus, DiskStatus, SensorStatus, Since};
pub use totals::{ClockStatus, CloudStatus, CommandStatus, OutboxStatus, ReloadStatus};

use tidegate_bus::Monitor;
use tidegate_commands::history::Record;
use tidegate_delivery::throttle::Throttle;
use tidegate_ingest::sensor_stats::Vitals;
use tidegate_model::{DeviceId, Name};
use tidegate_timing::rate_meter::RateMeter;

/// How many commands the board shows.
const RECENT_MAX: usize = 50;

/// What the tasks tell of themselves. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StatusRegistry(Arc<Mutex<StatusData>>);

/// The board's content. Its size is bounded by the configuration.
#[derive(Debug, Clone, Default)]
pub struct StatusData {
    /// The link to the cloud.
    pub cloud: CloudStatus,
    /// The time of day.
    pub clock: ClockStatus,
    /// Commands.
    pub commands: CommandStatus,
    /// Open command streams, by device.
    pub streams: BTreeMap<Name, bool>,
    /// The last commands, newest first.
    pub recent: Vec<Record>,
    /// Whether all is up.
    pub is_ready: bool,
    /// Reloads.
    pub reload: ReloadStatus,
    names: Names,
    buses: BTreeMap<Name, BusStatus>,
    sensors: BTreeMap<Name, Vec<(Name, Vitals)>>,
    actuators: BTreeMap<Name, ActuatorStatus>,
    disk: DiskStatus,
    /// The longest that a reading waits until it is safe.
    promise: Duration,
    /// The calls of the last seconds.
    calls: BTreeMap<DeviceId, Throttle>,
    /// States that come into the outbox.
    committed: RateMeter,
    /// States that the cloud took out of it.
    stored: RateMeter,
}

/// What the configuration has: all that can be told of.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Its devices.
    pub devices: BTreeMap<DeviceId, Name>,
    /// Its buses.
    pub buses: BTreeSet<Name>,
    /// Its actuators.
    pub actuators: BTreeSet<Name>,
}

impl StatusRegistry {
    /// The last of these commands, newest first, as the board shows them.
    pub fn recent<'a>(records: impl DoubleEndedIterator<Item = &'a Record>) -> Vec<Record> {
        records.rev().take(RECENT_MAX).cloned().collect()
    }

    /// Looks at the board, or changes it.
    pub fn data(&self) -> MutexGuard<'_, StatusData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the configuration has these parts; of others nothing is told any more.
    pub fn configure(&self, names: Names) {
        let mut notes = self.data();
        let StatusData { buses, sensors, actuators, .. } = &mut *notes;
        buses.retain(|name, _| names.buses.contains(name));
        sensors.retain(|name, _| names.buses.contains(name));
        actuators.retain(|name, _| names.actuators.contains(name));
        for name in &names.buses {
            buses.entry(name.clone()).or_default();
        }
        for name in &names.actuators {
            actuators.entry(name.clone()).or_default();
        }
        notes.names = names;
    }

    /// A bus starts, perhaps as another kind of bus than before.
    pub fn started(&self, bus: &Name) {
        self.data().buses.insert(bus.clone(), BusStatus::default());
    }

    /// How a bus is.
    pub fn bus(&self, bus: &Name) -> BusStatus {
        self.data().buses.get(bus).cloned().unwrap_or_default()
    }

    /// What the sensors of a bus said lately.
    pub fn heard(&self, bus: &Name, sensors: Vec<(Name, Vitals)>) {
        let mut notes = self.data();
        if notes.names.buses.contains(bus) {
            notes.sensors.insert(bus.clone(), sensors);
        }
    }

    /// A command for an actuator began or ended.
    pub fn acted(&self, record: &Record) {
        let mut notes = self.data();
        let actuator = record.actuator.as_ref();
        if let Some(status) = actuator.and_then(|actuator| notes.actuators.get_mut(actuator)) {
            *status = ActuatorStatus::of(record);
        }
    }

    /// Whether the cloud took part in the last call, and what the trouble was.
    pub fn link(&self, online: Option<bool>, error: &str) {
        let cloud = &mut self.data().cloud;
        if cloud.online != online {
            (cloud.online, cloud.since) = (online, Some(Since::now()));
        }
        cloud.error = if online == Some(false) { error.to_owned() } else { String::new() };
    }

    /// Whether the last call reached the cloud.
    pub fn is_online(&self) -> bool {
        self.data().cloud.online == Some(true)
    }

    /// The longest that a reading waits until no power cut can take it.
    pub fn promise(&self, window: Duration) {
        self.data().promise = window;
    }

    /// The calls of a device in the last seconds.
    pub fn called(&self, device: DeviceId, calls: Throttle) {
        self.data().calls.insert(device, calls);
    }

    /// So many states came into the outbox.
    pub fn committed(&self, states: usize) {
        let mut notes = self.data();
        notes.disk = DiskStatus::default();
        notes.committed.count(states as u64, Instant::now().into_std());
    }

    /// The disk does not take what is to come into the outbox.
    pub fn refused(&self, error: &str) {
        let disk = &mut self.data().disk;
        disk.refusing.get_or_insert_with(Since::now);
        error.clone_into(&mut disk.error);
    }

    /// The cloud has a batch of so many states with so many readings.
    pub fn stored(&self, states: u64, readings: u64) {
        let mut notes = self.data();
        notes.cloud.batches += 1;
        notes.cloud.states_stored += states;
        notes.cloud.readings_stored += readings;
        notes.stored.count(states, Instant::now().into_std());
    }
}

impl Monitor for StatusRegistry {
    fn connected(&self, bus: &Name) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.connect();
        }
    }

    fn disconnected(&self, bus: &Name, error: &str) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.lose(error);
        }
    }

    fn problem(&self, bus: &Name, subject: &str, problem: Option<&str>) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.trouble(subject, problem);
        }
    }
}
