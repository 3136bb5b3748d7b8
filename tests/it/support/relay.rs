//! A TCP relay whose connections can be disturbed, frozen or cut while both ends live on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Serves a new connection in place of the target, whose port is the second argument.
type Serve = dyn Fn(TcpStream, u16) + Send + Sync;

/// Forwards connections to a port of this computer.
///
/// Its threads end with the connections, and the last one with the test.
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    fault: Mutex<Option<Arc<Serve>>>,
    connections: Mutex<Vec<Connection>>,
}

/// Both ends of a forwarded connection.
#[derive(Clone)]
struct Connection {
    near: Arc<TcpStream>,
    far: Arc<TcpStream>,
    is_frozen: Arc<AtomicBool>,
}

impl Relay {
    /// Starts a relay to the port `target`.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let relay = Self { port, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, fault) = (stream.unwrap(), shared.fault.lock().unwrap().clone());
                match fault {
                    Some(serve) => drop(std::thread::spawn(move || serve(stream, target))),
                    None => shared.forward(stream, target),
                }
            }
        });
        relay
    }

    /// Starts a relay that hands each connection to `fault` until [`repair`](Self::repair).
    pub(crate) fn failing(
        target: u16,
        fault: impl Fn(TcpStream, u16) + Send + Sync + 'static,
    ) -> Self {
        let relay = Self::to(target);
        *relay.shared.fault.lock().unwrap() = Some(Arc::new(fault));
        relay
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Forwards new connections from now on.
    pub(crate) fn repair(&self) {
        *self.shared.fault.lock().unwrap() = None;
    }

    /// Swallows what the present connections carry, and leaves them open, as if the peer vanished.
    pub(crate) fn freeze(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.is_frozen.store(true, Ordering::Relaxed);
        }
    }

    /// Breaks all connections. Data that is under way is lost.
    pub(crate) fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            // A connection that has ended by itself cannot be shut down.
            connection.near.shutdown(Shutdown::Both).ok();
            connection.far.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Shared {
    fn forward(&self, near: TcpStream, target: u16) {
        // If the target does not listen, the connection is dropped at once.
        let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
        let (near, far) = (Arc::new(near), Arc::new(far));
        let connection = Connection { near, far, is_frozen: Arc::default() };
        self.connections.lock().unwrap().push(connection.clone());
        let back = connection.clone();
        std::thread::spawn(move || copy(&back.far, &back.near, &back.is_frozen));
        std::thread::spawn(move || copy(&connection.near, &connection.far, &connection.is_frozen));
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, is_frozen: &AtomicBool) {
    let mut bytes = [0; 4_096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !is_frozen.load(Ordering::Relaxed) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    if !is_frozen.load(Ordering::Relaxed) {
        to.shutdown(Shutdown::Both).ok();
    }
}
