//! From a command to a write: which actuator takes it, what it must look like, and what goes out.

mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use template::{WriteError, WriteTemplate};

use crate::arguments::Arguments;
use tidegate_model::{Command, DeviceId, Name, WallTime, Write};
use tidegate_timing::rate_limit::RateLimit;

/// What one command of one device does.
#[derive(Debug, Clone)]
pub struct Actuator {
    /// The name that the configuration gives it.
    pub name: Name,
    /// Whose commands it takes.
    pub device: DeviceId,
    /// Which command, by its exact name.
    pub command: String,
    /// The bus that it writes to, if it needs one.
    pub bus: Option<Name>,
    /// What it writes.
    pub write: WriteTemplate,
    /// What a command must look like.
    pub arguments: Arguments,
    /// How often it may run.
    pub rate: RateLimit,
    /// How long a write may take.
    pub timeout: Duration,
    /// What is written when nobody is there to command.
    pub safe: Option<Failsafe>,
}

/// The safe write of an actuator, and when it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failsafe {
    /// What is written.
    pub write: Write,
    /// When there has been no command stream for so long.
    pub offline: Option<Duration>,
    /// At the daemon's stop.
    pub at_stop: bool,
    /// So long after a command, unless another one came: for outputs that must not stay on.
    pub max_on_time: Option<Duration>,
}

/// What a template of an actuator sees.
#[derive(Serialize)]
struct Context<'a> {
    payload: &'a serde_json::Value,
    name: &'a str,
    time: Option<WallTime>,
    device: String,
}

impl Actuator {
    /// What this command writes.
    ///
    /// # Errors
    /// When the command does not fit the template, or could do harm. Do not retry: it stays so.
    pub fn write_for(&self, command: &Command) -> Result<Write, WriteError> {
        self.write.render(command)
    }
}

/// Finds the actuator of a command.
#[derive(Debug, Clone, Default)]
pub struct Router(BTreeMap<DeviceId, BTreeMap<String, Arc<Actuator>>>);

impl Router {
    /// A router over `actuators`, of which no two share device and command; the configuration sees to that.
    pub fn new(actuators: impl IntoIterator<Item = Arc<Actuator>>) -> Self {
        let mut routes: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for actuator in actuators {
            routes.entry(actuator.device).or_default().insert(actuator.command.clone(), actuator);
        }
        Self(routes)
    }

    /// The actuator for `command` of `device`, if there is one.
    pub fn find(&self, device: DeviceId, command: &str) -> Option<&Arc<Actuator>> {
        self.0.get(&device)?.get(command)
    }
}
