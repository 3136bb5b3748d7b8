//! The orders of the demo: what an application sends, and what the actuator sees of it.

use std::fmt;

use serde_json::{Value, json};

/// An order to an actuator, given as a Losant command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// The fan's speed in per cent.
    Fan(u8),
    /// The lamp, on or off.
    Lamp(bool),
}

impl Order {
    /// The device that the command is addressed to.
    pub(crate) fn device(self) -> &'static str {
        match self {
            Self::Fan(_) => "gateway",
            Self::Lamp(_) => "greenhouse",
        }
    }

    /// The command's name.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Fan(_) => "fan",
            Self::Lamp(_) => "lamp",
        }
    }

    /// The command's payload.
    pub(crate) fn payload(self) -> Value {
        match self {
            Self::Fan(speed) => json!({ "speed": speed }),
            Self::Lamp(on) => json!({ "on": on }),
        }
    }

    /// What reaches the actuator: a line on the tty, or a payload on the lamp's topic.
    pub(crate) fn on_the_wire(self) -> String {
        match self {
            Self::Fan(speed) => format!("FAN {speed}"),
            Self::Lamp(on) => format!(r#"{{"on": {on}}}"#),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fan(speed) => write!(out, "\"fan {speed} %\""),
            Self::Lamp(true) => out.write_str("\"lamp on\""),
            Self::Lamp(false) => out.write_str("\"lamp off\""),
        }
    }
}
