//! The door for those on this computer: HTTP/1.1 over a Unix socket that file permissions guard, and, if the configuration
//! asks for it, over a TCP port that only tells what anybody may know.
//!
//! `curl --unix-socket /run/tidegate/tidegate.sock http://tidegate/status`. What is behind a path is no business of this
//! module: parts of the daemon put theirs into [`Routes`]. [`ask`] is the other end, for the command line.

mod client;
mod connection;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::net::Listener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use client::{Error, Reply, ask};
pub use hyper::{Method, StatusCode};
use routes::Audience;
pub use routes::{Answer, Body, Request, Routes};

/// Connections at a time, on the socket and on the port; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;

/// After an accept that failed, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The socket and the port, open.
#[derive(Debug)]
pub struct ControlServer {
    socket: UnixListener,
    path: PathBuf,
    port: Option<TcpListener>,
}

impl ControlServer {
    /// Opens the socket, for user and group only. One that a crash left behind is replaced.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self { socket, path: path.to_owned(), port: None })
    }

    /// Opens a port, too, for what is open to all.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        let port = std::net::TcpListener::bind(address)?;
        port.set_nonblocking(true)?;
        info!(listen = %port.local_addr()?, "telling metrics and health");
        self.port = Some(TcpListener::from_std(port)?);
        Ok(())
    }

    /// Answers until it is stopped. A connection that is open then is dropped: its client learns that the daemon has gone.
    pub async fn run(self, routes: Routes, stop: CancellationToken) {
        let on_socket = serve(self.socket, &routes, Audience::Trusted);
        let on_port = async {
            if let Some(port) = self.port {
                serve(port, &routes, Audience::Anyone).await;
            }
        };
        stop.run_until_cancelled(async { tokio::join!(on_socket, on_port) }).await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            warn!(%error, path = %self.path.display(), "cannot remove the status socket");
        }
    }
}

/// One task for all connections, so that what they cost is bounded and seen.
async fn serve(mut listener: impl Listener<Io: Send + Unpin>, routes: &Routes, audience: Audience) {
    let mut connections = FuturesUnordered::new();
    loop {
        let has_room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => connections.push(connection::answer(stream, routes, audience)),
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(()) = connections.next() => {}
        }
    }
}

#[cfg(test)]
mod tests;
