//! Writes to a unit, and their confirmation.
//!
//! A unit confirms each write. If the actuator wants more, or the answer was damaged, the registers
//! are read back. A write is never repeated.

use tokio_modbus::ExceptionCode;

use super::TRIES_MAX;
use super::line::Line;
use crate::{WriteError, WriteRequest};
use tidegate_config::ModbusUnit;
use tidegate_modbus::{Request, ResponseData, Table};
use tidegate_model::{ModbusData, ModbusWrite, Write};

/// A write that must be read back to know whether it happened.
pub(super) struct Unconfirmed {
    request: WriteRequest,
    unit: ModbusUnit,
    written: ModbusWrite,
    /// The failed tries of reading back.
    tries: u32,
}

/// Writes and sends the outcome. Returns the write if the line is lost and a new line must read it
/// back.
pub(super) async fn write(
    line: &mut Line,
    unit: ModbusUnit,
    request: WriteRequest,
) -> Option<Unconfirmed> {
    let Write::Modbus(written) = request.write.clone() else { return None };
    let answer = line.write(&unit, &written).await;
    let outcome = match answer {
        Ok(Ok(())) if written.read_back => {
            return Unconfirmed { request, unit, written, tries: 0 }.read_back(line).await;
        }
        Ok(Ok(())) => Ok(String::new()),
        Ok(Err(exception)) => Err(exception_error(&unit, exception)),
        Err(_) if written.read_back => {
            return Some(Unconfirmed { request, unit, written, tries: 0 });
        }
        Err(error) => {
            let text = format!("unit {}: {error}; the write may have happened", unit.name);
            Err(WriteError::Unconfirmed(text))
        }
    };
    request.finish(outcome);
    None
}

fn exception_error(unit: &ModbusUnit, exception: ExceptionCode) -> WriteError {
    WriteError::Unconfirmed(format!("unit {} refuses: {exception}", unit.name))
}

impl Unconfirmed {
    /// Reads the written registers and sends the outcome. Returns the write if the line is lost.
    pub(super) async fn read_back(mut self, line: &mut Line) -> Option<Self> {
        let (table, count) = match &self.written.data {
            ModbusData::Coil(_) => (Table::Coils, 1),
            ModbusData::Words(words) => {
                (Table::Holding, u16::try_from(words.len()).unwrap_or(u16::MAX))
            }
        };
        let address = self.written.address;
        let request = Request { table, address, count, registers: Vec::new() };
        let outcome = match line.read(&self.unit, &request).await {
            Ok(Ok(held)) if is_equal(&held, &self.written.data) => Ok("read back".to_owned()),
            Ok(Ok(held)) => {
                let text = format!("unit {} holds {} instead", self.unit.name, show(&held));
                Err(WriteError::Unconfirmed(text))
            }
            Ok(Err(exception)) => Err(WriteError::Unconfirmed(format!(
                "unit {} refuses to read it back: {exception}",
                self.unit.name
            ))),
            Err(error) => {
                self.tries += 1;
                if self.tries < TRIES_MAX {
                    return Some(self);
                }
                self.give_up(&error.to_string());
                return None;
            }
        };
        self.request.finish(outcome);
        None
    }

    /// Sends an unknown outcome.
    pub(super) fn give_up(self, error: &str) {
        let text = format!("the write may have happened, but cannot be read back: {error}");
        self.request.finish(Err(WriteError::Unconfirmed(text)));
    }
}

fn is_equal(held: &ResponseData, written: &ModbusData) -> bool {
    match (held, written) {
        (ResponseData::Bits(bits), ModbusData::Coil(is_on)) => bits.first() == Some(is_on),
        (ResponseData::Words(held), ModbusData::Words(words)) => held == words,
        (ResponseData::Bits(_), ModbusData::Words(_))
        | (ResponseData::Words(_), ModbusData::Coil(_)) => false,
    }
}

fn show(held: &ResponseData) -> String {
    match held {
        ResponseData::Bits(bits) => format!("{:?}", bits.iter().take(1).collect::<Vec<_>>()),
        ResponseData::Words(words) => format!("{words:04x?}"),
    }
}
