//! Messages that name devices and attributes: recorded ones, or those of the brokers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Usage;
use crate::app;
use crate::cli::Unavailable;
use crate::cli::sensor::{print_progress, read_file, with_own_client_id};
use tidegate_bus::BusEvent;
use tidegate_config::{Bus, BusKind, Config};
use tidegate_ingest::mapping::RecordedMessage;
use tidegate_runtime::clock::{SharedClock, SystemClock};

/// The most topics that are kept.
const TOPICS_MAX: usize = 2_000;

/// The most messages of one topic that are kept.
const MESSAGES_MAX: usize = 8;

/// How often the connection is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Returns whether recorded messages are for the sensors of this bus.
pub(super) fn has_messages(bus: &Bus) -> bool {
    matches!(bus.kind, BusKind::Mqtt(_))
}

/// Reads recorded messages: one `TOPIC PAYLOAD` a line.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<RecordedMessage>> {
    let bytes = read_file(file)?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(number, line)| (number, line.trim_ascii_end()));
    let message = |(number, line): (usize, &[u8])| {
        let wrong = || {
            Usage::new(format!(
                "{}:{}: expected TOPIC PAYLOAD, as mosquitto_sub -v prints it",
                file.display(),
                number + 1
            ))
        };
        let end = line.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let (topic, payload) = line.split_at_checked(end).ok_or_else(wrong)?;
        let topic = String::from_utf8(topic.to_vec()).map_err(|_| wrong())?;
        Ok(RecordedMessage { topic, payload: payload.trim_ascii_start().to_vec() })
    };
    lines.filter(|(_, line)| !line.is_empty()).map(message).collect()
}

/// Listens to all MQTT buses, one after the other, and returns their messages.
pub(super) async fn listen(
    config: &Config,
    time: Duration,
) -> anyhow::Result<Vec<RecordedMessage>> {
    let mut messages = Vec::new();
    for (name, bus) in &config.buses {
        let BusKind::Mqtt(settings) = &bus.kind else { continue };
        let broker = format!("{}:{}", settings.host, settings.port);
        print_progress(&format!("Listening to {broker} for {} s\n", time.as_secs()));
        let mut sensors = bus.sensors.clone();
        for sensor in &mut sensors {
            sensor.retained = true;
        }
        let bus = with_own_client_id(Bus { kind: bus.kind.clone(), sensors });
        let stop = CancellationToken::new();
        let clock: SharedClock = Arc::new(SystemClock);
        let mut listening = app::start_single_bus(name, &bus, &clock, &stop);
        let end = Instant::now() + time;
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        let mut kept = Kept::default();
        loop {
            tokio::select! {
                event = listening.events.recv() => match event {
                    Some(BusEvent::Message(message, _)) => {
                        kept.add(message.topic, message.payload.to_vec());
                    }
                    Some(_) => {}
                    None => break,
                },
                _ = check.tick() => {
                    let status = listening.status();
                    if status.connected == Some(false) && kept.0.is_empty() {
                        return Err(Unavailable(format!("{broker}: {}", status.error)).into());
                    }
                }
                () = tokio::time::sleep_until(end) => break,
            }
        }
        stop.cancel();
        messages.extend(kept.into_messages());
    }
    Ok(messages)
}

/// The last messages of each topic.
#[derive(Default)]
struct Kept(BTreeMap<String, Vec<Vec<u8>>>);

impl Kept {
    fn add(&mut self, topic: String, payload: Vec<u8>) {
        if self.0.len() >= TOPICS_MAX && !self.0.contains_key(&topic) {
            return;
        }
        let payloads = self.0.entry(topic).or_default();
        if payloads.len() >= MESSAGES_MAX {
            payloads.remove(0);
        }
        payloads.push(payload);
    }

    fn into_messages(self) -> impl Iterator<Item = RecordedMessage> {
        self.0.into_iter().flat_map(|(topic, payloads)| {
            let message = move |payload| RecordedMessage { topic: topic.clone(), payload };
            payloads.into_iter().map(message)
        })
    }
}
