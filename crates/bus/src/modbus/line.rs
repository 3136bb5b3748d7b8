//! One connection to Modbus units, and calls on it.

use std::io;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Client as _, Context, rtu, tcp};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, ExceptionCode, Request as Call, Response};

use crate::serial::port;
use crate::{PortError, Tty};
use tidegate_config::{ModbusBus, ModbusLine, ModbusUnit};
use tidegate_modbus::{Request, ResponseData, Table};
use tidegate_model::{ModbusData, ModbusWrite, io_problem};
use tidegate_runtime::liveness;

/// The longest time until a TCP connection is open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP connection that was idle for this long is opened again before a request, because servers
/// and routers drop idle connections, some without a word.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// The longest time that the line stays idle for a late answer.
const LATE_ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// An open line.
pub(super) struct Line {
    context: Context,
    /// The socket of a TCP connection; `None` for a serial line.
    socket: Option<std::net::TcpStream>,
    /// The requests on this connection.
    requests: u64,
    /// The silence between two frames.
    gap: Duration,
    silent_since: Instant,
    /// The address of the unit whose last answer did not arrive.
    unanswered: Option<u8>,
    /// The time of the next request: a second answer to a repeated request may arrive until then,
    /// or the unit is deaf after the connection.
    late_until: Option<Instant>,
    /// Whether the line must be opened again.
    is_lost: bool,
}

/// Why a line cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The serial port cannot be opened.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The TCP connection cannot be opened.
    #[error("{host}:{port}: {}; is this the address of the unit?", io_problem(error))]
    Connect { host: String, port: u16, error: io::Error },
}

/// Why a call failed and the line must be opened again.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No valid answer arrived in time. tokio-modbus ignores an answer with a wrong checksum.
    #[error("no valid answer within {0:?}")]
    TimedOut(Duration),
    /// The answer is for another request.
    #[error("the answer does not match the request")]
    Mismatch,
    /// The connection failed, or the answer is invalid.
    #[error("{}", describe(.0))]
    Connection(#[from] Error),
}

/// Describes an error of the Modbus library in words.
fn describe(error: &Error) -> String {
    match error {
        Error::Transport(error) => io_problem(error),
        Error::Protocol(_) => "the answer does not match the request".to_owned(),
    }
}

impl Line {
    /// Opens the line. `unanswered` is the unit that may still answer a request of the last line.
    pub(super) async fn open(
        settings: &ModbusBus,
        unanswered: Option<u8>,
    ) -> Result<Self, OpenError> {
        let (context, socket) = match &settings.line {
            ModbusLine::Rtu(port) => (rtu::attach(DiscardingTty(port::open(port).await?)), None),
            ModbusLine::Tcp { host, port } => {
                let failed = |error| OpenError::Connect { host: host.clone(), port: *port, error };
                let connecting = TcpStream::connect((host.as_str(), *port));
                let late = || io::Error::other(format!("no connection within {CONNECT_TIMEOUT:?}"));
                let connected = timeout(CONNECT_TIMEOUT, connecting).await;
                let stream = connected.unwrap_or_else(|_| Err(late())).map_err(failed)?;
                // A request is one small packet, which must not wait for more.
                stream.set_nodelay(true).map_err(failed)?;
                let (stream, socket) = with_second_handle(stream).map_err(failed)?;
                (tcp::attach(stream), Some(socket))
            }
        };
        let is_serial = socket.is_none();
        let late_until = (!is_serial).then(|| Instant::now() + settings.connect_delay);
        Ok(Self {
            context,
            socket,
            requests: 0,
            gap: settings.gap,
            silent_since: Instant::now(),
            unanswered: unanswered.filter(|_| is_serial),
            late_until,
            is_lost: false,
        })
    }

    /// Returns the address of the unit whose last answer did not arrive.
    pub(super) fn unanswered(&self) -> Option<u8> {
        self.unanswered
    }

    /// Returns whether the line must be opened again.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    fn is_serial(&self) -> bool {
        self.socket.is_none()
    }

    /// Returns whether requests were sent before the last one.
    pub(super) fn is_reused(&self) -> bool {
        self.requests > 1
    }

    /// Returns whether the peer has closed the connection, or has sent what was not requested.
    fn is_spoiled(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| match socket.peek(&mut [0]) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        })
    }

    /// Opens a TCP connection again that is closed or was idle for long. An error means that the
    /// line is lost.
    pub(super) async fn refresh(&mut self, settings: &ModbusBus) -> Result<(), OpenError> {
        let is_old = self.silent_since.elapsed() > IDLE_MAX;
        if !self.is_serial() && (is_old || self.is_spoiled()) {
            self.is_lost = true;
            *self = Self::open(settings, None).await?;
        }
        Ok(())
    }

    /// Reads registers. The inner error is an exception of the unit, which leaves the line intact.
    pub(super) async fn read(
        &mut self,
        unit: &ModbusUnit,
        request: &Request,
    ) -> Result<Result<ResponseData, ExceptionCode>, CallError> {
        let (address, count) = (request.address, request.count);
        let call = match request.table {
            Table::Coils => Call::ReadCoils(address, count),
            Table::Discrete => Call::ReadDiscreteInputs(address, count),
            Table::Holding => Call::ReadHoldingRegisters(address, count),
            Table::Input => Call::ReadInputRegisters(address, count),
        };
        self.call(unit, call, |response| answer(response, count)).await
    }

    /// Writes and waits for the confirmation. The inner error is an exception of the unit.
    pub(super) async fn write(
        &mut self,
        unit: &ModbusUnit,
        write: &ModbusWrite,
    ) -> Result<Result<(), ExceptionCode>, CallError> {
        let address = write.address;
        let (call, confirmation) = match &write.data {
            ModbusData::Coil(is_on) if write.use_multiple_write => (
                Call::WriteMultipleCoils(address, vec![*is_on].into()),
                Response::WriteMultipleCoils(address, 1),
            ),
            ModbusData::Coil(is_on) => {
                (Call::WriteSingleCoil(address, *is_on), Response::WriteSingleCoil(address, *is_on))
            }
            ModbusData::Words(words) => match words.as_slice() {
                [word] if !write.use_multiple_write => (
                    Call::WriteSingleRegister(address, *word),
                    Response::WriteSingleRegister(address, *word),
                ),
                words => (
                    Call::WriteMultipleRegisters(address, words.into()),
                    Response::WriteMultipleRegisters(
                        address,
                        u16::try_from(words.len()).unwrap_or(u16::MAX),
                    ),
                ),
            },
        };
        self.call(unit, call, |response| (response == confirmation).then_some(())).await
    }

    /// Calls a unit and converts its answer. `convert` returns `None` if the answer does not match.
    async fn call<T>(
        &mut self,
        unit: &ModbusUnit,
        call: Call<'_>,
        convert: impl FnOnce(Response) -> Option<T>,
    ) -> Result<Result<T, ExceptionCode>, CallError> {
        self.select_unit(unit).await;
        self.requests += 1;
        // The typed methods of the context accept answers with the wrong number of registers.
        let answer = timeout(unit.timeout, async {
            match self.context.call(call).await? {
                Ok(response) => convert(response).map(Ok).ok_or(CallError::Mismatch),
                Err(exception) => Ok(Err(exception)),
            }
        });
        let answer =
            liveness::with_deadline(unit.timeout + liveness::LATE_MAX, "an answer", answer).await;
        self.finish_call(unit, answer)
    }

    /// Waits until the line is free, and addresses a unit.
    async fn select_unit(&mut self, unit: &ModbusUnit) {
        let free_at = self.silent_since + self.gap;
        let late_until = self.late_until.take().unwrap_or(free_at);
        tokio::time::sleep_until(free_at.max(late_until)).await;
        self.context.set_slave(Slave(unit.id));
    }

    fn finish_call<T>(
        &mut self,
        unit: &ModbusUnit,
        answer: Result<Result<T, CallError>, Elapsed>,
    ) -> Result<T, CallError> {
        let answer = answer.unwrap_or(Err(CallError::TimedOut(unit.timeout)));
        self.silent_since = Instant::now();
        self.is_lost = answer.is_err();
        match &answer {
            Ok(_) if self.unanswered.take() == Some(unit.id) => {
                // An answer does not name its request: it may belong to the request before, and the
                // answer to this one may follow.
                let wait = (2 * unit.timeout).min(LATE_ANSWER_WAIT_MAX);
                self.late_until = Some(self.silent_since + wait);
            }
            Err(CallError::TimedOut(_)) if self.is_serial() => self.unanswered = Some(unit.id),
            Ok(_) | Err(_) => {}
        }
        answer
    }
}

/// Returns a connection with another handle of its socket, which can be asked for its state.
fn with_second_handle(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let socket = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, socket))
}

/// Returns the bits or words of a response, if it has the requested number. Bits fill whole bytes.
fn answer(response: Response, count: u16) -> Option<ResponseData> {
    let count = usize::from(count);
    match response {
        Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits) => {
            let is_whole = bits.len() == count.next_multiple_of(8);
            bits.truncate(count);
            is_whole.then_some(ResponseData::Bits(bits))
        }
        Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => {
            (words.len() == count).then_some(ResponseData::Words(words))
        }
        Response::WriteSingleCoil(..)
        | Response::WriteMultipleCoils(..)
        | Response::WriteSingleRegister(..)
        | Response::WriteMultipleRegisters(..)
        | Response::ReportServerId(..)
        | Response::MaskWriteRegister(..)
        | Response::ReadWriteMultipleRegisters(_)
        | Response::ReadDeviceIdentification(_)
        | Response::Custom(..) => None,
    }
}

/// A tty that discards unread input before each request.
#[derive(Debug)]
struct DiscardingTty(Tty);

impl AsyncRead for DiscardingTty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for DiscardingTty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.discard_input()?;
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
