//! One connection to Modbus units.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Context, Reader as _, Writer as _, rtu, tcp};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, ExceptionCode};

use crate::bus::serial::port;
use crate::config::{ModbusBus, ModbusLine, ModbusUnit};
use crate::logic::modbus::{Answer, Request, Table};
use crate::model::{ModbusData, ModbusWrite};
use crate::pulse;

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP connection that was not used for so long is opened again before a write: servers drop those that are idle, and a write
/// into a dropped one fails.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// An open line.
pub(super) struct Line {
    context: Context,
    /// How long it must be silent between two frames.
    gap: Duration,
    silent_since: Instant,
    /// Whether it must be opened again.
    is_lost: bool,
}

/// Why the line must be opened again.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// No answer, or one with a wrong checksum, which tokio-modbus waits on for ever.
    #[error("no good answer within {0:?}")]
    Silent(Duration),
    /// The line broke, or the answer is not one to the question.
    #[error(transparent)]
    Broken(#[from] Error),
}

impl Line {
    pub(super) async fn open(settings: &ModbusBus) -> Result<Self, String> {
        let context = match &settings.line {
            ModbusLine::Rtu(port) => {
                let port = port::open(port).await?;
                // What came before we asked is no answer.
                port.forget_input()?;
                rtu::attach(port)
            }
            ModbusLine::Tcp { host, port } => {
                let connecting = TcpStream::connect((host.as_str(), *port));
                let connected = timeout(CONNECT_TIMEOUT, connecting).await;
                let late = || format!("no connection within {CONNECT_TIMEOUT:?}");
                let stream = connected
                    .map_err(|_| late())
                    .and_then(|stream| stream.map_err(|error| error.to_string()))
                    .map_err(|why| {
                        format!("{host}:{port}: {why}; is this where the unit listens?")
                    })?;
                // A request is one small packet, and waits for nothing.
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                tcp::attach(stream)
            }
        };
        Ok(Self { context, gap: settings.gap, silent_since: Instant::now(), is_lost: false })
    }

    /// Whether it must be opened again.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Opens an idle connection again. `Err`, with the line lost, when that fails.
    pub(super) async fn refresh(&mut self, settings: &ModbusBus) -> Result<(), String> {
        let is_tcp = matches!(settings.line, ModbusLine::Tcp { .. });
        if is_tcp && self.silent_since.elapsed() > IDLE_MAX {
            self.is_lost = true;
            *self = Self::open(settings).await?;
        }
        Ok(())
    }

    /// Asks one question. The inner error is the unit's refusal, after which the line is as good as before.
    pub(super) async fn ask(
        &mut self,
        unit: &ModbusUnit,
        request: &Request,
    ) -> Result<Result<Answer, ExceptionCode>, LineError> {
        self.turn_to(unit).await;
        let (context, address, count) = (&mut self.context, request.address, request.count);
        let answer = timeout(unit.timeout, async {
            Ok(match request.table {
                Table::Coils => context.read_coils(address, count).await?.map(Answer::Bits),
                Table::Discrete => {
                    context.read_discrete_inputs(address, count).await?.map(Answer::Bits)
                }
                Table::Holding => {
                    context.read_holding_registers(address, count).await?.map(Answer::Words)
                }
                Table::Input => {
                    context.read_input_registers(address, count).await?.map(Answer::Words)
                }
            })
        });
        let answer = pulse::within(unit.timeout + pulse::LATE_MAX, "an answer", answer).await;
        self.heard(unit, answer)
    }

    /// Writes, and waits for the unit to confirm. The inner error is its refusal.
    pub(super) async fn tell(
        &mut self,
        unit: &ModbusUnit,
        write: &ModbusWrite,
    ) -> Result<Result<(), ExceptionCode>, LineError> {
        self.turn_to(unit).await;
        let (context, address) = (&mut self.context, write.address);
        let answer = timeout(unit.timeout, async {
            Ok(match &write.data {
                ModbusData::Coil(is_on) if write.as_list => {
                    context.write_multiple_coils(address, &[*is_on]).await?
                }
                ModbusData::Coil(is_on) => context.write_single_coil(address, *is_on).await?,
                ModbusData::Words(words) => match words.as_slice() {
                    [word] if !write.as_list => {
                        context.write_single_register(address, *word).await?
                    }
                    words => context.write_multiple_registers(address, words).await?,
                },
            })
        });
        let answer = pulse::within(unit.timeout + pulse::LATE_MAX, "an answer", answer).await;
        self.heard(unit, answer)
    }

    async fn turn_to(&mut self, unit: &ModbusUnit) {
        tokio::time::sleep_until(self.silent_since + self.gap).await;
        self.context.set_slave(Slave(unit.id));
    }

    fn heard<T>(
        &mut self,
        unit: &ModbusUnit,
        answer: Result<Result<T, LineError>, Elapsed>,
    ) -> Result<T, LineError> {
        let answer = answer.unwrap_or(Err(LineError::Silent(unit.timeout)));
        self.silent_since = Instant::now();
        self.is_lost = answer.is_err();
        answer
    }
}
