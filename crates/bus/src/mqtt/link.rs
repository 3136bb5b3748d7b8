//! The one place that knows that MQTT 3.1.1 and MQTT 5 have clients with types of their own; the session knows neither.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::v5::mqttbytes::v5 as packet5;
use rumqttc::{Outgoing, Packet, QoS, SubscribeFilter, SubscribeReasonCode, v5};

use super::options::Options;

/// Requests that may wait for the connection: acknowledgements, publishes and one subscription.
const REQUESTS_MAX: usize = 256;

/// A message that came in.
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) is_retained: bool,
    /// What the broker wants to hear that we have it; a QoS 0 message has none.
    pub(super) packet_id: Option<u16>,
}

/// What happens on a connection.
pub(super) enum Event {
    /// The broker takes us.
    Connected {
        resumed: bool,
    },
    /// For each filter, in their order: why the broker refuses it, if it does.
    Subscribed(Vec<Option<String>>),
    Message(Message),
    /// What the broker says to a publish of ours.
    Answered {
        packet_id: u16,
        answer: Result<(), String>,
    },
    /// A publish left; QoS 0 has packet id 0.
    Sent(u16),
    /// An acknowledgement left.
    Acknowledged(u16),
    /// A ping left.
    Pinged,
    /// The broker answered it, and so has read all that left before.
    PingAnswered,
    /// Nothing that a session must know.
    Other,
}

/// The queue of requests to the broker.
pub(super) enum Client {
    V3(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// The connection itself, which moves only while it is polled.
pub(super) enum Connection {
    V3(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// A client for one connection.
pub(super) fn open(options: Options) -> (Client, Connection) {
    match options {
        Options::V3(options) => {
            let (client, connection) = rumqttc::AsyncClient::new(*options, REQUESTS_MAX);
            (Client::V3(client), Connection::V3(Box::new(connection)))
        }
        Options::V5(options) => {
            let (client, connection) = v5::AsyncClient::new(*options, REQUESTS_MAX);
            (Client::V5(client), Connection::V5(Box::new(connection)))
        }
    }
}

impl Client {
    /// Subscribes; `false` if the queue is full or a filter is none.
    pub(super) fn subscribe(&self, filters: Vec<String>, qos: u8) -> bool {
        match self {
            Self::V3(client) => {
                let filters =
                    filters.into_iter().map(|one| SubscribeFilter::new(one, quality(qos)));
                client.try_subscribe_many(filters).is_ok()
            }
            Self::V5(client) => {
                let filters =
                    filters.into_iter().map(|one| packet5::Filter::new(one, quality5(qos)));
                client.try_subscribe_many(filters).is_ok()
            }
        }
    }

    /// Publishes; `false` if the queue is full.
    pub(super) fn publish(&self, topic: &str, qos: u8, retain: bool, payload: Vec<u8>) -> bool {
        match self {
            Self::V3(client) => client.try_publish(topic, quality(qos), retain, payload).is_ok(),
            Self::V5(client) => client.try_publish(topic, quality5(qos), retain, payload).is_ok(),
        }
    }

    /// Acknowledges a message; `false` if the queue is full.
    pub(super) fn acknowledge(&self, packet_id: u16) -> bool {
        match self {
            Self::V3(client) => {
                let mut publish = rumqttc::Publish::new("", QoS::AtLeastOnce, Vec::new());
                publish.pkid = packet_id;
                client.try_ack(&publish).is_ok()
            }
            Self::V5(client) => {
                let mut publish = packet5::Publish::new("", QoS5::AtLeastOnce, Vec::new(), None);
                publish.pkid = packet_id;
                client.try_ack(&publish).is_ok()
            }
        }
    }

    /// Leaves in good order; `false` if the queue is full.
    pub(super) fn disconnect(&self) -> bool {
        match self {
            Self::V3(client) => client.try_disconnect().is_ok(),
            Self::V5(client) => client.try_disconnect().is_ok(),
        }
    }
}

impl Connection {
    /// Waits for the next event. Dropping it half-way could tear a packet.
    ///
    /// # Errors
    /// When the connection is lost or was refused: why, in words that say what to do.
    pub(super) async fn poll(&mut self) -> Result<Event, String> {
        match self {
            Self::V3(connection) => {
                connection.poll().await.map(event).map_err(|error| advice(&error))
            }
            Self::V5(connection) => {
                connection.poll().await.map(event5).map_err(|error| advice5(&error))
            }
        }
    }
}

fn event(event: rumqttc::Event) -> Event {
    match event {
        rumqttc::Event::Incoming(Packet::ConnAck(answer)) => {
            Event::Connected { resumed: answer.session_present }
        }
        rumqttc::Event::Incoming(Packet::SubAck(answer)) => {
            let refusal = |code: &SubscribeReasonCode| {
                (*code == SubscribeReasonCode::Failure).then(|| "refused".to_owned())
            };
            Event::Subscribed(answer.return_codes.iter().map(refusal).collect())
        }
        rumqttc::Event::Incoming(Packet::Publish(publish)) => Event::Message(Message {
            topic: publish.topic,
            payload: publish.payload,
            is_retained: publish.retain,
            packet_id: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
        }),
        rumqttc::Event::Incoming(Packet::PubAck(answer)) => {
            Event::Answered { packet_id: answer.pkid, answer: Ok(()) }
        }
        rumqttc::Event::Incoming(Packet::PingResp) => Event::PingAnswered,
        rumqttc::Event::Incoming(_) => Event::Other,
        rumqttc::Event::Outgoing(outgoing) => left(&outgoing),
    }
}

fn event5(event: v5::Event) -> Event {
    match event {
        v5::Event::Incoming(packet5::Packet::ConnAck(answer)) => {
            Event::Connected { resumed: answer.session_present }
        }
        v5::Event::Incoming(packet5::Packet::SubAck(answer)) => {
            let refusal = |code: &packet5::SubscribeReasonCode| {
                let is_granted = matches!(code, packet5::SubscribeReasonCode::Success(_));
                (!is_granted).then(|| format!("{code:?}"))
            };
            Event::Subscribed(answer.return_codes.iter().map(refusal).collect())
        }
        v5::Event::Incoming(packet5::Packet::Publish(publish)) => Event::Message(Message {
            // A broker must refuse a topic that is no UTF-8 (MQTT 5, 1.5.4); no sensor reads what comes of one.
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            is_retained: publish.retain,
            packet_id: (publish.qos != QoS5::AtMostOnce).then_some(publish.pkid),
        }),
        v5::Event::Incoming(packet5::Packet::PubAck(answer)) => {
            use packet5::PubAckReason::{NoMatchingSubscribers, Success};
            let packet5::PubAck { pkid, reason, .. } = answer;
            let is_taken = matches!(reason, Success | NoMatchingSubscribers);
            let refused = || format!("the broker refuses the publish: {reason:?}");
            let answer = if is_taken { Ok(()) } else { Err(refused()) };
            Event::Answered { packet_id: pkid, answer }
        }
        v5::Event::Incoming(packet5::Packet::PingResp(_)) => Event::PingAnswered,
        v5::Event::Incoming(_) => Event::Other,
        v5::Event::Outgoing(outgoing) => left(&outgoing),
    }
}

/// What left.
fn left(outgoing: &Outgoing) -> Event {
    match outgoing {
        Outgoing::Publish(packet_id) => Event::Sent(*packet_id),
        Outgoing::PubAck(packet_id) => Event::Acknowledged(*packet_id),
        Outgoing::PingReq => Event::Pinged,
        Outgoing::Subscribe(_)
        | Outgoing::Unsubscribe(_)
        | Outgoing::PubRec(_)
        | Outgoing::PubRel(_)
        | Outgoing::PubComp(_)
        | Outgoing::PingResp
        | Outgoing::Disconnect
        | Outgoing::AwaitAck(_) => Event::Other,
    }
}

fn quality(qos: u8) -> QoS {
    if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

fn quality5(qos: u8) -> QoS5 {
    if qos == 0 { QoS5::AtMostOnce } else { QoS5::AtLeastOnce }
}

fn advice(error: &rumqttc::ConnectionError) -> String {
    use rumqttc::ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
    use rumqttc::ConnectionError::{ConnectionRefused, Io};
    if let ConnectionRefused(BadUserNamePassword | NotAuthorized) = error {
        return CREDENTIALS.to_owned();
    }
    if matches!(error, Io(error) if is_refused(error)) {
        return NOBODY.to_owned();
    }
    error.to_string()
}

fn advice5(error: &v5::ConnectionError) -> String {
    use packet5::ConnectReturnCode::{
        BadUserNamePassword, NotAuthorized, RefusedProtocolVersion, UnsupportedProtocolVersion,
    };
    use v5::ConnectionError::{ConnectionRefused, Io};
    if let ConnectionRefused(BadUserNamePassword | NotAuthorized) = error {
        return CREDENTIALS.to_owned();
    }
    if let ConnectionRefused(RefusedProtocolVersion | UnsupportedProtocolVersion) = error {
        return OLD.to_owned();
    }
    if matches!(error, Io(error) if is_refused(error)) {
        return NOBODY.to_owned();
    }
    error.to_string()
}

fn is_refused(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionRefused
}

const CREDENTIALS: &str = "the broker refuses user and password; check the bus's credentials_file";
const NOBODY: &str = "connection refused; is the broker running on this host and port?";
const OLD: &str = "the broker does not speak MQTT 5; take the bus's version away";
