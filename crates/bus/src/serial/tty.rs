//! An open tty that holds nobody up.
//!
//! The kernel has one way to wait until all is sent, and another when a tty is closed with bytes unsent. Both keep the thread,
//! the first for ever where flow control or a hung adapter holds the bytes, the second for 30 s.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

use tidegate_runtime::liveness;

/// How much longer than on the wire a write may take before the line counts as broken, as when flow control holds it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks whether all is sent.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Of one character on the wire: with a start bit, parity and two stop bits.
const BITS_MAX: u64 = 12;

/// A tty of our own.
#[derive(Debug)]
pub struct Tty {
    stream: SerialStream,
    baud_rate: u32,
    /// Whether a write has begun that is not known to be sent.
    is_unsent: bool,
}

impl Tty {
    pub(super) fn new(stream: SerialStream, baud_rate: u32) -> Self {
        Self { stream, baud_rate, is_unsent: false }
    }

    /// Its path.
    pub(super) fn name(&self) -> Option<String> {
        self.stream.name()
    }

    /// Throws away what came and was not read.
    ///
    /// # Errors
    /// When the line is broken.
    pub fn forget_input(&self) -> Result<(), String> {
        self.stream.clear(ClearBuffer::Input).map_err(|error| error.to_string())
    }

    /// Writes all of it, and waits until the driver has sent it. `Err` when the line is broken.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let limit = WRITE_TIMEOUT + self.time_on_the_wire(bytes.len());
        self.is_unsent = true;
        let sent = timeout(limit, async {
            self.stream.write_all(bytes).await.map_err(|error| error.to_string())?;
            while self.stream.bytes_to_write().map_err(|error| error.to_string())? > 0 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Ok(())
        });
        let sent = liveness::with_deadline(limit + liveness::LATE_MAX, "a write", sent).await;
        sent.unwrap_or_else(|_| Err(format!("a write took more than {limit:.0?}")))?;
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
        // What is still unsent would be waited for. What is sent must not be cleared: on a pseudo-terminal it may lie unread at
        // the other end. A line that is gone has nothing to clear.
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

    /// Nothing is kept back here; whether the kernel has sent it is not waited for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
