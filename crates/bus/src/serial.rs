//! A serial line: opens a tty, cuts its bytes into frames, writes to it, and opens it again when it
//! was unplugged. Polls an instrument that sends only on request.

mod exchange;
mod meter;
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
use exchange::Exchange;
use poll::Poller;
pub use port::PortError;
use tidegate_config::{Port, SerialBus};
use tidegate_ingest::frame::Framing;
use tidegate_ingest::serial_poll::MeterPoll;
use tidegate_model::excerpt::notation;
use tidegate_model::io_problem;
use tidegate_runtime::wait::sleep_until;
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
        let meter = self.meter.iter().map(MeterPoll::request);
        let polls = self.poll.iter().flat_map(|poll| poll.questions.iter().cloned()).chain(meter);
        marks.chain(polls.map(|question| format!("poll      {}", notation(&question)))).collect()
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
                    let served = match self.settings.meter.clone() {
                        Some(meter) => self.read_meter(tty, meter).await,
                        None => self.serve(tty).await,
                    };
                    match served {
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
    async fn serve(&mut self, tty: Tty) -> io::Result<()> {
        let mut exchange = Exchange::new(tty, &self.settings, &self.context);
        let mut poller = Poller::new(self.context.bus.clone(), self.settings.poll.as_ref());
        let mut buffer = [0; READ_BYTES];
        let mut pending: Option<PendingReply> = None;
        let end = loop {
            // One exchange at a time, so that each reply belongs to one request.
            let is_free = pending.is_none();
            let may_write = is_free && !poller.is_awaiting();
            let framer_timeout = exchange.poll_timeout();
            // Reading is cancel-safe: unread bytes stay in the tty.
            let event = tokio::select! {
                () = self.context.stopped() => Event::Stopped,
                Some(request) = self.writes.recv(), if may_write => Event::Write(request),
                () = sleep_until(poller.poll_timeout()), if is_free => Event::PollTimeout,
                () = sleep_until(pending.as_ref().map(PendingReply::deadline)) => {
                    Event::ReplyTimeout
                }
                read = exchange.tty.read(&mut buffer) => Event::Read(read),
                () = sleep_until(framer_timeout) => Event::FramerTimeout,
            };
            let handled = match event {
                Event::Stopped => break Ok(()),
                Event::Write(request) => {
                    let is_polled = self.settings.poll.is_some();
                    match exchange.prepare_write(&request.write, is_polled) {
                        Ok(()) => write::write(&mut exchange.tty, request)
                            .await
                            .map(|reply| pending = reply),
                        Err(error) => Err(error),
                    }
                }
                Event::PollTimeout => {
                    let arrived = exchange.read_arrived(&mut buffer).await;
                    if let Ok(true) = arrived {
                        poller.handle_bytes(exchange.is_partial());
                        self.pass_on(&mut exchange, &mut pending, &mut poller);
                    }
                    match arrived {
                        Ok(_) => poller.handle_timeout(&mut exchange).await,
                        Err(error) => Err(error),
                    }
                }
                Event::ReplyTimeout => {
                    pending.take().into_iter().for_each(PendingReply::expire);
                    Ok(())
                }
                // An unplugged adapter reads as an endless end of file.
                Event::Read(Ok(0)) => Err(io::Error::other("the line was unplugged")),
                Event::Read(Err(error)) => Err(error),
                Event::Read(Ok(length)) => {
                    exchange.handle_bytes(buffer.get(..length).unwrap_or_default());
                    poller.handle_bytes(exchange.is_partial());
                    Ok(())
                }
                Event::FramerTimeout => {
                    exchange.handle_timeout();
                    Ok(())
                }
            };
            self.pass_on(&mut exchange, &mut pending, &mut poller);
            if let Err(error) = handled {
                break Err(error);
            }
        };
        exchange.close();
        end
    }

    /// Passes on the frames that are ready, except for the reply to a write.
    fn pass_on(
        &self,
        exchange: &mut Exchange<'_>,
        pending: &mut Option<PendingReply>,
        poller: &mut Poller<'_>,
    ) {
        for frame in exchange.drain_frames() {
            if let Some(frame) = PendingReply::handle_frame(pending, frame) {
                let topic = poller.handle_frame();
                self.context.offer_frame(topic, frame);
            }
        }
    }
}

/// Returns the time of tokio's clock, which tests can pause, as the machines expect it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
