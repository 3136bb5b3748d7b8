//! An open tty whose writes and close never block.
//!
//! The kernel blocks a thread that waits until all bytes are sent: for ever if flow control or a
//! faulty adapter holds them. It also blocks a thread that closes a tty with unsent bytes, for 30
//! s.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

use tidegate_runtime::liveness;

/// How much longer than its time on the wire a write may take before the line counts as lost, for
/// example because of flow control.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval of checks whether all bytes are sent.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The most bits of a character on the wire: with a start bit, a parity bit and two stop bits.
const BITS_MAX: u64 = 12;

/// A tty that this process has opened exclusively.
#[derive(Debug)]
pub struct Tty {
    stream: SerialStream,
    baud_rate: u32,
    /// Whether a write has started and may not be sent.
    is_unsent: bool,
}

impl Tty {
    pub(super) fn new(stream: SerialStream, baud_rate: u32) -> Self {
        Self { stream, baud_rate, is_unsent: false }
    }

    /// Returns the path.
    pub(super) fn name(&self) -> Option<String> {
        self.stream.name()
    }

    /// Returns whether the kernel has received bytes that were not read.
    ///
    /// # Errors
    /// If the line is lost.
    pub(super) fn has_input(&self) -> io::Result<bool> {
        Ok(self.stream.bytes_to_read()? > 0)
    }

    /// Sets the speed in baud.
    ///
    /// # Errors
    /// If the line is lost, or does not support the speed.
    pub(super) fn set_speed(&mut self, baud_rate: u32) -> io::Result<()> {
        self.stream.set_baud_rate(baud_rate)?;
        self.baud_rate = baud_rate;
        Ok(())
    }

    /// Discards unread input.
    ///
    /// # Errors
    /// If the line is lost.
    pub fn discard_input(&self) -> io::Result<()> {
        Ok(self.stream.clear(ClearBuffer::Input)?)
    }

    /// Writes all bytes and waits until the kernel has sent them.
    ///
    /// # Errors
    /// If the line is lost.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let limit = WRITE_TIMEOUT + self.time_on_the_wire(bytes.len());
        self.is_unsent = true;
        let sent = timeout(limit, async {
            self.stream.write_all(bytes).await?;
            while self.stream.bytes_to_write()? > 0 {
                tokio::time::sleep(CHECK_INTERVAL).await;
            }
            Ok(())
        });
        let sent = liveness::with_deadline(limit + liveness::LATE_MAX, "a write", sent).await;
        let late = || io::Error::other(format!("a write took more than {limit:.0?}"));
        sent.unwrap_or_else(|_| Err(late()))?;
        self.is_unsent = false;
        Ok(())
    }

    fn time_on_the_wire(&self, bytes: usize) -> Duration {
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(BITS_MAX);
        Duration::from_secs(bits / u64::from(self.baud_rate.max(1)))
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // The kernel would wait for unsent bytes. Sent bytes must not be cleared: the other end of
        // a pseudo-terminal may not have read them. Clearing fails if the line is lost.
        if self.is_unsent {
            self.stream.clear(ClearBuffer::Output).unwrap_or_default();
        }
    }
}

impl AsyncRead for Tty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_unsent = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// Does not wait for the kernel: `Tty::send` does.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
