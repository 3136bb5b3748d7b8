//! A line to the cloud, over which anything may go wrong until it is mended.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of a connection; the port is the cloud's.
type Serve = dyn Fn(TcpStream, u16) + Send + Sync;

/// A port that passes connections on to the cloud, unless there is trouble. Its threads end with the connections.
pub(crate) struct Line {
    port: u16,
    trouble: Arc<Mutex<Option<Arc<Serve>>>>,
    frozen: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Line {
    /// A line to the cloud at this port that works.
    pub(crate) fn to(cloud: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Self { port, trouble: Arc::default(), frozen: Arc::default() };
        let (trouble, frozen) = (Arc::clone(&line.trouble), Arc::clone(&line.frozen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serve) = (stream.unwrap(), trouble.lock().unwrap().clone());
                let is_frozen = Arc::clone(&frozen.lock().unwrap());
                std::thread::spawn(move || match serve {
                    Some(serve) => serve(stream, cloud),
                    None => pass_on(&stream, cloud, &is_frozen),
                });
            }
        });
        line
    }

    /// The same, where each connection meets with this, until it is mended.
    pub(crate) fn troubled(
        cloud: u16,
        trouble: impl Fn(TcpStream, u16) + Send + Sync + 'static,
    ) -> Self {
        let line = Self::to(cloud);
        *line.trouble.lock().unwrap() = Some(Arc::new(trouble));
        line
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// New connections work.
    pub(crate) fn mend(&self) {
        *self.trouble.lock().unwrap() = None;
    }

    /// What the connections of now carry is swallowed, and none of them ends: their other end has vanished.
    pub(crate) fn freeze(&self) {
        std::mem::take(&mut *self.frozen.lock().unwrap()).store(true, Ordering::Relaxed);
    }
}

fn pass_on(near: &TcpStream, cloud: u16, is_frozen: &Arc<AtomicBool>) {
    // Without a cloud the connection is dropped at once.
    let Ok(far) = TcpStream::connect(("127.0.0.1", cloud)) else { return };
    let (back_near, back_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let is_frozen_back = Arc::clone(is_frozen);
    std::thread::spawn(move || copy(&back_far, &back_near, &is_frozen_back));
    copy(near, &far, is_frozen);
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
