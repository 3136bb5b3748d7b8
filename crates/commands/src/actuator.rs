//! Actuators: which commands they accept, and which write a command causes.

mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use template::{
    ExecTemplate, GatewayTemplate, GpioTemplate, HttpBodyTemplate, HttpTemplate, ModbusTemplate,
    MqttTemplate, SerialTemplate, WriteError, WriteTemplate,
};

use crate::arguments::Arguments;
use crate::failsafe::Failsafe;
use tidegate_model::{Command, DeviceId, Name, Write};
use tidegate_timing::rate_limit::RateLimit;

/// A configured receiver of one command of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Actuator {
    /// Its name in the configuration.
    pub name: Name,
    /// The device whose commands it accepts.
    pub device: DeviceId,
    /// The exact name of the command.
    pub command: String,
    /// The bus that executes the write, if its kind needs one.
    pub bus: Option<Name>,
    /// The template of the write.
    pub write: WriteTemplate,
    /// The arguments that the payload must have.
    pub arguments: Arguments,
    /// How often it may run.
    pub rate: RateLimit,
    /// How long a write may take.
    pub timeout: Duration,
    /// The write that leaves the output harmless, and when it is executed.
    pub failsafe: Option<Failsafe>,
}

impl Actuator {
    /// Renders the write of a command.
    ///
    /// # Errors
    /// Fails if the payload does not fit the template, or if the write could do harm. A retry fails
    /// again.
    pub fn write_for(&self, command: &Command) -> Result<Write, WriteError> {
        self.write.render(command)
    }
}

/// Finds the actuator of a command.
#[derive(Debug, Clone, Default)]
pub struct Router(BTreeMap<DeviceId, BTreeMap<String, Arc<Actuator>>>);

impl Router {
    /// Creates a router. The configuration ensures that no two actuators share device and command.
    pub fn new(actuators: impl IntoIterator<Item = Arc<Actuator>>) -> Self {
        let mut routes: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for actuator in actuators {
            routes.entry(actuator.device).or_default().insert(actuator.command.clone(), actuator);
        }
        Self(routes)
    }

    /// Returns the actuator for `command` of `device`.
    pub fn find(&self, device: DeviceId, command: &str) -> Option<&Arc<Actuator>> {
        self.0.get(&device)?.get(command)
    }
}
