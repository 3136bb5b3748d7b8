//! The simulated house on MQTT: instruments that publish, and a lamp that obeys.
//!
//! Each has a connection of its own, as in a real house.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Messages that a client holds until the broker takes them.
const QUEUE_MESSAGES_MAX: usize = 16;
/// Far above the length of the demo's pauses, so that no client is taken for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What an instrument measures, and how it says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// Its name at the broker.
    pub(crate) client_id: &'static str,
    /// Where it publishes.
    pub(crate) topic: &'static str,
    /// Pause between two messages.
    pub(crate) every: Duration,
    /// Values in one message.
    pub(crate) readings: u64,
    /// The message with a given number.
    pub(crate) payload: fn(u64) -> String,
}

/// What an instrument did so far.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    handed_over: u64,
    acknowledged: u64,
}

/// A sensor that publishes with acknowledgement (`QoS` 1). Dropping it disconnects it.
pub(crate) struct Instrument {
    spec: Spec,
    published: Arc<watch::Sender<Published>>,
    talking: watch::Sender<bool>,
    tasks: JoinSet<Result<()>>,
}

impl Instrument {
    /// Connects to the broker at `broker`; it is silent until told to talk.
    pub(crate) fn connect(broker: SocketAddr, spec: Spec) -> Self {
        let (client, events) = client(broker, spec.client_id);
        let published = Arc::new(watch::Sender::new(Published::default()));
        let talking = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(publish(spec, client, Arc::clone(&published), talking.subscribe()));
        tasks.spawn(count_acknowledged(events, Arc::clone(&published)));
        Self { spec, published, talking, tasks }
    }

    /// Lets it publish, or silences it.
    pub(crate) fn talk(&self, on: bool) {
        self.talking.send_replace(on);
    }

    /// Values in the messages that the broker has acknowledged.
    pub(crate) fn readings(&self) -> u64 {
        self.published.borrow().acknowledged * self.spec.readings
    }

    /// Whether the broker has acknowledged every message.
    pub(crate) fn is_settled(&self) -> bool {
        let published = *self.published.borrow();
        published.acknowledged == published.handed_over
    }

    /// Fails when the instrument broke down.
    pub(crate) fn check(&mut self) -> Result<()> {
        check(&mut self.tasks, self.spec.client_id)
    }
}

/// A lamp that takes its orders from one topic and records them. Dropping it disconnects it.
pub(crate) struct Lamp {
    heard: watch::Receiver<Vec<String>>,
    subscribed: watch::Receiver<bool>,
    tasks: JoinSet<Result<()>>,
}

impl Lamp {
    /// Connects to the broker at `broker` and subscribes to `topic`.
    pub(crate) fn connect(broker: SocketAddr, topic: &'static str) -> Self {
        let (client, events) = client(broker, "lamp");
        let (heard_sender, heard) = watch::channel(Vec::new());
        let (subscribed_sender, subscribed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(obey(client, events, topic, heard_sender, subscribed_sender));
        Self { heard, subscribed, tasks }
    }

    /// Whether the broker has confirmed the subscription.
    pub(crate) fn is_subscribed(&self) -> bool {
        *self.subscribed.borrow()
    }

    /// The payloads received, in order.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.borrow().clone()
    }

    /// Fails when the lamp broke down.
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
    spec: Spec,
    client: AsyncClient,
    published: Arc<watch::Sender<Published>>,
    talking: watch::Receiver<bool>,
) -> Result<()> {
    let mut ticks = interval(spec.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if *talking.borrow() {
            let payload = (spec.payload)(published.borrow().handed_over);
            published.send_modify(|published| published.handed_over += 1);
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

async fn obey(
    client: AsyncClient,
    mut events: EventLoop,
    topic: &'static str,
    heard: watch::Sender<Vec<String>>,
    subscribed: watch::Sender<bool>,
) -> Result<()> {
    client.subscribe(topic, QoS::AtLeastOnce).await?;
    loop {
        let event = events.poll().await?;
        if let Event::Incoming(Packet::SubAck(_)) = event {
            subscribed.send_replace(true);
        } else if let Event::Incoming(Packet::Publish(message)) = event {
            let payload = String::from_utf8_lossy(&message.payload).into_owned();
            heard.send_modify(|heard| heard.push(payload));
        }
    }
}

/// None of these tasks ends by itself: one that did has failed.
fn check(tasks: &mut JoinSet<Result<()>>, name: &str) -> Result<()> {
    match tasks.try_join_next() {
        None => Ok(()),
        Some(outcome) => match outcome? {
            Err(error) => Err(error).context(format!("{name} lost its MQTT broker")),
            Ok(()) => bail!("{name} stopped by itself"),
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
        const SPEC: Spec = Spec {
            client_id: "test-sensor",
            topic: "test/lamp",
            every: Duration::from_millis(1),
            readings: 3,
            payload: |number| format!("message {number}"),
        };
        let broker = crate::broker::start().await.unwrap();
        let mut lamp = Lamp::connect(broker, SPEC.topic);
        timeout(PATIENCE, lamp.subscribed.wait_for(|yes| *yes)).await.unwrap().unwrap();
        let mut instrument = Instrument::connect(broker, SPEC);
        instrument.talk(true);
        let mut published = instrument.published.subscribe();
        let enough = published.wait_for(|published| published.acknowledged >= 20);
        timeout(PATIENCE, enough).await.unwrap().unwrap();
        instrument.talk(false);
        let settled = published.wait_for(|now| now.acknowledged == now.handed_over);
        let messages = timeout(PATIENCE, settled).await.unwrap().unwrap().acknowledged;
        let whole = usize::try_from(messages).unwrap();
        let heard = lamp.heard.wait_for(|heard| heard.len() >= whole);
        timeout(PATIENCE, heard).await.unwrap().unwrap();
        assert_eq!(lamp.heard()[19], "message 19");
        assert!(instrument.readings() >= messages * 3);
        instrument.check().unwrap();
        lamp.check().unwrap();
    }
}
