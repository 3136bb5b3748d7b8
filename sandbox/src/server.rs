//! The server's thread: one runtime, one listener, gone when it is dropped.
//!
//! The thread is the sandbox's own, so that it serves whatever the caller's runtime does (a paused
//! clock, a blocked thread), and so that its port is free again as soon as it was dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::builder::Error;
use crate::call;
use crate::cloud::Cloud;
use crate::connection::{Caller, Doorway};
use crate::exports;

/// A running server. Dropping it closes the port and all connections before it returns.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    _thread: Thread,
}

impl Server {
    /// Serves `cloud` at the address `wanted`.
    pub(crate) async fn start(cloud: Arc<Cloud>, wanted: SocketAddr) -> Result<Self, Error> {
        let (ready, started) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || run(&cloud, wanted, ready, &stopped))
            .map_err(Error::Thread)?;
        // Made before the wait, so that giving the wait up stops the thread as well.
        let thread = Thread { stop, handle: Some(thread) };
        let gone = || Err(Error::Thread(io::ErrorKind::BrokenPipe.into()));
        let address = started.await.unwrap_or_else(|_| gone())?;
        Ok(Self { address, _thread: thread })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A thread that is stopped and waited for when it is dropped.
#[derive(Debug)]
struct Thread {
    stop: CancellationToken,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(handle) = self.handle.take() {
            // A panic there has been printed there.
            handle.join().ok();
        }
    }
}

fn run(
    cloud: &Arc<Cloud>,
    wanted: SocketAddr,
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
        let bound = bind(wanted).await;
        let listener = match bound {
            Ok((listener, address)) => {
                ready.send(Ok(address)).ok();
                listener
            }
            Err(source) => {
                ready.send(Err(Error::Listen { address: wanted, source })).ok();
                return;
            }
        };
        let service = Router::new()
            .fallback(call::answer)
            .with_state(Arc::clone(cloud))
            .into_make_service_with_connect_info::<Caller>();
        let serve = async { axum::serve(Doorway(listener), service).await };
        // Neither ever ends by itself; dropping the runtime ends the connections.
        let work = async { tokio::join!(serve, exports::work(cloud)) };
        stopped.run_until_cancelled(work).await;
    });
}

/// On Unix tokio sets `SO_REUSEADDR`, so a port can be taken again right after it was closed.
async fn bind(wanted: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(wanted).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
