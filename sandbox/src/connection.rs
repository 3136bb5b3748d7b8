//! A listener whose connections can be hung up from inside a call, without an answer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Accepts [`Connection`]s.
pub(crate) struct Doorway(pub(crate) TcpListener);

impl Listener for Doorway {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // It tries again by itself when accepting fails.
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Without it a keepalive may wait for the acknowledgement of the one before.
        stream.set_nodelay(true).ok();
        (Connection::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A TCP connection that breaks as soon as its [`Caller`] hangs up.
pub(crate) struct Connection {
    stream: TcpStream,
    hangup: CancellationToken,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let hangup = CancellationToken::new();
        let hung_up = Box::pin(hangup.clone().cancelled_owned());
        Self { stream, hangup, hung_up }
    }

    fn check(&self) -> io::Result<()> {
        if self.hangup.is_cancelled() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.hung_up.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The other end of a connection, as a call sees it.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    hangup: CancellationToken,
}

impl Caller {
    /// Breaks the connection; whatever the call still answers is not sent.
    pub(crate) fn hang_up(&self) {
        self.hangup.cancel();
    }
}

impl Connected<IncomingStream<'_, Doorway>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Doorway>) -> Self {
        Self { address: *stream.remote_addr(), hangup: stream.io().hangup.clone() }
    }
}
