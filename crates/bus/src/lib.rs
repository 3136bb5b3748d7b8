//! Buses: the connections to instruments, with one driver for each kind.
//!
//! A driver owns one connection and uses it in both directions. It sends what it receives to the
//! collector as [`BusEvent`]s, and takes [`WriteRequest`]s from the queue of its bus. It never
//! waits for a slow collector, except where the other side keeps the data meanwhile: an MQTT broker
//! (QoS 1), a file, a pipe or an HTTP client.
//!
//! CONTRIBUTING.md has the recipe for another kind of bus; `system.rs` is a short example.

mod ack;
mod checkpoints;
mod context;
mod driver;
mod event;
mod event_queue;
mod exec;
mod file;
mod gpio;
mod http;
mod known_messages;
mod losses;
mod modbus;
mod monitor;
mod mqtt;
mod problem_log;
mod pulse_counts;
mod reconnect;
mod serial;
mod system;
mod write;

use std::time::Duration;

pub use ack::Ack;
pub use checkpoints::{CHECKPOINTS, CheckpointChange, TailCheckpoints};
pub use context::{BusContext, GatewayChannels};
pub use driver::{BusDriver, BusTask, driver};
pub use event::{BusEvent, REPORTS, Report};
pub use event_queue::{EventReceiver, EventSender, QueueFull, QueuedEvent, event_queue};
pub use known_messages::known_messages;
pub use losses::LossCounters;
pub use monitor::{Monitor, SharedMonitor};
pub use pulse_counts::{PULSES, PulseCounts};
pub use serial::{PortError, Tty, open_line};
pub use write::{BusHandle, Handles, WriteError, WriteQueue, WriteRequest};

/// The shortest wait before a driver opens a lost connection again. A replugged adapter is back
/// within seconds.
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(500);

/// The longest wait before a driver opens a lost connection again.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(10);
