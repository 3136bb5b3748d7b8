//! The limits: a bare subscriber, and a file with an append and a sync.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use crate::figures::float;
use crate::generator::{FILTER, MESSAGE_BYTES};
use crate::mqtt::{self, Connection, Packet};
use crate::process;

/// A subscriber that acknowledges each message at once, and keeps none.
pub(crate) struct Subscriber {
    received: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Subscriber {
    /// Subscribes at the broker on a local port.
    ///
    /// # Errors
    ///
    /// The broker cannot be reached.
    pub(crate) fn start(port: u16) -> anyhow::Result<Self> {
        let mut connection = Connection::open(port, "subscriber")?;
        connection.subscribe(FILTER)?;
        let (received, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (received, is_over) = (Arc::clone(&received), Arc::clone(&is_over));
            thread::Builder::new()
                .name("subscriber".to_owned())
                .spawn(move || acknowledge(connection, &received, &is_over))?
        };
        Ok(Self { received, is_over, thread })
    }

    /// Returns the count of the received messages, to follow it from another thread.
    pub(crate) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// Ends the subscription.
    ///
    /// # Errors
    ///
    /// The broker broke the connection before.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the subscriber panicked"))?
    }
}

fn acknowledge(
    mut connection: Connection,
    received: &AtomicU64,
    is_over: &AtomicBool,
) -> anyhow::Result<()> {
    let (mut writer, mut packets, mut answer) = (connection.writer()?, Vec::new(), Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        connection.read(&mut packets)?;
        answer.clear();
        let mut count = 0;
        for packet in packets.drain(..) {
            if let Packet::Message(id) = packet {
                mqtt::put_acknowledgement(&mut answer, id);
                count += 1;
            }
        }
        writer.write_all(&answer)?;
        received.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}

/// The figures of appends to a file, each followed by `fdatasync`.
pub(crate) struct Appends {
    /// The appends per second.
    pub(crate) rate: f64,
    /// The bytes that the process wrote to the disk for each appended byte, as the kernel counts.
    pub(crate) amplification: f64,
}

/// Appends `bytes` at a time to a new file in a directory, and syncs each append.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn append(directory: &Path, bytes: usize, time: Duration) -> anyhow::Result<Appends> {
    let mut file = tempfile::tempfile_in(directory)?;
    let block = vec![b'x'; bytes];
    let (started, written_before, mut appends) = (Instant::now(), process::own_writes(), 0_u64);
    while started.elapsed() < time {
        file.write_all(&block)?;
        file.sync_data()?;
        appends += 1;
    }
    let rate = float(appends) / started.elapsed().as_secs_f64();
    let appended = float(appends * u64::try_from(bytes)?).max(1.0);
    let written = float(process::own_writes().saturating_sub(written_before));
    Ok(Appends { rate, amplification: written / appended })
}

/// The messages in an append of the throughput's limit: about 64 KiB.
pub(crate) const GROUP: usize = (64 << 10) / MESSAGE_BYTES;
