//! One connection to a broker, from CONNECT until it is lost or given up.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::link::{self, Client, Connection, Event, Message};
use super::options::{OFFLINE, ONLINE, Options};
use super::reply::Replies;
use super::{Due, Subscription};
use crate::attempts::Attempts;
use crate::{Ack, BusContext, BusEvent, WriteError, WriteRequest, sleep_until};
use tidegate_config::MqttBus;
use tidegate_ingest::retained::RetainedFilter;
use tidegate_model::topic::TopicFilter;
use tidegate_model::{MessageFingerprint, Name, Reading, Reason, Write};
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::liveness;

/// How long a stop waits for the last acknowledgements to leave.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection may take until the broker takes us or not: the client gives up after 5 s, with TLS, too.
const CONNECT_MAX: Duration = liveness::LATE_MAX;

/// What a session shares with its task for as long as it runs.
pub(super) struct Wiring<'a> {
    pub(super) outlet: &'a BusContext,
    pub(super) clock: &'a SharedClock,
    pub(super) ack_sender: &'a mpsc::Sender<Due>,
    pub(super) acks: &'a mut mpsc::Receiver<Due>,
    pub(super) writes: &'a mut mpsc::Receiver<WriteRequest>,
    pub(super) stop: &'a CancellationToken,
    /// What was taken of topics that a sensor wants retained messages of.
    pub(super) retained: &'a mut RetainedFilter,
    pub(super) attempts: &'a mut Attempts,
}

/// What the connection waits for.
enum News {
    Event(Result<Event, String>),
    Due(Due),
    Write(WriteRequest),
    Overdue,
    Stop,
}

/// One connection.
pub(super) struct Session<'a> {
    bus: &'a Name,
    settings: &'a MqttBus,
    subscriptions: &'a [Subscription],
    connection: u64,
    client: Client,
    is_connected: bool,
    /// Publishes that the connection has not taken yet, in order; `None` where nobody waits for that.
    queued: VecDeque<Option<WriteRequest>>,
    /// Publishes that the broker has not acknowledged yet, by packet id.
    unacknowledged: BTreeMap<u16, WriteRequest>,
    /// Publishes that a device answers.
    replies: Replies,
    /// Acknowledgements that found the request queue full.
    delayed: VecDeque<Due>,
    heard: Heard,
}

/// Which acknowledgements the broker has heard: it answers a ping after all that was sent before it.
#[derive(Debug, Default)]
struct Heard {
    /// The packet id that was acknowledged last.
    sent: Option<u16>,
    /// What that was when the ping was sent.
    pinged: Option<u16>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        bus: &'a Name,
        settings: &'a MqttBus,
        subscriptions: &'a [Subscription],
        options: Options,
        connection: u64,
    ) -> (Self, Connection) {
        let (client, link) = link::open(options);
        let session = Self {
            bus,
            settings,
            subscriptions,
            connection,
            client,
            is_connected: false,
            queued: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            replies: Replies::default(),
            delayed: VecDeque::new(),
            heard: Heard::default(),
        };
        (session, link)
    }

    /// Whether the broker ever accepted this connection.
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Runs until the connection is lost (the trouble in words) or the daemon stops (`None`).
    pub(super) async fn run(
        &mut self,
        link: &mut Connection,
        wiring: &mut Wiring<'_>,
    ) -> Option<String> {
        let mut connecting = Some(liveness::deadline(CONNECT_MAX, "a connection to the broker"));
        loop {
            let event = {
                // The poll is never dropped half-way, except at a stop: dropping it could tear a packet.
                let mut poll = pin!(link.poll());
                loop {
                    let news = tokio::select! {
                        event = &mut poll => News::Event(event),
                        Some(due) = wiring.acks.recv() => News::Due(due),
                        Some(request) = wiring.writes.recv() => News::Write(request),
                        () = sleep_until(self.replies.due()) => News::Overdue,
                        () = wiring.stop.cancelled() => News::Stop,
                    };
                    match news {
                        News::Event(event) => break event,
                        News::Due(due) => self.acknowledge(due),
                        News::Write(request) => self.publish(request),
                        News::Overdue => self.replies.expire(),
                        News::Stop => return None,
                    }
                }
            };
            match event {
                Ok(event) => {
                    // What follows may wait for the collector, which has a promise of its own.
                    drop(connecting.take());
                    self.handle(event, wiring).await;
                }
                Err(trouble) => {
                    self.fail_writes(&trouble);
                    return Some(trouble);
                }
            }
            self.retry_delayed();
        }
    }

    /// Sends the last acknowledgements, until nobody can ask for more, and leaves the broker in good order.
    ///
    /// The broker ends the connection: were it closed here while messages still come in, TCP would reset it, and a broker
    /// that cannot write any more does not read the acknowledgements either.
    pub(super) async fn finish(mut self, mut link: Connection, acks: &mut mpsc::Receiver<Due>) {
        self.fail_writes("the daemon stops");
        if !self.is_connected {
            return;
        }
        let left = tokio::time::timeout(FINISH_TIMEOUT, async {
            let mut is_leaving = false;
            loop {
                let event = {
                    let mut poll = pin!(link.poll());
                    loop {
                        tokio::select! {
                            event = &mut poll => break event,
                            due = acks.recv(), if !is_leaving => if let Some(due) = due {
                                self.acknowledge(due);
                            } else {
                                // After a disconnection in good order the broker throws our last will away.
                                self.tell_status(OFFLINE);
                                is_leaving = self.client.disconnect();
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
        if left.await.is_err() {
            warn!(bus = %self.bus, "the broker did not take the last acknowledgements in time");
        }
    }

    async fn handle(&mut self, event: Event, wiring: &mut Wiring<'_>) {
        match event {
            Event::Connected { resumed } => {
                let MqttBus { host, port, .. } = self.settings;
                info!(bus = %self.bus, host, port, resumed, "broker connected");
                self.is_connected = true;
                wiring.outlet.connected();
                wiring.attempts.opened();
                wiring.outlet.deliver(BusEvent::Session { bus: self.bus.clone(), resumed }).await;
                self.subscribe();
                if self.tell_status(ONLINE) {
                    self.queued.push_back(None);
                }
            }
            Event::Subscribed(refusals) => self.check_subscriptions(&refusals, wiring.outlet),
            Event::Message(message) => self.receive(message, wiring).await,
            Event::Answered { packet_id, answer } => {
                if let Some(request) = self.unacknowledged.remove(&packet_id) {
                    request.finish(answer.map(|()| String::new()).map_err(WriteError::Broken));
                }
            }
            Event::Sent(packet_id) => self.sent(packet_id),
            Event::Acknowledged(packet_id) => self.heard.sent = Some(packet_id),
            Event::Pinged => self.heard.pinged = self.heard.sent,
            Event::PingAnswered => {
                if let Some(packet_id) = self.heard.pinged.take() {
                    let bus = self.bus.clone();
                    debug!(%bus, packet_id, "acknowledgements were heard");
                    wiring.outlet.deliver(BusEvent::Acknowledged { bus, packet_id }).await;
                }
            }
            Event::Other => {}
        }
    }

    /// Subscribes at each connection: a broker may have lost the session although it says otherwise.
    fn subscribe(&self) {
        let filters = self.subscriptions.iter();
        let shared = |filter: &TopicFilter| match &self.settings.share {
            Some(group) => format!("$share/{group}/{filter}"),
            None => filter.to_string(),
        };
        let replies = self.reply_topics().map(str::to_owned);
        let filters: Vec<_> = filters.map(|one| shared(&one.filter)).chain(replies).collect();
        if !filters.is_empty() && !self.client.subscribe(filters, self.settings.qos) {
            error!(bus = %self.bus, "cannot subscribe");
        }
    }

    /// The topics of answers that no sensor subscribes to. An answer is for the gateway that asked, so they are not shared.
    fn reply_topics(&self) -> impl Iterator<Item = &str> {
        let MqttBus { replies, share, .. } = self.settings;
        let is_own = |topic: &&str| share.is_some() || !self.is_for_a_sensor(topic);
        replies.iter().map(String::as_str).filter(is_own)
    }

    fn is_for_a_sensor(&self, topic: &str) -> bool {
        self.subscriptions.iter().any(|one| one.filter.matches(topic))
    }

    /// Says at the status topic whether we are there. `false` if there is none, or nothing could be said.
    fn tell_status(&self, status: &str) -> bool {
        let topic = self.settings.status_topic.as_ref();
        topic.is_some_and(|topic| self.client.publish(topic, 1, true, status.into()))
    }

    fn check_subscriptions(&self, refusals: &[Option<String>], outlet: &BusContext) {
        debug!(bus = %self.bus, filters = refusals.len(), "subscribed");
        let filters = self.subscriptions.iter().map(|one| one.filter.as_str());
        for (refusal, filter) in refusals.iter().zip(filters.chain(self.reply_topics())) {
            let trouble = refusal.as_ref().map(|reason| {
                format!("the broker refuses this subscription: {reason}; may this user read it?")
            });
            outlet.trouble(filter, trouble.as_deref());
            if let Some(reason) = refusal {
                error!(bus = %self.bus, filter, reason, "the broker refuses this subscription; may this user read it?");
            }
        }
    }

    async fn receive(&mut self, message: Message, wiring: &mut Wiring<'_>) {
        let connection = self.connection;
        if let Some(packet_id) = message.packet_id {
            self.heard.given_again(packet_id);
        }
        let due = message.packet_id.map(|packet_id| Due { connection, packet_id });
        let ack = due.map(|due| Ack::broker(wiring.ack_sender.clone(), due));
        if !message.is_retained {
            self.replies.hear(&message.topic, &message.payload);
        }
        if self.is_only_a_reply(&message.topic) {
            if let Some(ack) = ack {
                wiring.outlet.deliver(BusEvent::Empty(ack)).await;
            }
            return;
        }
        if let Some(reason) = self.unfit(&message) {
            debug!(bus = %self.bus, topic = message.topic, %reason, "a message was rejected");
            wiring.outlet.reject(reason);
            if let Some(ack) = ack {
                wiring.outlet.deliver(BusEvent::Empty(ack)).await;
            }
            return;
        }
        let digest = digest(&message);
        if self.wants_retained(&message)
            && wiring.retained.handle_message(&message.topic, digest, message.is_retained)
        {
            wiring.outlet.duplicate();
            if let Some(ack) = ack {
                wiring.outlet.deliver(BusEvent::Empty(ack)).await;
            }
            return;
        }
        let Message { topic, payload, packet_id, is_retained } = message;
        let origin = packet_id.map(|packet_id| MessageFingerprint { packet_id, digest });
        let reading =
            Reading { bus: self.bus.clone(), time: wiring.clock.now(), topic, payload, origin };
        if packet_id.is_some() || is_retained {
            // The broker keeps the rest while we wait for the collector. What it retains comes all at once, and not again.
            wiring.outlet.deliver(BusEvent::Reading(reading, ack)).await;
        } else {
            wiring.outlet.offer(reading, None);
        }
    }

    fn is_only_a_reply(&self, topic: &str) -> bool {
        self.settings.replies.iter().any(|reply| reply == topic) && !self.is_for_a_sensor(topic)
    }

    fn unfit(&self, message: &Message) -> Option<Reason> {
        if message.payload.len() > self.settings.payload_bytes_max {
            let (bytes, bytes_max) = (message.payload.len(), self.settings.payload_bytes_max);
            warn!(bus = %self.bus, topic = message.topic, bytes, bytes_max, "a payload that is too large was rejected");
            return Some(Reason::TooLong);
        }
        (message.is_retained && !self.wants_retained(message)).then_some(Reason::Retained)
    }

    fn wants_retained(&self, message: &Message) -> bool {
        let wants = |one: &Subscription| one.retained && one.filter.matches(&message.topic);
        self.subscriptions.iter().any(wants)
    }

    fn acknowledge(&mut self, due: Due) {
        // Acknowledgements are in the order of the messages (MQTT 3.1.1, 4.6), so one that is delayed delays the others.
        if !self.delayed.is_empty() || !self.try_acknowledge(due) {
            self.delayed.push_back(due);
        }
    }

    fn retry_delayed(&mut self) {
        while let Some(due) = self.delayed.front() {
            if !self.try_acknowledge(*due) {
                break;
            }
            self.delayed.pop_front();
        }
    }

    /// `false` where the request queue is full.
    fn try_acknowledge(&self, due: Due) -> bool {
        // One from an earlier connection is void: the broker delivers that message again, and it will be known then.
        if due.connection != self.connection {
            return true;
        }
        self.client.acknowledge(due.packet_id)
    }

    fn publish(&mut self, request: WriteRequest) {
        let Write::Mqtt { topic, payload, qos, retain, .. } = &request.write else {
            return request.finish(Err(WriteError::WrongKind));
        };
        if !self.is_connected {
            return request.finish(Err(WriteError::NotConnected));
        }
        if self.client.publish(topic, *qos, *retain, payload.to_vec()) {
            let unanswered = self.replies.expect(request);
            self.queued.push_back(unanswered);
        } else {
            request.finish(Err(WriteError::Busy));
        }
    }

    /// The connection took the oldest queued publish.
    fn sent(&mut self, packet_id: u16) {
        let Some(Some(request)) = self.queued.pop_front() else { return };
        if packet_id == 0 {
            request.finish(Ok(String::new()));
        } else {
            self.unacknowledged.insert(packet_id, request);
        }
    }

    fn fail_writes(&mut self, why: &str) {
        self.replies.fail(why);
        let unacknowledged = std::mem::take(&mut self.unacknowledged).into_values();
        for request in unacknowledged.chain(self.queued.drain(..).flatten()) {
            request.finish(Err(WriteError::Broken(why.to_owned())));
        }
    }
}

impl Heard {
    /// The broker gives a packet id to another message, of which it has heard nothing yet.
    fn given_again(&mut self, packet_id: u16) {
        self.sent.take_if(|sent| *sent == packet_id);
        self.pinged.take_if(|pinged| *pinged == packet_id);
    }
}

fn digest(message: &Message) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(message.topic.as_bytes());
    hasher.update(&[0]);
    hasher.update(&message.payload);
    hasher.finalize()
}
