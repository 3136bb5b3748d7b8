//! The server thread: one runtime and one listener.
//!
//! The sandbox has a thread of its own, so that it works when the caller's runtime is paused or
//! blocked, and so that dropping it frees the port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::connection::{AbortableListener, Peer};
use crate::error::Error;
use crate::{export_worker, service};

/// A running server. Dropping it closes the port and all connections.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    _thread: Thread,
}

impl Server {
    /// Starts a server for `cloud` on `address`.
    pub(crate) async fn start(cloud: Arc<Cloud>, address: SocketAddr) -> Result<Self, Error> {
        let (ready, started) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || run(&cloud, address, ready, &stopped))
            .map_err(Error::Thread)?;
        // Created before the await: a caller that gives up waiting also stops the thread.
        let thread = Thread { stop, handle: Some(thread) };
        let ended = || Err(Error::Thread(io::ErrorKind::BrokenPipe.into()));
        let address = started.await.unwrap_or_else(|_| ended())?;
        Ok(Self { address, _thread: thread })
    }

    /// Returns the address on which the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A thread. Dropping it stops the thread and waits for its end.
#[derive(Debug)]
struct Thread {
    stop: CancellationToken,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(handle) = self.handle.take() {
            // The panic hook has printed the panic of the thread already.
            handle.join().ok();
        }
    }
}

fn run(
    cloud: &Arc<Cloud>,
    address: SocketAddr,
    ready: oneshot::Sender<Result<SocketAddr, Error>>,
    stopped: &CancellationToken,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            ready.send(Err(Error::Thread(source))).ok();
            return;
        }
    };
    runtime.block_on(async {
        let bound = bind(address).await;
        let listener = match bound {
            Ok((listener, address)) => {
                ready.send(Ok(address)).ok();
                listener
            }
            Err(source) => {
                ready.send(Err(Error::Listen { address, source })).ok();
                return;
            }
        };
        let service = Router::new()
            .fallback(service::respond)
            .with_state(Arc::clone(cloud))
            .into_make_service_with_connect_info::<Peer>();
        let serve = async { axum::serve(AbortableListener(listener), service).await };
        // Both futures run until they are stopped; dropping the runtime closes the connections.
        let work = async { tokio::join!(serve, export_worker::run(cloud)) };
        stopped.run_until_cancelled(work).await;
    });
}

/// Binds a port. tokio sets `SO_REUSEADDR` on Unix, so a port can be bound again right after it
/// was closed.
async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
