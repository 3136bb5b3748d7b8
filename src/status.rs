//! The status of the daemon: the [`StatusRegistry`] that tasks write, and the document made from
//! it.

mod audit;
mod components;
mod document;
mod health;
mod metrics;
mod span;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use audit::{AuditDifference, AuditStatus, DeviceAudit};
pub use components::{
    ActuatorStatus, BusStatus, DeviceProblems, DeviceRefusal, DiskStatus, SensorStatus, Since,
};
pub use document::{Document, QueueStatus, Sources, ThrottleStatus};
pub use health::{Condition, Health, Problem, ProblemCode};
pub use span::span;
pub use totals::{ClockStatus, CloudStatus, CommandStatus, OutboxStatus, ReloadStatus};

use tidegate_bus::Monitor;
use tidegate_commands::history::Record;
use tidegate_delivery::throttle::Throttle;
use tidegate_ingest::mapping::AttributeProblem;
use tidegate_ingest::sensor_stats::SensorStats;
use tidegate_losant::Error as CallError;
use tidegate_model::{DeviceId, Name};
use tidegate_timing::rate_meter::RateMeter;

/// The most commands in the status document.
const RECENT_COMMANDS_MAX: usize = 50;

/// Holds what the tasks report of themselves. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StatusRegistry(Arc<Mutex<StatusData>>);

/// The content of the registry. The configuration bounds its size.
#[derive(Debug, Clone, Default)]
pub struct StatusData {
    /// The connection to Losant.
    pub cloud: CloudStatus,
    /// The clock.
    pub clock: ClockStatus,
    /// Commands.
    pub commands: CommandStatus,
    /// Open command streams, by device.
    pub streams: BTreeMap<Name, bool>,
    /// Why the stream of a device could not be opened, by device.
    pub stream_errors: BTreeMap<Name, String>,
    /// The last commands, newest first.
    pub recent_commands: Vec<Record>,
    /// Whether the daemon has sent READY to systemd.
    pub is_ready: bool,
    /// Reloads.
    pub reload: ReloadStatus,
    /// What does not fit between the configuration and the devices in Losant, by device.
    pub device_problems: BTreeMap<DeviceId, DeviceProblems>,
    /// The audit, by device.
    audit: BTreeMap<DeviceId, DeviceAudit>,
    names: Names,
    buses: BTreeMap<Name, BusStatus>,
    sensors: BTreeMap<Name, BTreeMap<Name, SensorStats>>,
    actuators: BTreeMap<Name, ActuatorStatus>,
    disk: DiskStatus,
    /// The longest time between a reading and its sync to disk.
    loss_window: Duration,
    /// The calls in the throttle's window, by device.
    calls: BTreeMap<DeviceId, Throttle>,
    /// The rate of states that come into the outbox.
    commit_rate: RateMeter,
    /// The rate of states that Losant confirms.
    delivery_rate: RateMeter,
}

/// The names of the components that the configuration has.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Its devices.
    pub devices: BTreeMap<DeviceId, Name>,
    /// Its buses.
    pub buses: BTreeSet<Name>,
    /// Its actuators.
    pub actuators: BTreeSet<Name>,
}

impl Names {
    /// Returns the name of a device, or its id if the configuration does not name it.
    fn device(&self, id: DeviceId) -> String {
        self.devices.get(&id).map_or_else(|| id.to_string(), Name::to_string)
    }
}

impl StatusRegistry {
    /// Locks the content, to read or to change it.
    pub fn data(&self) -> MutexGuard<'_, StatusData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the names of all components, and removes the status of the others.
    pub fn configure(&self, names: Names) {
        let mut data = self.data();
        let StatusData { buses, sensors, actuators, .. } = &mut *data;
        buses.retain(|name, _| names.buses.contains(name));
        sensors.retain(|name, _| names.buses.contains(name));
        actuators.retain(|name, _| names.actuators.contains(name));
        for name in &names.buses {
            buses.entry(name.clone()).or_default();
        }
        for name in &names.actuators {
            actuators.entry(name.clone()).or_default();
        }
        data.names = names;
    }

    /// Resets the status of a bus that starts.
    pub fn reset_bus(&self, bus: &Name) {
        self.data().buses.insert(bus.clone(), BusStatus::default());
    }

    /// Returns the status of a bus.
    pub fn bus_status(&self, bus: &Name) -> BusStatus {
        self.data().buses.get(bus).cloned().unwrap_or_default()
    }

    /// Sets the statistics of the sensors of a bus that have changed.
    pub fn update_sensors(&self, bus: &Name, changed: Vec<(Name, SensorStats)>) {
        let mut data = self.data();
        if !changed.is_empty() && data.names.buses.contains(bus) {
            data.sensors.entry(bus.clone()).or_default().extend(changed);
        }
    }

    /// Removes the statistics of the sensors of a bus that gets another pipeline.
    pub fn reset_sensors(&self, bus: &Name) {
        self.data().sensors.remove(bus);
    }

    /// Sets the last commands from the records of all commands, oldest first.
    pub fn set_recent_commands<'a>(&self, records: impl DoubleEndedIterator<Item = &'a Record>) {
        let recent = records.rev().take(RECENT_COMMANDS_MAX).cloned().collect();
        self.data().recent_commands = recent;
    }

    /// Records the last command of an actuator.
    pub fn record_command(&self, record: &Record) {
        let mut data = self.data();
        let actuator = record.actuator.as_ref();
        if let Some(status) = actuator.and_then(|actuator| data.actuators.get_mut(actuator)) {
            *status = ActuatorStatus::of(record);
        }
    }

    /// Returns the devices of the configuration.
    pub fn device_ids(&self) -> BTreeSet<DeviceId> {
        self.data().names.devices.keys().copied().collect()
    }

    /// Sets the attributes of a device that do not match the configuration. Losant shows the
    /// device.
    pub fn set_attribute_problems(&self, device: DeviceId, attributes: Vec<AttributeProblem>) {
        self.change_device(device, |problems| {
            (problems.attributes, problems.error) = (attributes, None);
        });
    }

    /// Sets why Losant does not show a device.
    pub fn set_device_error(&self, device: DeviceId, error: &CallError) {
        let refusal = DeviceRefusal { status: error.status(), message: error.to_string() };
        self.change_device(device, |problems| {
            (problems.attributes, problems.error) = (Vec::new(), Some(refusal));
        });
    }

    /// Sets why Losant refuses the states of a device; `None` if it takes them.
    pub fn set_device_refusal(&self, device: DeviceId, refusal: Option<DeviceRefusal>) {
        self.change_device(device, |problems| problems.refusal = refusal);
    }

    fn change_device(&self, device: DeviceId, change: impl FnOnce(&mut DeviceProblems)) {
        let mut data = self.data();
        let mut problems = data.device_problems.remove(&device).unwrap_or_default();
        change(&mut problems);
        if problems != DeviceProblems::default() {
            data.device_problems.insert(device, problems);
        }
    }

    /// Forgets what was read of all other devices. Their states may still wait.
    pub fn retain_device_problems(&self, devices: &BTreeSet<DeviceId>) {
        let problems = &mut self.data().device_problems;
        for (_, problems) in problems.iter_mut().filter(|(device, _)| !devices.contains(device)) {
            (problems.attributes, problems.error) = (Vec::new(), None);
        }
        problems.retain(|_, problems| *problems != DeviceProblems::default());
    }

    /// Returns whether Losant does not show a device, or an attribute does not match, by the
    /// configuration or by its last value.
    pub fn has_attribute_problems(&self) -> bool {
        let data = self.data();
        let mut sensors = data.sensors.values().flat_map(BTreeMap::values);
        !data.device_problems.is_empty() || sensors.any(|stats| !stats.misfits.is_empty())
    }

    /// Sets whether the last call reached Losant, and its error.
    pub fn set_cloud_link(&self, online: Option<bool>, error: &str) {
        let cloud = &mut self.data().cloud;
        if cloud.online != online {
            (cloud.online, cloud.since) = (online, Some(Since::now()));
        }
        cloud.error = if online == Some(false) { error.to_owned() } else { String::new() };
    }

    /// Sets why Losant rejects the credentials; `None` while it accepts them.
    pub fn set_credentials_error(&self, error: Option<&str>) {
        error.unwrap_or_default().clone_into(&mut self.data().cloud.credentials_error);
    }

    /// Sets whether the command stream of a device is open, and why it cannot be opened.
    pub fn set_stream(&self, device: &Name, is_open: bool, error: Option<&str>) {
        let mut data = self.data();
        data.streams.insert(device.clone(), is_open);
        match error {
            Some(error) => drop(data.stream_errors.insert(device.clone(), error.to_owned())),
            None => drop(data.stream_errors.remove(device)),
        }
    }

    /// Returns whether the last call reached Losant.
    pub fn is_online(&self) -> bool {
        self.data().cloud.online == Some(true)
    }

    /// Sets the longest time between a reading and its sync to disk.
    pub fn set_loss_window(&self, window: Duration) {
        self.data().loss_window = window;
    }

    /// Records the calls of a device in the throttle's window.
    pub fn record_throttle(&self, device: DeviceId, calls: Throttle) {
        self.data().calls.insert(device, calls);
    }

    /// Counts states that came into the outbox, and clears a failure of the disk.
    pub fn record_commit(&self, states: usize) {
        let mut data = self.data();
        data.disk = DiskStatus::default();
        data.commit_rate.count(states as u64, Instant::now().into_std());
    }

    /// Records that a write to the outbox failed.
    pub fn record_write_failure(&self, error: &str) {
        let disk = &mut self.data().disk;
        disk.write_failing.get_or_insert_with(Since::now);
        error.clone_into(&mut disk.error);
    }

    /// Counts a batch that Losant confirmed.
    pub fn record_delivery(&self, states: u64, readings: u64) {
        let mut data = self.data();
        data.cloud.batches += 1;
        data.cloud.states_stored += states;
        data.cloud.readings_stored += readings;
        data.delivery_rate.count(states, Instant::now().into_std());
    }
}

impl Monitor for StatusRegistry {
    fn set_connected(&self, bus: &Name) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.set_connected();
        }
    }

    fn set_disconnected(&self, bus: &Name, error: &str) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.set_disconnected(error);
        }
    }

    fn set_problem(&self, bus: &Name, subject: &str, problem: Option<&str>) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.set_problem(subject, problem);
        }
    }

    fn set_refused_subscription(&self, bus: &Name, filter: &str, why: Option<&str>) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.set_refused_subscription(filter, why);
        }
    }

    fn set_session_conflict(&self, bus: &Name, evidence: Option<&str>) {
        if let Some(status) = self.data().buses.get_mut(bus) {
            status.session_conflict = evidence.map(str::to_owned);
        }
    }
}
