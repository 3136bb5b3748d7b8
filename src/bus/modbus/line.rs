//! One connection to Modbus units.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Context, Reader as _, rtu, tcp};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, ExceptionCode};
use tokio_serial::{ClearBuffer, SerialPort as _};

use crate::bus::serial::port;
use crate::config::{ModbusBus, ModbusLine, ModbusUnit};
use crate::logic::modbus::{Answer, Request, Table};

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An open line.
pub(super) struct Line {
    context: Context,
    /// How long it must be silent between two frames.
    gap: Duration,
    silent_since: Instant,
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
                let port = port::open(port)?;
                // What came before we asked is no answer.
                port.clear(ClearBuffer::Input).map_err(|error| error.to_string())?;
                rtu::attach(port)
            }
            ModbusLine::Tcp { host, port } => {
                let connecting = TcpStream::connect((host.as_str(), *port));
                let connected = timeout(CONNECT_TIMEOUT, connecting).await;
                let stream = connected
                    .map_err(|_| format!("no connection within {CONNECT_TIMEOUT:?}"))
                    .and_then(|stream| stream.map_err(|error| error.to_string()))?;
                // A request is one small packet, and waits for nothing.
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                tcp::attach(stream)
            }
        };
        Ok(Self { context, gap: settings.gap, silent_since: Instant::now() })
    }

    /// Asks one question. The inner error is the unit's refusal, after which the line is as good as before.
    pub(super) async fn ask(
        &mut self,
        unit: &ModbusUnit,
        request: &Request,
    ) -> Result<Result<Answer, ExceptionCode>, LineError> {
        tokio::time::sleep_until(self.silent_since + self.gap).await;
        self.context.set_slave(Slave(unit.id));
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
        let answer = answer.await.unwrap_or(Err(LineError::Silent(unit.timeout)));
        self.silent_since = Instant::now();
        answer
    }
}
