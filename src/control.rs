//! The control server: HTTP/1.1 over a Unix socket, which file permissions protect, and optionally
//! over a TCP port that serves only public paths.
//!
//! Try `curl --unix-socket /run/tidegate/tidegate.sock http://tidegate/status`. This module does
//! not know the paths: parts of the daemon register theirs in [`Routes`]. [`ask`] is the client,
//! for the command line.

mod answer;
mod client;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::net::Listener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use client::{Error, Reply, ask};
pub use hyper::{Method, StatusCode};
use routes::Audience;
pub use routes::{Answer, Body, Request, Routes};
use tidegate_model::io_problem;
use tidegate_runtime::http_server::{self, Limits};

/// The bounds of the socket and of the port each.
const LIMITS: Limits = Limits {
    connections_max: 16,
    connection_timeout: Duration::from_secs(60),
    header_timeout: Duration::from_secs(5),
    headers_max: 32,
    buffer_bytes_max: 16 << 10,
};

/// The open socket and port.
#[derive(Debug)]
pub struct ControlServer {
    socket: UnixListener,
    path: PathBuf,
    port: Option<TcpListener>,
}

impl ControlServer {
    /// Opens the socket with mode 0660. Replaces a socket that a crash left behind.
    ///
    /// # Errors
    /// If the directory cannot be created or written.
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

    /// Opens a TCP port for the public paths.
    ///
    /// # Errors
    /// If the port is in use.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        let port = std::net::TcpListener::bind(address)?;
        port.set_nonblocking(true)?;
        info!(listen = %port.local_addr()?, "serving metrics and health");
        self.port = Some(TcpListener::from_std(port)?);
        Ok(())
    }

    /// Serves until `stop`, then closes all connections.
    pub async fn run(self, routes: Routes, stop: CancellationToken) {
        let on_socket = serve(self.socket, &routes, Audience::Trusted);
        let on_port = async {
            if let Some(port) = self.port {
                serve(port, &routes, Audience::Anyone).await;
            }
        };
        stop.run_until_cancelled(async { tokio::join!(on_socket, on_port) }).await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            let error = io_problem(&error);
            warn!(error, path = %self.path.display(), "cannot remove the status socket");
        }
    }
}

async fn serve(listener: impl Listener<Io: Send + Unpin>, routes: &Routes, audience: Audience) {
    http_server::serve("control", listener, LIMITS, |request| {
        answer::answer(request, routes, audience)
    })
    .await;
}

#[cfg(test)]
mod tests;
