//! A serial line: a tty that is opened, read by lines, written to, and opened again when it comes back.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Outlet, RECONNECT_WAIT, WriteError, WriteRequest, pause};
use crate::clock::SharedClock;
use crate::config::{FlowControl, Parity, SerialBus, StopBits};
use crate::logic::backoff::Backoff;
use crate::logic::frame::{Frame, Framer};
use crate::model::{Name, Reading, Write};
use crate::random;

/// Read at once, in bytes: a tty's own buffer holds 4 KiB.
const READ_BYTES: usize = 4_096;

/// How long a write may take before the line counts as broken, as when flow control holds it for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The task that owns one tty.
#[derive(Debug)]
pub struct SerialTask {
    /// The name of the bus.
    pub bus: Name,
    /// The tty and how it is set.
    pub settings: SerialBus,
    /// To the collector.
    pub outlet: Outlet,
    /// From the actuators.
    pub writes: mpsc::Receiver<WriteRequest>,
    /// Ends the task.
    pub stop: CancellationToken,
}

/// Why the line was left.
enum End {
    Stopped,
    Lost(String),
}

impl SerialTask {
    /// Runs until it is stopped. An absent tty is no fault: it is waited for.
    pub async fn run(mut self, clock: SharedClock) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_WAIT.0, RECONNECT_WAIT.1);
        let mut told = String::new();
        loop {
            let trouble = match open(&self.settings) {
                Ok(stream) => {
                    info!(bus = %self.bus, path = %self.settings.path.display(), "serial line open");
                    backoff.reset();
                    told.clear();
                    match self.pump(stream, &clock).await {
                        End::Stopped => return,
                        End::Lost(trouble) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            if told != trouble {
                let path = self.settings.path.display();
                warn!(bus = %self.bus, %path, error = trouble, "serial line not there; waiting for it");
                told = trouble;
            }
            let delay = backoff.next_delay(&mut rng);
            if !pause(delay, &mut self.writes, &self.stop).await {
                return;
            }
        }
    }

    /// Reads and writes until the line is lost.
    async fn pump(&mut self, mut stream: SerialStream, clock: &SharedClock) -> End {
        let mut framer = Framer::new(self.settings.framing.clone());
        let mut buffer = [0; READ_BYTES];
        let mut frames = Vec::new();
        let end = loop {
            let due = framer.poll_timeout().map(Instant::from_std);
            // Reading is cancel-safe: what was not read yet stays in the tty.
            tokio::select! {
                () = self.stop.cancelled() => break End::Stopped,
                Some(request) = self.writes.recv() => {
                    if let Err(trouble) = write(&mut stream, request).await {
                        break End::Lost(trouble);
                    }
                }
                read = stream.read(&mut buffer) => match read {
                    // An unplugged adapter reads as an endless end of file.
                    Ok(0) => break End::Lost("the line was unplugged".to_owned()),
                    Err(error) => break End::Lost(error.to_string()),
                    Ok(length) => {
                        let bytes = buffer.get(..length).unwrap_or_default();
                        framer.push(bytes, Instant::now().into_std(), &mut frames);
                    }
                },
                () = sleep_until(due) => {
                    framer.handle_timeout(Instant::now().into_std(), &mut frames);
                }
            }
            frames.drain(..).for_each(|frame| self.pass_on(frame, clock));
        };
        framer.reset(&mut frames);
        frames.drain(..).for_each(|frame| self.pass_on(frame, clock));
        end
    }

    fn pass_on(&self, frame: Frame, clock: &SharedClock) {
        match frame {
            Frame::Whole(payload) => {
                let reading = Reading {
                    bus: self.bus.clone(),
                    time: clock.now(),
                    topic: String::new(),
                    payload,
                    origin: None,
                };
                self.outlet.offer(reading, None);
            }
            Frame::Lost(loss) => self.outlet.lose_frame(loss),
        }
    }
}

/// Sleeps until then; for ever if there is nothing to wait for.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Writes one request. `Err` when the line is broken.
async fn write(stream: &mut SerialStream, request: WriteRequest) -> Result<(), String> {
    let Write::Serial { bytes } = &request.write else {
        request.finish(Err(WriteError::WrongKind));
        return Ok(());
    };
    let written = tokio::time::timeout(WRITE_TIMEOUT, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    let outcome = match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("a write took more than {} s", WRITE_TIMEOUT.as_secs())),
    };
    request.finish(outcome.clone().map_err(WriteError::Broken));
    outcome
}

fn open(settings: &SerialBus) -> Result<SerialStream, String> {
    let path = settings.path.to_string_lossy();
    let builder = tokio_serial::new(path, settings.baud_rate)
        .data_bits(match settings.data_bits {
            5 => tokio_serial::DataBits::Five,
            6 => tokio_serial::DataBits::Six,
            7 => tokio_serial::DataBits::Seven,
            _ => tokio_serial::DataBits::Eight,
        })
        .parity(match settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Odd => tokio_serial::Parity::Odd,
            Parity::Even => tokio_serial::Parity::Even,
        })
        .stop_bits(match settings.stop_bits {
            StopBits::One => tokio_serial::StopBits::One,
            StopBits::Two => tokio_serial::StopBits::Two,
        })
        .flow_control(match settings.flow_control {
            FlowControl::None => tokio_serial::FlowControl::None,
            FlowControl::Software => tokio_serial::FlowControl::Software,
            FlowControl::Hardware => tokio_serial::FlowControl::Hardware,
        });
    builder.open_native_async().map_err(|error| advice(&error))
}

/// The error in words that say what to do.
fn advice(error: &tokio_serial::Error) -> String {
    let fix = match error.kind() {
        tokio_serial::ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => {
            "; add the service's user to the group dialout"
        }
        tokio_serial::ErrorKind::Io(std::io::ErrorKind::NotFound) => "; is the adapter plugged in?",
        tokio_serial::ErrorKind::NoDevice => "; does another program use it?",
        tokio_serial::ErrorKind::Io(_)
        | tokio_serial::ErrorKind::InvalidInput
        | tokio_serial::ErrorKind::Unknown => "; is it a serial port?",
    };
    format!("{error}{fix}")
}
