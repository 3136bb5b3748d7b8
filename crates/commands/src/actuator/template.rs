//! Write templates, one module for each kind of actuator.
//!
//! A command comes from the cloud, and its payload may be anything. So each kind checks what its
//! templates render before it reaches a line, a program or a host.
//!
//! To add a kind, write a module here with a struct that implements [`Render`], and add it to the
//! enum [`WriteTemplate`] and to `WriteTemplate::as_render`. The driver that executes the write is
//! a module of `src/actuators`.

mod checks;
mod error;
mod exec;
mod gateway;
mod gpio;
mod http;
mod modbus;
mod mqtt;
mod serial;

use serde::Serialize;

use tidegate_model::{Command, WallTime, Write};

pub use error::WriteError;
pub use exec::ExecTemplate;
pub use gateway::GatewayTemplate;
pub use gpio::GpioTemplate;
pub use http::{HttpBodyTemplate, HttpTemplate};
pub use modbus::ModbusTemplate;
pub use mqtt::MqttTemplate;
pub use serial::SerialTemplate;

/// The template of a [`Write`], by kind of actuator.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteTemplate {
    /// Bytes for a serial bus.
    Serial(SerialTemplate),
    /// A message for an MQTT bus.
    Mqtt(MqttTemplate),
    /// A value for a register of a Modbus unit.
    Modbus(ModbusTemplate),
    /// A level for a GPIO output.
    Gpio(GpioTemplate),
    /// A program with arguments.
    Exec(ExecTemplate),
    /// An HTTP request.
    Http(HttpTemplate),
    /// An action of the gateway.
    Gateway(GatewayTemplate),
}

impl WriteTemplate {
    /// Renders the write of a command and checks it.
    pub(super) fn render(&self, command: &Command) -> Result<Write, WriteError> {
        let variables = Variables {
            payload: &command.payload,
            name: &command.name,
            time: command.time,
            device: command.device.to_string(),
        };
        self.as_render().render(command, &variables)
    }

    fn as_render(&self) -> &dyn Render {
        match self {
            Self::Serial(template) => template,
            Self::Mqtt(template) => template,
            Self::Modbus(template) => template,
            Self::Gpio(template) => template,
            Self::Exec(template) => template,
            Self::Http(template) => template,
            Self::Gateway(template) => template,
        }
    }
}

/// Renders the write of one kind of actuator.
trait Render {
    /// Fills in the templates from a command, and checks the result.
    fn render(&self, command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError>;
}

/// The variables of a template.
#[derive(Serialize)]
struct Variables<'a> {
    payload: &'a serde_json::Value,
    name: &'a str,
    time: Option<WallTime>,
    device: String,
}
