//! The generator: publishes numbered messages with QoS 1, and stays a bounded lead ahead.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use crate::figures;
use crate::mqtt::{self, Connection, Packet};

/// The devices whose messages are published, each with a topic of its own.
pub(crate) const DEVICES: u64 = 50;

/// The topic filter of all messages.
pub(crate) const FILTER: &str = "plant/+/reading";

/// The bytes of a message, on average.
pub(crate) const MESSAGE_BYTES: usize = 120;

/// The most messages that the broker has not acknowledged. Packet ids allow 65,535.
const WINDOW: u64 = 4_000;

/// The most messages in one write.
const WRITE_MESSAGES: u64 = 200;

/// The pause when no message may be published.
const PAUSE: Duration = Duration::from_micros(500);

/// The longest wait for the last acknowledgements of the broker.
const ACKNOWLEDGE_TIME: Duration = Duration::from_secs(30);

/// What a generator publishes.
pub(crate) struct Load {
    /// The sequence number of the first message.
    pub(crate) first: u64,
    /// The most messages.
    pub(crate) count: u64,
    /// The messages per second; `None` publishes as fast as the lead allows.
    pub(crate) rate: Option<f64>,
    /// The most messages that have not arrived at the sink.
    pub(crate) lead: u64,
    /// The longest time.
    pub(crate) time: Duration,
}

/// A running generator.
pub(crate) struct Generator {
    thread: JoinHandle<anyhow::Result<u64>>,
}

impl Generator {
    /// Starts to publish to the broker at a local port.
    ///
    /// `arrived` counts the messages of this load that arrived at the sink.
    pub(crate) fn start(port: u16, load: Load, arrived: Arc<AtomicU64>) -> std::io::Result<Self> {
        let thread = thread::Builder::new()
            .name("generator".to_owned())
            .spawn(move || publish(port, &load, &arrived))?;
        Ok(Self { thread })
    }

    /// Waits for the end. Returns how many messages the broker acknowledged.
    ///
    /// # Errors
    ///
    /// The broker broke the connection.
    pub(crate) fn finish(self) -> anyhow::Result<u64> {
        self.thread.join().map_err(|_| anyhow!("the generator panicked"))?
    }
}

fn publish(port: u16, load: &Load, arrived: &AtomicU64) -> anyhow::Result<u64> {
    let connection = Connection::open(port, "generator")?;
    let mut writer = connection.writer()?;
    let (acknowledged, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (acknowledged, is_over) = (Arc::clone(&acknowledged), Arc::clone(&is_over));
        thread::Builder::new()
            .name("acknowledgements".to_owned())
            .spawn(move || count_acknowledgements(connection, &acknowledged, &is_over))?
    };
    let (started, mut sent, mut buffer) = (Instant::now(), 0, Vec::new());
    while sent < load.count && started.elapsed() < load.time && !reader.is_finished() {
        let due = load.rate.map_or(load.count, |rate| {
            figures::whole(started.elapsed().as_secs_f64() * rate).min(load.count)
        });
        let allowed = due
            .min(acknowledged.load(Ordering::Relaxed) + WINDOW)
            .min(arrived.load(Ordering::Relaxed).saturating_add(load.lead))
            .min(sent + WRITE_MESSAGES);
        if allowed <= sent {
            thread::sleep(PAUSE);
            continue;
        }
        buffer.clear();
        for number in sent..allowed {
            put_message(&mut buffer, load.first + number)?;
        }
        writer.write_all(&buffer)?;
        sent = allowed;
    }
    let waiting = Instant::now();
    while acknowledged.load(Ordering::Relaxed) < sent
        && waiting.elapsed() < ACKNOWLEDGE_TIME
        && !reader.is_finished()
    {
        thread::sleep(PAUSE);
    }
    is_over.store(true, Ordering::Relaxed);
    reader.join().map_err(|_| anyhow!("the reader of the generator panicked"))??;
    Ok(acknowledged.load(Ordering::Relaxed))
}

fn count_acknowledgements(
    mut connection: Connection,
    acknowledged: &AtomicU64,
    is_over: &AtomicBool,
) -> anyhow::Result<()> {
    let mut packets = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        connection.read(&mut packets)?;
        let count = packets.drain(..).filter(|packet| *packet == Packet::Acknowledged).count();
        acknowledged.fetch_add(u64::try_from(count)?, Ordering::Relaxed);
    }
    Ok(())
}

/// Appends the message with a sequence number. Its six values and its device are those that the
/// configurations of all programs name.
fn put_message(buffer: &mut Vec<u8>, number: u64) -> anyhow::Result<()> {
    let device = number % DEVICES;
    let topic = format!("plant/s-{device:02}/reading");
    let id = u16::try_from(number % 65_535)? + 1;
    mqtt::put_publish(buffer, &topic, id, payload(number, device).as_bytes())
}

/// Returns the payload with a sequence number and a device: about [`MESSAGE_BYTES`] bytes.
pub(crate) fn payload(number: u64, device: u64) -> String {
    format!(
        concat!(
            r#"{{"dev":"s-{:02}","seq":{},"temperature":{}.{:02},"humidity":{}.{},"#,
            r#""pressure":10{:02}.25,"battery":3.{:02},"status":"sampled"}}"#
        ),
        device,
        number,
        15 + number % 20,
        number * 37 % 100,
        30 + number % 50,
        number * 7 % 10,
        number % 40,
        number * 3 % 70,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_json_of_the_stated_size() {
        let payload = payload(1_234_567, 17);
        let json: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(json["seq"], 1_234_567);
        assert_eq!(json.as_object().unwrap().len(), 7);
        assert!(payload.len().abs_diff(MESSAGE_BYTES) <= 5, "{} bytes", payload.len());
    }
}
