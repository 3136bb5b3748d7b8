//! The commands of the demo: their Losant form and the form that the actuator receives.

use std::fmt;

use serde_json::{Value, json};

/// A command to an actuator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ActuatorCommand {
    /// Sets the speed of the fan in per cent.
    Fan(u8),
    /// Switches the lamp on or off.
    Lamp(bool),
}

impl ActuatorCommand {
    /// Returns the name of the device that the command addresses.
    pub(crate) fn device(self) -> &'static str {
        match self {
            Self::Fan(_) => "gateway",
            Self::Lamp(_) => "greenhouse",
        }
    }

    /// Returns the name of the Losant command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fan(_) => "fan",
            Self::Lamp(_) => "lamp",
        }
    }

    /// Returns the payload of the Losant command.
    pub(crate) fn payload(self) -> Value {
        match self {
            Self::Fan(speed) => json!({ "speed": speed }),
            Self::Lamp(on) => json!({ "on": on }),
        }
    }

    /// Returns the text that the actuator receives: a line on the tty, or an MQTT payload.
    pub(crate) fn actuator_text(self) -> String {
        match self {
            Self::Fan(speed) => format!("FAN {speed}"),
            Self::Lamp(on) => format!(r#"{{"on": {on}}}"#),
        }
    }
}

impl fmt::Display for ActuatorCommand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fan(speed) => write!(out, "\"fan {speed} %\""),
            Self::Lamp(true) => out.write_str("\"lamp on\""),
            Self::Lamp(false) => out.write_str("\"lamp off\""),
        }
    }
}
