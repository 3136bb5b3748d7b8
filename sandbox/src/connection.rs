//! A TCP listener whose connections a handler can abort without sending a response.

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
pub(crate) struct AbortableListener(pub(crate) TcpListener);

impl Listener for AbortableListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // axum's implementation retries when accepting fails.
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Nagle's algorithm could delay a keepalive until the previous one is acknowledged.
        stream.set_nodelay(true).ok();
        (Connection::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A TCP connection that fails once its [`Peer`] is aborted.
pub(crate) struct Connection {
    stream: TcpStream,
    abort: CancellationToken,
    aborted: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let abort = CancellationToken::new();
        let aborted = Box::pin(abort.clone().cancelled_owned());
        Self { stream, abort, aborted }
    }

    fn check(&self) -> io::Result<()> {
        if self.abort.is_cancelled() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.aborted.as_mut().poll(cx).is_ready() {
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

/// The client end of a connection, as a handler sees it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    abort: CancellationToken,
}

impl Peer {
    /// Breaks the connection; a response that the handler still returns is not sent.
    pub(crate) fn abort(&self) {
        self.abort.cancel();
    }
}

impl Connected<IncomingStream<'_, AbortableListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, AbortableListener>) -> Self {
        Self { address: *stream.remote_addr(), abort: stream.io().abort.clone() }
    }
}
