//! The exchange with the instrument on an open line: its bytes are cut into frames, and no question
//! gets a part of the answer to another.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};

use super::now;
use super::tty::Tty;
use crate::BusContext;
use tidegate_config::SerialBus;
use tidegate_ingest::frame::{Frame, Framer, Loss};
use tidegate_ingest::serial_poll::EchoFilter;
use tidegate_model::Write;
use tidegate_timing::machine::Machine as _;

/// How often the bytes that have arrived are read before a question is sent: more than the kernel
/// buffers.
const READS_MAX: usize = 16;

/// An open line with its framer.
pub(super) struct Exchange<'a> {
    pub(super) tty: Tty,
    framer: Framer,
    echo: EchoFilter,
    context: &'a BusContext,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(tty: Tty, settings: &SerialBus, context: &'a BusContext) -> Self {
        let mut framer = Framer::new(settings.framing.clone());
        framer.handle_opened(now());
        let echo = EchoFilter::new(settings.echo, settings.framing.clone());
        Self { tty, framer, echo, context }
    }

    /// Returns the time of the next [`Exchange::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.framer.poll_timeout().map(Instant::from_std)
    }

    pub(super) fn handle_timeout(&mut self) {
        self.framer.handle_timeout(now());
    }

    /// Returns whether a frame has begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        self.framer.is_partial()
    }

    /// Processes bytes that have arrived.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        let bytes = self.echo.remove_echo(bytes);
        self.framer.handle_bytes(&bytes, now());
    }

    /// Returns the frames that are ready, without the echo of a question.
    pub(super) fn drain_frames(&mut self) -> Vec<Frame> {
        let frames: Vec<_> = self.framer.drain_frames().collect();
        frames.into_iter().filter(|frame| !self.echo.is_echo(frame)).collect()
    }

    /// Processes the bytes that the kernel has received. Returns whether there were any.
    ///
    /// # Errors
    /// If the line is lost.
    pub(super) async fn read_arrived(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut has_arrived = false;
        for _ in 0..READS_MAX {
            // The time-out polls the read first, so it takes what is there.
            let Ok(read) = timeout(Duration::ZERO, self.tty.read(buffer)).await else { break };
            let length = read?;
            if length == 0 {
                break;
            }
            has_arrived = true;
            self.handle_bytes(buffer.get(..length).unwrap_or_default());
        }
        Ok(has_arrived)
    }

    /// Sends a question. What has arrived of an earlier answer is dropped and counted.
    ///
    /// # Errors
    /// If the line is lost.
    pub(super) async fn ask(&mut self, question: &Bytes) -> io::Result<()> {
        self.drop_partial()?;
        self.echo.handle_request(question, now());
        self.tty.send(question).await
    }

    /// Drops what has arrived of an answer, here and in the kernel, and counts it.
    ///
    /// # Errors
    /// If the line is lost.
    pub(super) fn drop_partial(&mut self) -> io::Result<()> {
        self.framer.handle_request();
        for frame in self.drain_frames() {
            self.context.offer_frame("", frame);
        }
        if self.tty.has_input()? {
            self.context.count_loss(Loss::Incomplete);
        }
        self.tty.discard_input()
    }

    /// Prepares for a write of an actuator and its echo. On a line that is polled, what has arrived
    /// of an answer is dropped, so that it is not joined with the reply.
    ///
    /// # Errors
    /// If the line is lost.
    pub(super) fn prepare_write(&mut self, write: &Write, is_polled: bool) -> io::Result<()> {
        if let Write::Serial { bytes, .. } = write {
            self.echo.handle_write(bytes);
        }
        if is_polled { self.drop_partial() } else { Ok(()) }
    }

    /// Counts the partial frame of a line that is lost or closed.
    pub(super) fn close(mut self) {
        self.framer.handle_disconnected();
        self.drain_frames().into_iter().for_each(|frame| self.context.offer_frame("", frame));
    }
}
