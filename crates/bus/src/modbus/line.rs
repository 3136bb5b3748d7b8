//! One connection to Modbus units.

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
use tokio_modbus::{Error, ExceptionCode, Request as Question, Response};

use crate::Tty;
use crate::serial::port;
use tidegate_config::{ModbusBus, ModbusLine, ModbusUnit};
use tidegate_modbus::{Request, ResponseData, Table};
use tidegate_model::{ModbusData, ModbusWrite};
use tidegate_runtime::liveness;

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP connection that was not used for so long is opened again before a write: servers drop those that are idle, and a write
/// into a dropped one fails.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// After an answer that may be a late one to the question before, the line is left alone for at most so long.
const LATE_WAIT_MAX: Duration = Duration::from_secs(5);

/// An open line.
pub(super) struct Line {
    context: Context,
    /// How long it must be silent between two frames.
    gap: Duration,
    silent_since: Instant,
    is_serial: bool,
    /// The unit whose answer did not come the last time that it was asked.
    unanswered: Option<u8>,
    /// Until then a second answer may come to a question that was asked twice.
    late_until: Option<Instant>,
    /// Whether it must be opened again.
    is_lost: bool,
}

/// Why the line must be opened again.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// No answer, or one with a wrong checksum, which tokio-modbus waits on for ever.
    #[error("no good answer within {0:?}")]
    Silent(Duration),
    /// The answer has other registers than those that were asked for.
    #[error("the answer is not one to the question")]
    Astray,
    /// The line broke, or the answer is not one to the question.
    #[error(transparent)]
    Broken(#[from] Error),
}

impl Line {
    /// Opens the line. Who did not answer on the line before may still do so on this one.
    pub(super) async fn open(settings: &ModbusBus, unanswered: Option<u8>) -> Result<Self, String> {
        let context = match &settings.line {
            ModbusLine::Rtu(port) => rtu::attach(Asking(port::open(port).await?)),
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
        let is_serial = matches!(settings.line, ModbusLine::Rtu(_));
        Ok(Self {
            context,
            gap: settings.gap,
            silent_since: Instant::now(),
            is_serial,
            unanswered: unanswered.filter(|_| is_serial),
            late_until: None,
            is_lost: false,
        })
    }

    /// The unit whose answer did not come.
    pub(super) fn unanswered(&self) -> Option<u8> {
        self.unanswered
    }

    /// Whether it must be opened again.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Opens an idle connection again. `Err`, with the line lost, when that fails.
    pub(super) async fn refresh(&mut self, settings: &ModbusBus) -> Result<(), String> {
        if !self.is_serial && self.silent_since.elapsed() > IDLE_MAX {
            self.is_lost = true;
            *self = Self::open(settings, None).await?;
        }
        Ok(())
    }

    /// Asks one question. The inner error is the unit's refusal, after which the line is as good as before.
    pub(super) async fn ask(
        &mut self,
        unit: &ModbusUnit,
        request: &Request,
    ) -> Result<Result<ResponseData, ExceptionCode>, LineError> {
        let (address, count) = (request.address, request.count);
        let question = match request.table {
            Table::Coils => Question::ReadCoils(address, count),
            Table::Discrete => Question::ReadDiscreteInputs(address, count),
            Table::Holding => Question::ReadHoldingRegisters(address, count),
            Table::Input => Question::ReadInputRegisters(address, count),
        };
        self.call(unit, question, |response| answer(response, count)).await
    }

    /// Writes, and waits for the unit to confirm. The inner error is its refusal.
    pub(super) async fn tell(
        &mut self,
        unit: &ModbusUnit,
        write: &ModbusWrite,
    ) -> Result<Result<(), ExceptionCode>, LineError> {
        let address = write.address;
        let (question, confirmation) = match &write.data {
            ModbusData::Coil(is_on) if write.use_multiple_write => (
                Question::WriteMultipleCoils(address, vec![*is_on].into()),
                Response::WriteMultipleCoils(address, 1),
            ),
            ModbusData::Coil(is_on) => (
                Question::WriteSingleCoil(address, *is_on),
                Response::WriteSingleCoil(address, *is_on),
            ),
            ModbusData::Words(words) => match words.as_slice() {
                [word] if !write.use_multiple_write => (
                    Question::WriteSingleRegister(address, *word),
                    Response::WriteSingleRegister(address, *word),
                ),
                words => (
                    Question::WriteMultipleRegisters(address, words.into()),
                    Response::WriteMultipleRegisters(
                        address,
                        u16::try_from(words.len()).unwrap_or(u16::MAX),
                    ),
                ),
            },
        };
        self.call(unit, question, |response| (response == confirmation).then_some(())).await
    }

    /// Asks, and takes the answer as `read` reads it; `None` if it is none to this question.
    async fn call<T>(
        &mut self,
        unit: &ModbusUnit,
        question: Question<'_>,
        read: impl FnOnce(Response) -> Option<T>,
    ) -> Result<Result<T, ExceptionCode>, LineError> {
        self.turn_to(unit).await;
        // The context's own methods take an answer with other registers than those that were asked for.
        let answer = timeout(unit.timeout, async {
            match self.context.call(question).await? {
                Ok(response) => read(response).map(Ok).ok_or(LineError::Astray),
                Err(exception) => Ok(Err(exception)),
            }
        });
        let answer =
            liveness::with_deadline(unit.timeout + liveness::LATE_MAX, "an answer", answer).await;
        self.heard(unit, answer)
    }

    async fn turn_to(&mut self, unit: &ModbusUnit) {
        let free_at = self.silent_since + self.gap;
        let late_until = self.late_until.take().unwrap_or(free_at);
        tokio::time::sleep_until(free_at.max(late_until)).await;
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
        match &answer {
            Ok(_) if self.unanswered.take() == Some(unit.id) => {
                // Nothing in an answer tells whether it is for this question or for the one before, so the other may follow.
                let wait = (2 * unit.timeout).min(LATE_WAIT_MAX);
                self.late_until = Some(self.silent_since + wait);
            }
            Err(LineError::Silent(_)) if self.is_serial => self.unanswered = Some(unit.id),
            Ok(_) | Err(_) => {}
        }
        answer
    }
}

/// The bits or words of a response, if it has those that were asked for. Bits come in whole bytes.
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

/// A tty on which whatever came before a question is no answer to it.
#[derive(Debug)]
struct Asking(Tty);

impl AsyncRead for Asking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Asking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.forget_input().map_err(io::Error::other)?;
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
