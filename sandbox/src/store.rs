//! What the sandbox remembers: devices with their histories, tokens, counters.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::broadcast;

use crate::builder::Settings;
use crate::counters::Counters;
use crate::throttle::Throttle;
use crate::timeline::Timeline;
use crate::tokens::Tokens;
use crate::world::DeviceSpec;

/// One state of a device, as it is stored: all attributes that were reported for its millisecond.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredState {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Attribute names and values.
    pub data: Map<String, Value>,
    /// The `meta` of the latest report for this millisecond that had one.
    pub meta: Option<Value>,
}

/// One command, as it was sent to a device.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCommand {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The command's name.
    pub name: String,
    /// Any JSON, or nothing.
    pub payload: Option<Value>,
}

/// One entry of a device's connection log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Milliseconds since the Unix epoch: `connectedAt` or `disconnectedAt`.
    pub time_ms: i64,
    /// Whether the device connected (or disconnected) at that time.
    pub connected: bool,
    /// Why it disconnected.
    pub disconnect_reason: Option<String>,
    /// Messages that it had sent.
    pub messages_from_client: Option<u64>,
    /// Messages that it had got.
    pub messages_to_client: Option<u64>,
    /// The address that it named.
    pub ip_address: Option<String>,
}

/// Everything that changes.
#[derive(Debug)]
pub(crate) struct Store {
    devices: BTreeMap<String, DeviceRecord>,
    pub(crate) tokens: Tokens,
    pub(crate) counters: Counters,
}

/// A device and what happened to it.
#[derive(Debug)]
pub(crate) struct DeviceRecord {
    pub(crate) spec: DeviceSpec,
    pub(crate) created_ms: i64,
    pub(crate) states: Timeline<StoredState>,
    pub(crate) commands: Timeline<StoredCommand>,
    pub(crate) log: Timeline<LogEntry>,
    pub(crate) command_feed: broadcast::Sender<StoredCommand>,
    pub(crate) state_feed: broadcast::Sender<StoredState>,
    /// For `POST …/state` and `POST …/command` together.
    pub(crate) call_throttle: Throttle,
    /// For `POST …/setConnectionStatus`.
    pub(crate) status_throttle: Throttle,
}

impl Store {
    pub(crate) fn new(settings: &Settings, now_ms: i64) -> Self {
        let record = |spec: &DeviceSpec| {
            let window = settings.throttle_window;
            (spec.device_id.to_ascii_lowercase(), DeviceRecord::new(spec.clone(), now_ms, window))
        };
        Self {
            devices: settings.devices.iter().map(record).collect(),
            tokens: Tokens::new(&settings.api_token),
            counters: Counters::default(),
        }
    }

    /// A device by its id, in either case.
    pub(crate) fn device(&self, device_id: &str) -> Option<&DeviceRecord> {
        self.devices.get(&device_id.to_ascii_lowercase())
    }

    pub(crate) fn device_mut(&mut self, device_id: &str) -> Option<&mut DeviceRecord> {
        self.devices.get_mut(&device_id.to_ascii_lowercase())
    }

    pub(crate) fn device_and_counters(
        &mut self,
        device_id: &str,
    ) -> Option<(&mut DeviceRecord, &mut Counters)> {
        let device = self.devices.get_mut(&device_id.to_ascii_lowercase())?;
        Some((device, &mut self.counters))
    }

    /// Records a command and hands it to those who read the device's stream.
    pub(crate) fn send_command(&mut self, device_id: &str, command: StoredCommand) {
        let Some((device, counters)) = self.device_and_counters(device_id) else { return };
        counters.commands_received += 1;
        device.commands.push(command.time_ms, command.clone());
        // An error only says that nobody reads; Losant does not queue commands either.
        device.command_feed.send(command).ok();
    }
}

impl DeviceRecord {
    fn new(spec: DeviceSpec, created_ms: i64, throttle_window: Duration) -> Self {
        Self {
            spec,
            created_ms,
            states: Timeline::new(STATES_MAX),
            commands: Timeline::new(COMMANDS_MAX),
            log: Timeline::new(LOG_MAX),
            command_feed: broadcast::Sender::new(FEED_EVENTS_MAX),
            state_feed: broadcast::Sender::new(FEED_EVENTS_MAX),
            call_throttle: Throttle::new(throttle_window),
            status_throttle: Throttle::new(throttle_window),
        }
    }
}

/// States kept for each device; the oldest go first, as Losant's retention does it.
const STATES_MAX: usize = 1_000_000;
/// Commands kept for each device.
const COMMANDS_MAX: usize = 10_000;
/// Entries of the connection log kept for each device.
const LOG_MAX: usize = 10_000;
/// Events that a reader of a stream may be behind before it is cut off.
const FEED_EVENTS_MAX: usize = 256;
