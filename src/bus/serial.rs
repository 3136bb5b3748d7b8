//! A serial line: a tty that is opened, read by lines, written to, and opened again when it comes back. An instrument that
//! speaks only when it is asked is asked.

pub(super) mod port;
mod usb;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Outlet, RECONNECT_WAIT, WriteError, WriteRequest, pause};
use crate::clock::SharedClock;
use crate::config::SerialBus;
use crate::logic::asker::{Asker, Turn};
use crate::logic::backoff::Backoff;
use crate::logic::frame::{Frame, LineFramer};
use crate::model::{Name, Reading, Reason, Write};
use crate::random;
use port::OpenPort;

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

/// What the line waits for.
enum News {
    Stop,
    Write(WriteRequest),
    Read(std::io::Result<usize>),
    Turn,
}

impl SerialTask {
    /// Runs until it is stopped. An absent tty is no fault: it is waited for.
    pub async fn run(mut self, clock: SharedClock) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_WAIT.0, RECONNECT_WAIT.1);
        let mut told = String::new();
        loop {
            let trouble = match port::open(&self.settings.port) {
                Ok(stream) => {
                    info!(bus = %self.bus, path = %stream.path().display(), "serial line open");
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
                let path = &self.settings.port.place;
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
    async fn pump(&mut self, mut stream: OpenPort, clock: &SharedClock) -> End {
        let mut framer = LineFramer::new(self.settings.line_bytes_max);
        let mut buffer = [0; READ_BYTES];
        let mut frames = Vec::new();
        let mut asker = self.asker();
        let mut silent = false;
        loop {
            let due = asker.poll_timeout();
            // Reading is cancel-safe: what was not read yet stays in the tty.
            let news = tokio::select! {
                () = self.stop.cancelled() => News::Stop,
                Some(request) = self.writes.recv() => News::Write(request),
                read = stream.read(&mut buffer) => News::Read(read),
                () = sleep_until(due) => News::Turn,
            };
            let done = match news {
                News::Stop => return End::Stopped,
                News::Write(request) => write(&mut stream, request).await,
                News::Turn => self.ask(&mut stream, &mut asker, &mut silent).await,
                // An unplugged adapter reads as an endless end of file.
                News::Read(Ok(0)) => Err("the line was unplugged".to_owned()),
                News::Read(Err(error)) => Err(error.to_string()),
                News::Read(Ok(length)) => {
                    framer.push(buffer.get(..length).unwrap_or_default(), &mut frames);
                    for frame in frames.drain(..) {
                        if asker.handle_answer(now()) && std::mem::take(&mut silent) {
                            info!(bus = %self.bus, "the instrument answers again");
                        }
                        self.pass_on(frame, clock);
                    }
                    Ok(())
                }
            };
            if let Err(trouble) = done {
                return End::Lost(trouble);
            }
        }
    }

    fn asker(&self) -> Asker {
        match &self.settings.poll {
            Some(poll) => {
                let timing = (poll.interval, poll.timeout, poll.gap);
                Asker::new(poll.questions.len(), timing, now())
            }
            None => Asker::new(0, Default::default(), now()),
        }
    }

    /// Does what is due. `silent` says whether the silence of the instrument was told.
    async fn ask(
        &self,
        stream: &mut OpenPort,
        asker: &mut Asker,
        silent: &mut bool,
    ) -> Result<(), String> {
        let questions = self.settings.poll.as_ref().map_or(&[][..], |poll| &poll.questions);
        match asker.handle_timeout(now()) {
            Some(Turn::Ask(index)) => match questions.get(index) {
                Some(question) => write_bytes(stream, question).await,
                None => Ok(()),
            },
            Some(Turn::Missed(index)) => {
                if !std::mem::replace(silent, true) {
                    warn!(bus = %self.bus, question = index, "the instrument does not answer; see poll_timeout");
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn pass_on(&self, frame: Frame, clock: &SharedClock) {
        match frame {
            Frame::Line(payload) => {
                let reading = Reading {
                    bus: self.bus.clone(),
                    time: clock.now(),
                    topic: String::new(),
                    payload,
                    origin: None,
                };
                self.outlet.offer(reading, None);
            }
            Frame::TooLong => {
                let bytes_max = self.settings.line_bytes_max;
                warn!(bus = %self.bus, bytes_max, "a line that is too long was rejected");
                self.outlet.reject(Reason::TooLong);
            }
        }
    }
}

/// Writes one request. `Err` when the line is broken.
async fn write(stream: &mut OpenPort, request: WriteRequest) -> Result<(), String> {
    let Write::Serial { bytes } = &request.write else {
        request.finish(Err(WriteError::WrongKind));
        return Ok(());
    };
    let outcome = write_bytes(stream, bytes).await;
    request.finish(outcome.clone().map_err(WriteError::Broken));
    outcome
}

async fn write_bytes(stream: &mut OpenPort, bytes: &Bytes) -> Result<(), String> {
    let written = tokio::time::timeout(WRITE_TIMEOUT, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("a write took more than {} s", WRITE_TIMEOUT.as_secs())),
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
