//! One connection to a broker, from CONNECT until it is lost or closed.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::client::{
    self, BrokerEvent, Client, Connection, ConnectionError, Message, PublishRefused,
};
use super::options::{OFFLINE, ONLINE, Options};
use super::reply::PendingReplies;
use super::{PacketAck, Subscription};
use crate::reconnect::Reconnect;
use crate::{Ack, BusContext, BusEvent, WriteError, WriteQueue, WriteRequest};
use tidegate_config::MqttBus;
use tidegate_ingest::retained::RetainedFilter;
use tidegate_model::topic::TopicFilter;
use tidegate_model::{BusMessage, MessageFingerprint, Name, Reason, Write};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::sleep_until;

/// The longest time that a stop waits for the last acknowledgements to be sent.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time until the broker accepts or refuses a connection. The client gives up after 5
/// s, with TLS too.
const CONNECT_MAX: Duration = liveness::LATE_MAX;

/// What all connections of a bus share.
pub(super) struct Shared<'a> {
    pub(super) context: &'a BusContext,
    pub(super) ack_sender: &'a mpsc::Sender<PacketAck>,
    pub(super) acks: &'a mut mpsc::Receiver<PacketAck>,
    pub(super) writes: &'a mut WriteQueue,
    /// The retained messages that were read.
    pub(super) retained: &'a mut RetainedFilter,
    pub(super) reconnect: &'a mut Reconnect,
}

/// The events of a session.
enum Event {
    Broker(Result<BrokerEvent, ConnectionError>),
    Ack(PacketAck),
    Write(WriteRequest),
    ReplyTimeout,
    Stopped,
}

/// One connection to the broker.
pub(super) struct Session<'a> {
    bus: &'a Name,
    settings: &'a MqttBus,
    subscriptions: &'a [Subscription],
    connection: u64,
    client: Client,
    is_connected: bool,
    /// Publishes that the connection has not sent, in order; `None` if no outcome is awaited.
    unsent: VecDeque<Option<WriteRequest>>,
    /// Publishes that the broker has not acknowledged, by packet id.
    unacknowledged: BTreeMap<u16, WriteRequest>,
    /// Publishes that a device answers.
    replies: PendingReplies,
    /// Acknowledgements that found the request queue full.
    delayed: VecDeque<PacketAck>,
    sent_acks: SentAcks,
}

/// Knows which acknowledgements the broker has received: it answers a ping after it has read all
/// packets before the ping.
#[derive(Debug, Default)]
struct SentAcks {
    /// The packet id of the last acknowledgement.
    last: Option<u16>,
    /// The packet id of the last acknowledgement before the last ping.
    before_ping: Option<u16>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        bus: &'a Name,
        settings: &'a MqttBus,
        subscriptions: &'a [Subscription],
        options: Options,
        connection: u64,
    ) -> (Self, Connection) {
        let (client, link) = client::open(options);
        let session = Self {
            bus,
            settings,
            subscriptions,
            connection,
            client,
            is_connected: false,
            unsent: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            replies: PendingReplies::default(),
            delayed: VecDeque::new(),
            sent_acks: SentAcks::default(),
        };
        (session, link)
    }

    /// Returns whether the broker has accepted this connection.
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Runs until the bus is stopped (`Ok`) or the connection is lost.
    pub(super) async fn run(
        &mut self,
        link: &mut Connection,
        shared: &mut Shared<'_>,
    ) -> Result<(), ConnectionError> {
        let mut connecting = Some(liveness::deadline(CONNECT_MAX, "a connection to the broker"));
        loop {
            let event = {
                // Only a stop drops the poll: dropping it could cut a packet.
                let mut poll = pin!(link.poll());
                loop {
                    let event = tokio::select! {
                        event = &mut poll => Event::Broker(event),
                        Some(ack) = shared.acks.recv() => Event::Ack(ack),
                        Some(request) = shared.writes.recv() => Event::Write(request),
                        () = sleep_until(self.replies.next_deadline()) => Event::ReplyTimeout,
                        () = shared.context.stopped() => Event::Stopped,
                    };
                    match event {
                        Event::Broker(event) => break event,
                        Event::Ack(ack) => self.acknowledge(ack),
                        Event::Write(request) => self.publish(request),
                        Event::ReplyTimeout => self.replies.expire(),
                        Event::Stopped => return Ok(()),
                    }
                }
            };
            match event {
                Ok(event) => {
                    // Handling may wait for the collector, which has a deadline of its own.
                    drop(connecting.take());
                    self.handle(event, shared).await;
                }
                Err(error) => {
                    self.fail_writes(&error.to_string());
                    return Err(error);
                }
            }
            self.retry_delayed();
        }
    }

    /// Sends the last acknowledgements and disconnects. Ends when `acks` has ended.
    ///
    /// The broker closes the connection. If the gateway closed it while messages still arrive, TCP
    /// would reset it, and a broker that cannot write may not read the acknowledgements either.
    pub(super) async fn finish(
        mut self,
        mut link: Connection,
        acks: &mut mpsc::Receiver<PacketAck>,
    ) {
        self.fail_writes("the daemon stops");
        if !self.is_connected {
            return;
        }
        let finished = tokio::time::timeout(FINISH_TIMEOUT, async {
            let mut is_disconnecting = false;
            loop {
                let event = {
                    let mut poll = pin!(link.poll());
                    loop {
                        tokio::select! {
                            event = &mut poll => break event,
                            ack = acks.recv(), if !is_disconnecting => if let Some(ack) = ack {
                                self.acknowledge(ack);
                            } else {
                                // The broker discards the last will after a regular disconnection.
                                self.publish_status(OFFLINE);
                                is_disconnecting = self.client.disconnect();
                            },
                        }
                    }
                };
                if event.is_err() {
                    return;
                }
                self.retry_delayed();
            }
        });
        if finished.await.is_err() {
            warn!(bus = %self.bus, "broker did not read the last acknowledgements in time");
        }
    }

    async fn handle(&mut self, event: BrokerEvent, shared: &mut Shared<'_>) {
        match event {
            BrokerEvent::Connected { resumed } => {
                let MqttBus { host, port, .. } = self.settings;
                info!(bus = %self.bus, host, port, resumed, "broker connected");
                self.is_connected = true;
                shared.context.report_connected();
                shared.reconnect.opened();
                shared.context.send(BusEvent::Connected { bus: self.bus.clone(), resumed }).await;
                self.subscribe();
                if self.publish_status(ONLINE) {
                    self.unsent.push_back(None);
                }
            }
            BrokerEvent::Subscribed(refusals) => {
                self.check_subscriptions(&refusals, shared.context);
            }
            BrokerEvent::Message(message) => self.receive(message, shared).await,
            BrokerEvent::PublishAnswered { packet_id, answer } => {
                if let Some(request) = self.unacknowledged.remove(&packet_id) {
                    let failed = |error: PublishRefused| WriteError::Broken(error.to_string());
                    request.finish(answer.map(|()| String::new()).map_err(failed));
                }
            }
            BrokerEvent::PublishSent(packet_id) => self.handle_publish_sent(packet_id),
            BrokerEvent::AckSent(packet_id) => self.sent_acks.last = Some(packet_id),
            BrokerEvent::PingSent => self.sent_acks.before_ping = self.sent_acks.last,
            BrokerEvent::PingAnswered => {
                if let Some(packet_id) = self.sent_acks.before_ping.take() {
                    let bus = self.bus.clone();
                    debug!(%bus, packet_id, "broker received the acknowledgements");
                    shared.context.send(BusEvent::Acknowledged { bus, packet_id }).await;
                }
            }
            BrokerEvent::Other => {}
        }
    }

    /// Subscribes on each connection: a broker may have lost a session that it reports as resumed.
    fn subscribe(&self) {
        let filters = self.subscriptions.iter();
        let shared = |filter: &TopicFilter| match &self.settings.share {
            Some(group) => format!("$share/{group}/{filter}"),
            None => filter.to_string(),
        };
        let replies = self.reply_topics().map(str::to_owned);
        let filters: Vec<_> = filters.map(|one| shared(&one.filter)).chain(replies).collect();
        if !filters.is_empty() && !self.client.subscribe(filters, self.settings.qos) {
            error!(bus = %self.bus, "cannot subscribe: the request queue is full");
        }
    }

    /// Returns the reply topics without a sensor. They are not shared: a reply is for the gateway
    /// that published the request.
    fn reply_topics(&self) -> impl Iterator<Item = &str> {
        let MqttBus { replies, share, .. } = self.settings;
        let is_own = |topic: &&str| share.is_some() || !self.is_for_a_sensor(topic);
        replies.iter().map(String::as_str).filter(is_own)
    }

    fn is_for_a_sensor(&self, topic: &str) -> bool {
        self.subscriptions.iter().any(|one| one.filter.matches(topic))
    }

    /// Publishes the status. Returns `false` if there is no status topic or the queue is full.
    fn publish_status(&self, status: &str) -> bool {
        let topic = self.settings.status_topic.as_ref();
        topic.is_some_and(|topic| self.client.publish(topic, 1, true, status.into()))
    }

    fn check_subscriptions(&self, refusals: &[Option<String>], context: &BusContext) {
        debug!(bus = %self.bus, filters = refusals.len(), "subscribed");
        let filters = self.subscriptions.iter().map(|one| one.filter.as_str());
        for (refusal, filter) in refusals.iter().zip(filters.chain(self.reply_topics())) {
            context.monitor.set_refused_subscription(self.bus, filter, refusal.as_deref());
            if let Some(reason) = refusal {
                error!(
                    bus = %self.bus,
                    filter,
                    reason,
                    "the broker refuses this subscription; may this user read it?"
                );
            }
        }
    }

    async fn receive(&mut self, message: Message, shared: &mut Shared<'_>) {
        let connection = self.connection;
        if let Some(packet_id) = message.packet_id {
            self.sent_acks.forget(packet_id);
        }
        let packet_ack = message.packet_id.map(|packet_id| PacketAck { connection, packet_id });
        let ack = packet_ack.map(|ack| Ack::broker(shared.ack_sender.clone(), ack));
        if !message.is_retained {
            self.replies.handle_message(&message.topic, &message.payload);
        }
        if self.is_only_a_reply(&message.topic) {
            if let Some(ack) = ack {
                shared.context.send(BusEvent::Empty(self.bus.clone(), ack)).await;
            }
            return;
        }
        if let Some(reason) = self.rejection(&message) {
            debug!(bus = %self.bus, topic = message.topic, %reason, "message rejected");
            shared.context.reject(reason);
            if let Some(ack) = ack {
                shared.context.send(BusEvent::Empty(self.bus.clone(), ack)).await;
            }
            return;
        }
        let digest = digest(&message);
        if self.reads_retained(&message)
            && shared.retained.handle_message(&message.topic, digest, message.is_retained)
        {
            shared.context.count_duplicate();
            if let Some(ack) = ack {
                shared.context.send(BusEvent::Empty(self.bus.clone(), ack)).await;
            }
            return;
        }
        let Message { topic, payload, packet_id, is_retained } = message;
        let origin = packet_id.map(|packet_id| MessageFingerprint { packet_id, digest });
        let bus_message = BusMessage { origin, ..shared.context.message(&topic, payload) };
        if packet_id.is_some() || is_retained {
            // The broker keeps further messages while the collector's queue is full. Retained
            // messages arrive all at once and are not redelivered.
            shared.context.send(BusEvent::Message(bus_message, ack)).await;
        } else {
            shared.context.offer_message(bus_message);
        }
    }

    fn is_only_a_reply(&self, topic: &str) -> bool {
        self.settings.replies.iter().any(|reply| reply == topic) && !self.is_for_a_sensor(topic)
    }

    /// Returns why a message is invalid, if it is.
    fn rejection(&self, message: &Message) -> Option<Reason> {
        if message.payload.len() > self.settings.payload_bytes_max {
            let (bytes, bytes_max) = (message.payload.len(), self.settings.payload_bytes_max);
            let topic = &message.topic;
            warn!(bus = %self.bus, topic, bytes, bytes_max, "payload too large; rejected");
            return Some(Reason::TooLong);
        }
        (message.is_retained && !self.reads_retained(message)).then_some(Reason::Retained)
    }

    fn reads_retained(&self, message: &Message) -> bool {
        let reads = |one: &Subscription| one.retained && one.filter.matches(&message.topic);
        self.subscriptions.iter().any(reads)
    }

    fn acknowledge(&mut self, ack: PacketAck) {
        // Acknowledgements must be sent in the order of the messages (MQTT 3.1.1, 4.6).
        if !self.delayed.is_empty() || !self.try_acknowledge(ack) {
            self.delayed.push_back(ack);
        }
    }

    fn retry_delayed(&mut self) {
        while let Some(ack) = self.delayed.front() {
            if !self.try_acknowledge(*ack) {
                break;
            }
            self.delayed.pop_front();
        }
    }

    /// Returns `false` if the request queue is full.
    fn try_acknowledge(&self, ack: PacketAck) -> bool {
        // The broker redelivers a message of an earlier connection; deduplication recognises it.
        if ack.connection != self.connection {
            return true;
        }
        self.client.acknowledge(ack.packet_id)
    }

    fn publish(&mut self, request: WriteRequest) {
        let Write::Mqtt { topic, payload, qos, retain, .. } = &request.write else {
            return request.finish(Err(WriteError::WrongKind));
        };
        if !self.is_connected {
            return request.finish(Err(WriteError::NotConnected));
        }
        if self.client.publish(topic, *qos, *retain, payload.to_vec()) {
            let without_reply = self.replies.insert(request);
            self.unsent.push_back(without_reply);
        } else {
            request.finish(Err(WriteError::Busy));
        }
    }

    /// The connection has sent the oldest publish.
    fn handle_publish_sent(&mut self, packet_id: u16) {
        let Some(Some(request)) = self.unsent.pop_front() else { return };
        if packet_id == 0 {
            request.finish(Ok(String::new()));
        } else {
            self.unacknowledged.insert(packet_id, request);
        }
    }

    fn fail_writes(&mut self, why: &str) {
        self.replies.fail(why);
        let unacknowledged = std::mem::take(&mut self.unacknowledged).into_values();
        for request in unacknowledged.chain(self.unsent.drain(..).flatten()) {
            request.finish(Err(WriteError::Broken(why.to_owned())));
        }
    }
}

impl SentAcks {
    /// Forgets a packet id: the broker uses it for another message, which is unacknowledged.
    fn forget(&mut self, packet_id: u16) {
        self.last.take_if(|last| *last == packet_id);
        self.before_ping.take_if(|last| *last == packet_id);
    }
}

fn digest(message: &Message) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(message.topic.as_bytes());
    hasher.update(&[0]);
    hasher.update(&message.payload);
    hasher.finalize()
}
