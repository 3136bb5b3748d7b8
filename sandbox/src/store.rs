//! The store: devices with their histories, tokens, and counters.
//!
//! Only [`Event`]s change it, except for counters and throttles. With a data directory, the store
//! writes each event to the journal before it applies the event.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::counters::Counters;
use crate::devices::{Attribute, DeviceSpec};
use crate::error::Error;
use crate::event::Event;
use crate::journal::{Journal, WriteFailure};
use crate::payloads::{Kind, Payloads};
use crate::records::{LogEntry, StoredCommand, StoredState};
use crate::settings::Settings;
use crate::throttle::Throttle;
use crate::timeline::Timeline;
use crate::tokens::Tokens;

/// The mutable state of a sandbox.
#[derive(Debug)]
pub(crate) struct Store {
    devices: BTreeMap<String, DeviceRecord>,
    /// The ids of deleted devices, so that a restart does not create them again.
    deleted: BTreeSet<String>,
    pub(crate) tokens: Tokens,
    pub(crate) counters: Counters,
    throttle_window: Duration,
    journal: Option<Journal>,
}

/// A device and its histories.
#[derive(Debug)]
pub(crate) struct DeviceRecord {
    pub(crate) application_id: String,
    pub(crate) spec: DeviceSpec,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) states: Timeline<StoredState>,
    pub(crate) commands: Timeline<StoredCommand>,
    pub(crate) log: Timeline<LogEntry>,
    pub(crate) payloads: Payloads,
    pub(crate) command_feed: broadcast::Sender<StoredCommand>,
    pub(crate) state_feed: broadcast::Sender<StoredState>,
    /// The common throttle of `POST …/state` and `POST …/command`.
    pub(crate) call_throttle: Throttle,
    /// The throttle of `POST …/setConnectionStatus`.
    pub(crate) status_throttle: Throttle,
}

impl Store {
    /// Restores the store from the journal, then adds the devices of the settings.
    ///
    /// When a device is in both, the journal's version wins, because a client may have patched it.
    pub(crate) fn open(settings: &Settings, now_ms: i64) -> Result<Self, Error> {
        let mut store = Self {
            devices: BTreeMap::new(),
            deleted: BTreeSet::new(),
            tokens: Tokens::new(&settings.applications),
            counters: Counters::default(),
            throttle_window: settings.throttle_window,
            journal: None,
        };
        if let Some(directory) = &settings.data_dir {
            let (journal, events) = Journal::open(directory)?;
            for event in events {
                store.apply(event?);
            }
            store.journal = Some(journal);
            store.compact();
        }
        for application in &settings.applications {
            for spec in &application.devices {
                let id = spec.device_id.to_ascii_lowercase();
                if !store.devices.contains_key(&id) && !store.deleted.contains(&id) {
                    store.commit(Event::Device {
                        application_id: application.application_id.clone(),
                        spec: Box::new(spec.clone()),
                        created_ms: now_ms,
                        updated_ms: now_ms,
                    });
                }
            }
        }
        store.counters = Counters::default();
        Ok(store)
    }

    /// Returns a device by its id; the case of the digits does not matter.
    pub(crate) fn device(&self, device_id: &str) -> Option<&DeviceRecord> {
        self.devices.get(&device_id.to_ascii_lowercase())
    }

    /// Returns the devices of an application in the order of their ids.
    pub(crate) fn devices_of(&self, application_id: &str) -> impl Iterator<Item = &DeviceRecord> {
        let is_own = move |device: &&DeviceRecord| {
            device.application_id.eq_ignore_ascii_case(application_id)
        };
        self.devices.values().filter(is_own)
    }

    /// Returns a device for modification, and the counters.
    pub(crate) fn device_and_counters(
        &mut self,
        device_id: &str,
    ) -> Option<(&mut DeviceRecord, &mut Counters)> {
        let device = self.devices.get_mut(&device_id.to_ascii_lowercase())?;
        Some((device, &mut self.counters))
    }

    /// Returns the error that stopped the journal, if any.
    pub(crate) fn write_failure(&self) -> Option<&WriteFailure> {
        self.journal.as_ref().and_then(Journal::write_failure)
    }

    /// Writes an event to the journal and applies it.
    pub(crate) fn commit(&mut self, event: Event) {
        if let Some(journal) = &mut self.journal {
            journal.append(&event);
        }
        self.apply(event);
        if self.journal.as_ref().is_some_and(Journal::is_long) {
            self.compact();
        }
    }

    /// Rewrites the journal with the fewest events that restore the store.
    fn compact(&mut self) {
        if let Some(mut journal) = self.journal.take() {
            journal.rewrite(self.events());
            self.journal = Some(journal);
        }
    }

    /// Returns the shortest list of events that restores this store.
    fn events(&self) -> impl Iterator<Item = Event> {
        let deleted = self.deleted.iter().cloned();
        let deleted = deleted.map(|device_id| Event::Deleted { device_id });
        let devices = self.devices.values().flat_map(DeviceRecord::events);
        let tokens = self.tokens.of_devices();
        let tokens = tokens.map(|(token, grant)| Event::Token { token, grant });
        deleted.chain(devices).chain(tokens)
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Device { application_id, spec, created_ms, updated_ms } => {
                let id = spec.device_id.to_ascii_lowercase();
                let window = self.throttle_window;
                let device = self.devices.entry(id);
                device
                    .or_insert_with(|| DeviceRecord::new((*spec).clone(), application_id, window))
                    .update(*spec, created_ms, updated_ms);
            }
            Event::Deleted { device_id } => {
                self.devices.remove(&device_id);
                self.deleted.insert(device_id);
            }
            Event::State { device_id, at_ms, state } => {
                let Some((device, counters)) = self.device_and_counters(&device_id) else { return };
                device.add_state(state, at_ms, counters);
            }
            Event::Command { device_id, at_ms, command } => {
                let Some((device, counters)) = self.device_and_counters(&device_id) else { return };
                counters.commands_received += 1;
                device.add_command(command, at_ms);
            }
            Event::Status { device_id, at_ms, entry } => {
                let Some((device, _)) = self.device_and_counters(&device_id) else { return };
                device.add_log_entry(entry, at_ms);
            }
            Event::DataRemoved { device_id, start_ms, end_ms } => {
                let Some((device, _)) = self.device_and_counters(&device_id) else { return };
                device.states.remove(start_ms, end_ms);
            }
            Event::Payloads { device_id, hour_ms, counts } => {
                let Some((device, _)) = self.device_and_counters(&device_id) else { return };
                device.payloads.restore(hour_ms, &counts);
            }
            Event::Token { token, grant } => self.tokens.insert(token, grant),
            Event::DeviceTokensExpired => self.tokens.expire_devices(),
        }
    }
}

impl DeviceRecord {
    fn new(spec: DeviceSpec, application_id: String, throttle_window: Duration) -> Self {
        Self {
            application_id,
            spec,
            created_ms: 0,
            updated_ms: 0,
            states: Timeline::new(STATES_MAX),
            commands: Timeline::new(COMMANDS_MAX),
            log: Timeline::new(LOG_MAX),
            payloads: Payloads::default(),
            command_feed: broadcast::Sender::new(FEED_EVENTS_MAX),
            state_feed: broadcast::Sender::new(FEED_EVENTS_MAX),
            call_throttle: Throttle::new(throttle_window),
            status_throttle: Throttle::new(throttle_window),
        }
    }

    /// Replaces the properties of the device. An attribute that was removed or has another type
    /// loses its history, as at Losant (devices/attributes).
    fn update(&mut self, spec: DeviceSpec, created_ms: i64, updated_ms: i64) {
        let is_kept = |old: &Attribute| {
            let same = |new: &Attribute| new.name == old.name && new.data_type == old.data_type;
            spec.attributes.iter().any(same)
        };
        let lost = self.spec.attributes.iter().filter(|old| !is_kept(old));
        let lost = lost.map(|old| old.name.clone()).collect::<Vec<_>>();
        if !lost.is_empty() {
            self.states.edit(|state| {
                state.data.retain(|name, _| !lost.contains(name));
                !state.data.is_empty()
            });
        }
        self.spec = spec;
        self.created_ms = created_ms;
        self.updated_ms = updated_ms;
    }

    /// Stores a report and sends it to the readers of the device's stream. A report is merged into
    /// an existing state of the same millisecond (devices/state).
    fn add_state(&mut self, report: StoredState, at_ms: Option<i64>, counters: &mut Counters) {
        if let Some(at_ms) = at_ms {
            self.payloads.count(Kind::State, at_ms);
        }
        counters.workflow_triggers += 1;
        // An error means that the stream has no reader.
        self.state_feed.send(report.clone()).ok();
        let Some(stored) = self.states.at_mut(report.time_ms) else {
            counters.states_stored += 1;
            counters.values_stored += report.data.len() as u64;
            self.states.push(report.time_ms, report);
            return;
        };
        counters.states_overwritten += 1;
        for (name, value) in report.data {
            match stored.data.insert(name, value) {
                Some(_) => counters.values_overwritten += 1,
                None => counters.values_stored += 1,
            }
        }
        stored.meta = report.meta.or(stored.meta.take());
    }

    /// Stores a command and sends it to the readers of the device's stream.
    fn add_command(&mut self, command: StoredCommand, at_ms: Option<i64>) {
        if let Some(at_ms) = at_ms {
            self.payloads.count(Kind::Command, at_ms);
        }
        self.commands.push(command.time_ms, command.clone());
        // An error means that the stream has no reader. Losant does not queue commands either.
        self.command_feed.send(command).ok();
    }

    fn add_log_entry(&mut self, entry: LogEntry, at_ms: Option<i64>) {
        if let Some(at_ms) = at_ms {
            let kind = if entry.connected { Kind::Connect } else { Kind::Disconnect };
            self.payloads.count(kind, at_ms);
        }
        self.log.push(entry.time_ms, entry);
    }

    /// Returns the shortest list of events that restores this record.
    fn events(&self) -> impl Iterator<Item = Event> {
        let device = Event::Device {
            application_id: self.application_id.clone(),
            spec: Box::new(self.spec.clone()),
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
        };
        let id = || self.spec.device_id.clone();
        let states = self.states.iter().cloned();
        let states = states.map(move |state| Event::State { device_id: id(), at_ms: None, state });
        let commands = self.commands.iter().cloned();
        let commands =
            commands.map(move |command| Event::Command { device_id: id(), at_ms: None, command });
        let log = self.log.iter().cloned();
        let log = log.map(move |entry| Event::Status { device_id: id(), at_ms: None, entry });
        let payloads = self.payloads.hours();
        let payloads = payloads.map(move |(hour_ms, counts)| Event::Payloads {
            device_id: id(),
            hour_ms,
            counts,
        });
        iter::once(device).chain(states).chain(commands).chain(log).chain(payloads)
    }
}

/// States kept for each device; the oldest are removed first, as in Losant's retention.
const STATES_MAX: usize = 1_000_000;
/// Commands kept for each device.
const COMMANDS_MAX: usize = 10_000;
/// Entries of the connection log kept for each device.
const LOG_MAX: usize = 10_000;
/// Events that a stream reader may lag behind before it is disconnected.
const FEED_EVENTS_MAX: usize = 256;
