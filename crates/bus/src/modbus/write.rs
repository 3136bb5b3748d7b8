//! A write to a unit, and what confirms it.
//!
//! A unit answers each write. Where that is not enough, or the answer was damaged on the line, it is read again: the write
//! itself is never repeated.

use tokio_modbus::ExceptionCode;

use super::TRIES_MAX;
use super::line::Line;
use crate::{WriteError, WriteRequest};
use tidegate_config::ModbusUnit;
use tidegate_modbus::{Request, ResponseData, Table};
use tidegate_model::{ModbusData, ModbusWrite, Write};

/// A write of which only reading can tell whether it was done.
pub(super) struct Unconfirmed {
    request: WriteRequest,
    unit: ModbusUnit,
    written: ModbusWrite,
    /// How often the unit was asked in vain.
    tries: u32,
}

/// Writes, and tells the outcome. What is returned is to be read back on another line, for this one is lost.
pub(super) async fn write(
    line: &mut Line,
    unit: ModbusUnit,
    request: WriteRequest,
) -> Option<Unconfirmed> {
    let Write::Modbus(written) = request.write.clone() else { return None };
    let answer = line.tell(&unit, &written).await;
    let outcome = match answer {
        Ok(Ok(())) if written.read_back => {
            return Unconfirmed { request, unit, written, tries: 0 }.read_back(line).await;
        }
        Ok(Ok(())) => Ok(String::new()),
        Ok(Err(exception)) => Err(refused(&unit, exception)),
        Err(_) if written.read_back => {
            return Some(Unconfirmed { request, unit, written, tries: 0 });
        }
        Err(error) => {
            let words = format!("unit {} gave {error}; it may have been done", unit.name);
            Err(WriteError::Unconfirmed(words))
        }
    };
    request.finish(outcome);
    None
}

fn refused(unit: &ModbusUnit, exception: ExceptionCode) -> WriteError {
    WriteError::Unconfirmed(format!("unit {} refuses: {exception}", unit.name))
}

impl Unconfirmed {
    /// Reads what the unit holds, and tells the outcome. Returned to be tried again if the line is lost.
    pub(super) async fn read_back(mut self, line: &mut Line) -> Option<Self> {
        let (table, count) = match &self.written.data {
            ModbusData::Coil(_) => (Table::Coils, 1),
            ModbusData::Words(words) => {
                (Table::Holding, u16::try_from(words.len()).unwrap_or(u16::MAX))
            }
        };
        let address = self.written.address;
        let request = Request { table, address, count, registers: Vec::new() };
        let outcome = match line.ask(&self.unit, &request).await {
            Ok(Ok(held)) if is_same(&held, &self.written.data) => Ok("read back".to_owned()),
            Ok(Ok(held)) => {
                let words = format!("unit {} holds {} instead", self.unit.name, shown(&held));
                Err(WriteError::Unconfirmed(words))
            }
            Ok(Err(exception)) => Err(WriteError::Unconfirmed(format!(
                "unit {} does not let it be read back: {exception}",
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

    /// Tells that nobody knows.
    pub(super) fn give_up(self, trouble: &str) {
        let words = format!("it may have been done, but cannot be read back: {trouble}");
        self.request.finish(Err(WriteError::Unconfirmed(words)));
    }
}

fn is_same(held: &ResponseData, written: &ModbusData) -> bool {
    match (held, written) {
        (ResponseData::Bits(bits), ModbusData::Coil(is_on)) => bits.first() == Some(is_on),
        (ResponseData::Words(held), ModbusData::Words(words)) => held == words,
        (ResponseData::Bits(_), ModbusData::Words(_))
        | (ResponseData::Words(_), ModbusData::Coil(_)) => false,
    }
}

fn shown(held: &ResponseData) -> String {
    match held {
        ResponseData::Bits(bits) => format!("{:?}", bits.iter().take(1).collect::<Vec<_>>()),
        ResponseData::Words(words) => format!("{words:04x?}"),
    }
}
