//! The simulated MQTT devices: sensors that publish, and a lamp that receives commands.
//!
//! Each device has a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Messages that a client queues until it sends them to the broker.
const QUEUE_MESSAGES_MAX: usize = 16;
/// Keepalive interval. It is longer than any pause of the demo, so that no client times out.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The properties of a sensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SensorSpec {
    /// The MQTT client id.
    pub(crate) client_id: &'static str,
    /// The topic of its messages.
    pub(crate) topic: &'static str,
    /// The interval between two messages.
    pub(crate) interval: Duration,
    /// The readings in one message.
    pub(crate) readings: u64,
    /// Returns the payload of the message with this number.
    pub(crate) payload: fn(u64) -> String,
}

/// The messages of a sensor.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    sent: u64,
    acknowledged: u64,
}

/// A sensor that publishes with `QoS` 1. Dropping it closes its connection.
pub(crate) struct MqttSensor {
    spec: SensorSpec,
    published: Arc<watch::Sender<Published>>,
    sending: watch::Sender<bool>,
    tasks: JoinSet<Result<()>>,
}

impl MqttSensor {
    /// Connects to the broker; the sensor publishes nothing until [`MqttSensor::set_sending`].
    pub(crate) fn connect(broker: SocketAddr, spec: SensorSpec) -> Self {
        let (client, events) = client(broker, spec.client_id);
        let published = Arc::new(watch::Sender::new(Published::default()));
        let sending = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(publish(spec, client, Arc::clone(&published), sending.subscribe()));
        tasks.spawn(count_acknowledged(events, Arc::clone(&published)));
        Self { spec, published, sending, tasks }
    }

    /// Starts or stops the publishing.
    pub(crate) fn set_sending(&self, on: bool) {
        self.sending.send_replace(on);
    }

    /// Returns the readings in the messages that the broker has acknowledged.
    pub(crate) fn readings(&self) -> u64 {
        self.published.borrow().acknowledged * self.spec.readings
    }

    /// Returns whether the broker has acknowledged all messages.
    pub(crate) fn all_acknowledged(&self) -> bool {
        let published = *self.published.borrow();
        published.acknowledged == published.sent
    }

    /// Fails when the sensor has stopped working.
    pub(crate) fn check(&mut self) -> Result<()> {
        check(&mut self.tasks, self.spec.client_id)
    }
}

/// A lamp that receives commands on a topic and records them. Dropping it closes its connection.
pub(crate) struct Lamp {
    received: watch::Receiver<Vec<String>>,
    subscribed: watch::Receiver<bool>,
    tasks: JoinSet<Result<()>>,
}

impl Lamp {
    /// Connects to the broker and subscribes to `topic`.
    pub(crate) fn connect(broker: SocketAddr, topic: &'static str) -> Self {
        let (client, events) = client(broker, "lamp");
        let (received_sender, received) = watch::channel(Vec::new());
        let (subscribed_sender, subscribed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(receive_commands(client, events, topic, received_sender, subscribed_sender));
        Self { received, subscribed, tasks }
    }

    /// Returns whether the broker has confirmed the subscription.
    pub(crate) fn is_subscribed(&self) -> bool {
        *self.subscribed.borrow()
    }

    /// Returns the received payloads in order.
    pub(crate) fn received(&self) -> Vec<String> {
        self.received.borrow().clone()
    }

    /// Fails when the lamp has stopped working.
    pub(crate) fn check(&mut self) -> Result<()> {
        check(&mut self.tasks, "lamp")
    }
}

fn client(broker: SocketAddr, client_id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
    options.set_keep_alive(KEEP_ALIVE);
    AsyncClient::new(options, QUEUE_MESSAGES_MAX)
}

async fn publish(
    spec: SensorSpec,
    client: AsyncClient,
    published: Arc<watch::Sender<Published>>,
    sending: watch::Receiver<bool>,
) -> Result<()> {
    let mut ticks = interval(spec.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if *sending.borrow() {
            let payload = (spec.payload)(published.borrow().sent);
            published.send_modify(|published| published.sent += 1);
            client.publish(spec.topic, QoS::AtLeastOnce, false, payload).await?;
        }
    }
}

async fn count_acknowledged(
    mut events: EventLoop,
    published: Arc<watch::Sender<Published>>,
) -> Result<()> {
    loop {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
            published.send_modify(|published| published.acknowledged += 1);
        }
    }
}

async fn receive_commands(
    client: AsyncClient,
    mut events: EventLoop,
    topic: &'static str,
    received: watch::Sender<Vec<String>>,
    subscribed: watch::Sender<bool>,
) -> Result<()> {
    client.subscribe(topic, QoS::AtLeastOnce).await?;
    loop {
        let event = events.poll().await?;
        if let Event::Incoming(Packet::SubAck(_)) = event {
            subscribed.send_replace(true);
        } else if let Event::Incoming(Packet::Publish(message)) = event {
            let payload = String::from_utf8_lossy(&message.payload).into_owned();
            received.send_modify(|received| received.push(payload));
        }
    }
}

/// Fails when a task has ended; all tasks run until they are aborted.
fn check(tasks: &mut JoinSet<Result<()>>, name: &str) -> Result<()> {
    match tasks.try_join_next() {
        None => Ok(()),
        Some(outcome) => match outcome? {
            Err(error) => {
                Err(error).context(format!("{name} lost its connection to the MQTT broker"))
            }
            Ok(()) => bail!("{name} stopped unexpectedly"),
        },
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn acknowledged_messages_reach_the_subscriber() {
        const PATIENCE: Duration = Duration::from_secs(10);
        const SPEC: SensorSpec = SensorSpec {
            client_id: "test-sensor",
            topic: "test/lamp",
            interval: Duration::from_millis(1),
            readings: 3,
            payload: |number| format!("message {number}"),
        };
        let broker = crate::broker::start().await.unwrap();
        let mut lamp = Lamp::connect(broker, SPEC.topic);
        timeout(PATIENCE, lamp.subscribed.wait_for(|yes| *yes)).await.unwrap().unwrap();
        let mut sensor = MqttSensor::connect(broker, SPEC);
        sensor.set_sending(true);
        let mut published = sensor.published.subscribe();
        let enough = published.wait_for(|published| published.acknowledged >= 20);
        timeout(PATIENCE, enough).await.unwrap().unwrap();
        sensor.set_sending(false);
        let all_acknowledged = published.wait_for(|now| now.acknowledged == now.sent);
        let messages = timeout(PATIENCE, all_acknowledged).await.unwrap().unwrap().acknowledged;
        let count = usize::try_from(messages).unwrap();
        let received = lamp.received.wait_for(|received| received.len() >= count);
        timeout(PATIENCE, received).await.unwrap().unwrap();
        assert_eq!(lamp.received()[19], "message 19");
        assert!(sensor.readings() >= messages * 3);
        sensor.check().unwrap();
        lamp.check().unwrap();
    }
}
