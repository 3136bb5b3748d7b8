//! A serial line: a tty that is opened, cut into frames, written to, and opened again when it comes back. An instrument that
//! speaks only when it is asked is asked.

pub(super) mod port;
mod question;
mod tty;
mod usb;
mod write;

use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::attempts::Attempts;
use super::{BusContext, WriteRequest, pause, sleep_until};
use question::Questions;
use tidegate_config::{Port, SerialBus};
use tidegate_ingest::frame::{Frame, Framer};
use tidegate_model::{Name, Reading};
use tidegate_runtime::clock::SharedClock;
use tidegate_timing::machine::Machine as _;
pub use tty::Tty;
use write::Awaited;

/// Read at once, in bytes: a tty's own buffer holds 4 KiB.
const READ_BYTES: usize = 4_096;

/// The task that owns one tty.
#[derive(Debug)]
pub struct SerialTask {
    /// The name of the bus.
    pub bus: Name,
    /// The tty and how it is set.
    pub settings: SerialBus,
    /// To the collector.
    pub outlet: BusContext,
    /// From the actuators.
    pub writes: mpsc::Receiver<WriteRequest>,
    /// Ends the task.
    pub stop: CancellationToken,
}

/// Opens a tty alone, to find out what speaks there.
///
/// # Errors
/// When it cannot be opened so; in words that say what to do.
pub async fn open_line(settings: &Port) -> Result<Tty, String> {
    port::open(settings).await
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
    Question,
    NoReply,
    Pause,
}

impl SerialTask {
    /// Runs until it is stopped. An absent tty is no fault: it is waited for.
    pub async fn run(mut self, clock: SharedClock) {
        let mut attempts = Attempts::new();
        loop {
            let opened = tokio::select! {
                () = self.stop.cancelled() => return,
                opened = port::open(&self.settings.port) => opened,
            };
            let trouble = match opened {
                Ok(tty) => {
                    info!(bus = %self.bus, path = tty.name(), "serial line open");
                    self.outlet.connected();
                    attempts.opened();
                    match self.pump(tty, &clock).await {
                        End::Stopped => return,
                        End::Lost(trouble) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            self.outlet.lost(&trouble);
            let path = &self.settings.port.place;
            if attempts.lost(&trouble) {
                warn!(bus = %self.bus, %path, error = trouble, "serial line not there; waiting for it");
            } else {
                debug!(bus = %self.bus, %path, error = trouble, "serial line not there; waiting for it");
            }
            if !pause(attempts.next_delay(), &mut self.writes, &self.stop).await {
                return;
            }
        }
    }

    /// Reads and writes until the line is lost.
    async fn pump(&mut self, mut tty: Tty, clock: &SharedClock) -> End {
        let mut framer = Framer::new(self.settings.framing.clone());
        let mut questions = Questions::new(self.bus.clone(), self.settings.poll.as_ref());
        let mut buffer = [0; READ_BYTES];
        let mut awaited: Option<Awaited> = None;
        let end = loop {
            let pause_end = framer.poll_timeout().map(Instant::from_std);
            // One conversation at a time: no answer is taken for another's.
            let is_free = awaited.is_none();
            let is_unasked = is_free && !questions.is_awaiting();
            // Reading is cancel-safe: what was not read yet stays in the tty.
            let news = tokio::select! {
                () = self.stop.cancelled() => News::Stop,
                Some(request) = self.writes.recv(), if is_unasked => News::Write(request),
                () = sleep_until(questions.due()), if is_free => News::Question,
                () = Awaited::expiry(awaited.as_ref()) => News::NoReply,
                read = tty.read(&mut buffer) => News::Read(read),
                () = sleep_until(pause_end) => News::Pause,
            };
            let done = match news {
                News::Stop => break End::Stopped,
                News::Write(request) => match write::write(&mut tty, request).await {
                    Ok(waits) => {
                        awaited = waits;
                        Ok(())
                    }
                    Err(trouble) => Err(trouble),
                },
                News::Question => questions.proceed(&mut tty).await,
                News::NoReply => {
                    awaited.take().into_iter().for_each(Awaited::expire);
                    Ok(())
                }
                // An unplugged adapter reads as an endless end of file.
                News::Read(Ok(0)) => Err("the line was unplugged".to_owned()),
                News::Read(Err(error)) => Err(error.to_string()),
                News::Read(Ok(length)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    framer.handle_bytes(bytes, Instant::now().into_std());
                    Ok(())
                }
                News::Pause => {
                    framer.handle_timeout(Instant::now().into_std());
                    Ok(())
                }
            };
            for frame in framer.drain_frames() {
                if let Some(frame) = Awaited::hear(&mut awaited, frame) {
                    questions.handle_answer();
                    self.pass_on(frame, clock);
                }
            }
            if let Err(trouble) = done {
                break End::Lost(trouble);
            }
        };
        framer.handle_disconnected();
        framer.drain_frames().for_each(|frame| self.pass_on(frame, clock));
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
