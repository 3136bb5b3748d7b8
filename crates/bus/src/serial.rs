//! A serial line: opens a tty, cuts its bytes into frames, writes to it, and opens it again when it
//! was unplugged. Polls an instrument that sends only on request.

mod poll;
pub(crate) mod port;
mod tty;
mod usb;
mod write;

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::reconnect::Reconnect;
use crate::{BusContext, BusDriver, BusTask, WriteQueue, WriteRequest};
use poll::Poller;
pub use port::PortError;
use tidegate_config::{Port, SerialBus};
use tidegate_ingest::frame::{Framer, Framing};
use tidegate_model::excerpt::notation;
use tidegate_model::io_problem;
use tidegate_runtime::wait::sleep_until;
use tidegate_timing::machine::Machine as _;
pub use tty::Tty;
use write::PendingReply;

/// The bytes that are read at once: the buffer of a tty.
const READ_BYTES: usize = 4_096;

/// Opens a tty exclusively, outside of a bus, to find out which instrument is connected.
///
/// # Errors
/// If the tty cannot be opened with these settings.
pub async fn open_line(settings: &Port) -> Result<Tty, PortError> {
    port::open(settings).await
}

impl BusDriver for SerialBus {
    fn describe(&self) -> String {
        format!("serial {} at {} baud", self.port.place, self.port.baud_rate)
    }

    fn details(&self) -> Vec<String> {
        let marks = self.framing.shape.marks();
        let marks = marks.iter().map(|(name, bytes)| format!("{name:<9} {}", notation(bytes)));
        let polls = self.poll.iter().flat_map(|poll| &poll.questions);
        marks.chain(polls.map(|question| format!("poll      {}", notation(question)))).collect()
    }

    fn framing(&self) -> Option<Framing> {
        Some(self.framing.clone())
    }

    fn task(&self, context: BusContext, writes: WriteQueue) -> BusTask {
        Box::pin(Driver { settings: self.clone(), context, writes }.run())
    }
}

struct Driver {
    settings: SerialBus,
    context: BusContext,
    writes: WriteQueue,
}

/// The events of an open line.
enum Event {
    Stopped,
    Write(WriteRequest),
    Read(io::Result<usize>),
    PollTimeout,
    ReplyTimeout,
    FramerTimeout,
}

impl Driver {
    async fn run(mut self) {
        let mut reconnect = Reconnect::new();
        loop {
            let opened = tokio::select! {
                () = self.context.stopped() => return,
                opened = port::open(&self.settings.port) => opened,
            };
            let error = match opened {
                Ok(tty) => {
                    info!(bus = %self.context.bus, path = tty.name(), "serial line open");
                    self.context.report_connected();
                    reconnect.opened();
                    match self.serve(tty).await {
                        Ok(()) => return,
                        Err(error) => io_problem(&error),
                    }
                }
                Err(error) => error.to_string(),
            };
            self.context.report_disconnected(&error);
            let (bus, path) = (&self.context.bus, &self.settings.port.place);
            if reconnect.lost(&error) {
                warn!(%bus, %path, error, "serial line not available; retrying");
            } else {
                debug!(%bus, %path, error, "serial line not available; retrying");
            }
            if !self.writes.reject_for(reconnect.next_delay(), &self.context).await {
                return;
            }
        }
    }

    /// Reads and writes until the bus is stopped (`Ok`) or the line is lost.
    async fn serve(&mut self, mut tty: Tty) -> io::Result<()> {
        let mut framer = Framer::new(self.settings.framing.clone());
        let mut poller = Poller::new(self.context.bus.clone(), self.settings.poll.as_ref());
        let mut buffer = [0; READ_BYTES];
        let mut pending: Option<PendingReply> = None;
        let end = loop {
            let framer_timeout = framer.poll_timeout().map(Instant::from_std);
            // One exchange at a time, so that each reply belongs to one request.
            let is_free = pending.is_none();
            let may_write = is_free && !poller.is_awaiting();
            // Reading is cancel-safe: unread bytes stay in the tty.
            let event = tokio::select! {
                () = self.context.stopped() => Event::Stopped,
                Some(request) = self.writes.recv(), if may_write => Event::Write(request),
                () = sleep_until(poller.poll_timeout()), if is_free => Event::PollTimeout,
                () = sleep_until(pending.as_ref().map(PendingReply::deadline)) => {
                    Event::ReplyTimeout
                }
                read = tty.read(&mut buffer) => Event::Read(read),
                () = sleep_until(framer_timeout) => Event::FramerTimeout,
            };
            let handled = match event {
                Event::Stopped => break Ok(()),
                Event::Write(request) => {
                    write::write(&mut tty, request).await.map(|reply| pending = reply)
                }
                Event::PollTimeout => poller.handle_timeout(&mut tty).await,
                Event::ReplyTimeout => {
                    pending.take().into_iter().for_each(PendingReply::expire);
                    Ok(())
                }
                // An unplugged adapter reads as an endless end of file.
                Event::Read(Ok(0)) => Err(io::Error::other("the line was unplugged")),
                Event::Read(Err(error)) => Err(error),
                Event::Read(Ok(length)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    framer.handle_bytes(bytes, Instant::now().into_std());
                    Ok(())
                }
                Event::FramerTimeout => {
                    framer.handle_timeout(Instant::now().into_std());
                    Ok(())
                }
            };
            for frame in framer.drain_frames() {
                if let Some(frame) = PendingReply::handle_frame(&mut pending, frame) {
                    poller.handle_frame();
                    self.context.offer_frame(frame);
                }
            }
            if let Err(error) = handled {
                break Err(error);
            }
        };
        framer.handle_disconnected();
        framer.drain_frames().for_each(|frame| self.context.offer_frame(frame));
        end
    }
}
