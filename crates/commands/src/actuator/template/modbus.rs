//! Writes to a register or coil of a Modbus unit.

use super::checks::{check_control_characters, text};
use super::{Render, Variables, WriteError};
use tidegate_modbus::{Register, encode};
use tidegate_model::{Command, ModbusWrite, Name, Write};
use tidegate_template::Template;

/// The template of a value for a register of a Modbus unit.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusTemplate {
    /// The name of the unit on its bus.
    pub unit: Name,
    /// The register and its encoding.
    pub register: Register,
    /// The value.
    pub value: Template,
    /// Whether a single word or bit is written with the function for several.
    pub use_multiple_write: bool,
    /// Whether the register is read after the write to verify the value.
    pub read_back: bool,
}

impl Render for ModbusTemplate {
    fn render(&self, command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError> {
        check_control_characters(command)?;
        Ok(Write::Modbus(ModbusWrite {
            unit: self.unit.clone(),
            address: self.register.address,
            data: encode(&self.register, &text(&self.value, variables)?)?,
            use_multiple_write: self.use_multiple_write,
            read_back: self.read_back,
        }))
    }
}
