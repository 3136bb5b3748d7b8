//! One interface to the clients for MQTT 3.1.1 and MQTT 5, which have types of their own.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::v5::mqttbytes::v5 as packet5;
use rumqttc::{Outgoing, Packet, QoS, SubscribeFilter, SubscribeReasonCode, v5};

use super::options::Options;
use super::reason;

/// The most requests in the client's queue: acknowledgements, publishes and one subscription.
const REQUESTS_MAX: usize = 256;

/// A received message.
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) is_retained: bool,
    /// The packet id to acknowledge; `None` for QoS 0.
    pub(super) packet_id: Option<u16>,
}

/// An event of a connection.
pub(super) enum BrokerEvent {
    /// The broker has accepted the connection.
    Connected {
        resumed: bool,
    },
    /// The result of each filter of a subscription, in order; `Some` is why the broker refuses it.
    Subscribed(Vec<Option<String>>),
    Message(Message),
    /// The broker has acknowledged or refused a publish.
    PublishAnswered {
        packet_id: u16,
        answer: Result<(), PublishRefused>,
    },
    /// A publish was sent; QoS 0 has packet id 0.
    PublishSent(u16),
    /// An acknowledgement was sent.
    AckSent(u16),
    /// A ping was sent.
    PingSent,
    /// The broker has answered the ping, and so has read all packets before it.
    PingAnswered,
    /// An event that does not matter to a session.
    Other,
}

/// A publish that an MQTT 5 broker refused, with its reason.
#[derive(Debug, thiserror::Error)]
#[error("the broker refuses the publish: {}", reason::publish_refusal(*.0))]
pub(super) struct PublishRefused(packet5::PubAckReason);

/// Why a connection failed. The message says how to fix it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("the broker refuses user and password; check the bus's credentials_file")]
    Credentials,
    #[error("connection refused; is the broker running on this host and port?")]
    Refused,
    #[error("the broker does not support MQTT 5; remove version from the bus")]
    Version,
    #[error("another client took the session over (MQTT 5 reason 0x8E)")]
    TakenOver,
    #[error("{}", reason::describe(.0))]
    V3(Box<rumqttc::ConnectionError>),
    #[error("{}", reason::describe5(.0))]
    V5(Box<v5::ConnectionError>),
}

impl ConnectionError {
    /// Returns whether the broker closed a connection that it had accepted.
    pub(super) fn is_closed_by_broker(&self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let is_closed = |error: &std::io::Error| {
            let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof];
            kinds.contains(&error.kind())
        };
        match self {
            Self::Credentials | Self::Refused | Self::Version => false,
            Self::TakenOver => true,
            Self::V3(error) => {
                use rumqttc::ConnectionError::{Io, MqttState};
                use rumqttc::StateError;
                if let Io(error) | MqttState(StateError::Io(error)) = &**error {
                    return is_closed(error);
                }
                matches!(&**error, MqttState(StateError::ConnectionAborted))
            }
            Self::V5(error) => {
                use v5::ConnectionError::{Io, MqttState};
                use v5::StateError;
                if let Io(error) | MqttState(StateError::Io(error)) = &**error {
                    return is_closed(error);
                }
                matches!(&**error, MqttState(StateError::ConnectionAborted))
            }
        }
    }
}

/// Queues requests to the broker.
pub(super) enum Client {
    V3(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// The connection itself. It makes progress only while it is polled.
pub(super) enum Connection {
    V3(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// Creates the client of one connection.
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
    /// Subscribes. Returns `false` if the queue is full or a filter is invalid.
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

    /// Publishes. Returns `false` if the queue is full.
    pub(super) fn publish(&self, topic: &str, qos: u8, retain: bool, payload: Vec<u8>) -> bool {
        match self {
            Self::V3(client) => client.try_publish(topic, quality(qos), retain, payload).is_ok(),
            Self::V5(client) => client.try_publish(topic, quality5(qos), retain, payload).is_ok(),
        }
    }

    /// Acknowledges a message. Returns `false` if the queue is full.
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

    /// Disconnects. Returns `false` if the queue is full.
    pub(super) fn disconnect(&self) -> bool {
        match self {
            Self::V3(client) => client.try_disconnect().is_ok(),
            Self::V5(client) => client.try_disconnect().is_ok(),
        }
    }
}

impl Connection {
    /// Waits for the next event. Not cancel-safe: dropping it could cut a packet.
    ///
    /// # Errors
    /// If the connection is lost or refused.
    pub(super) async fn poll(&mut self) -> Result<BrokerEvent, ConnectionError> {
        match self {
            Self::V3(connection) => connection.poll().await.map(event).map_err(error),
            Self::V5(connection) => connection.poll().await.map(event5).map_err(error5),
        }
    }
}

fn event(event: rumqttc::Event) -> BrokerEvent {
    match event {
        rumqttc::Event::Incoming(Packet::ConnAck(answer)) => {
            BrokerEvent::Connected { resumed: answer.session_present }
        }
        rumqttc::Event::Incoming(Packet::SubAck(answer)) => {
            let refusal = |code: &SubscribeReasonCode| {
                (*code == SubscribeReasonCode::Failure).then(|| "refused".to_owned())
            };
            BrokerEvent::Subscribed(answer.return_codes.iter().map(refusal).collect())
        }
        rumqttc::Event::Incoming(Packet::Publish(publish)) => BrokerEvent::Message(Message {
            topic: publish.topic,
            payload: publish.payload,
            is_retained: publish.retain,
            packet_id: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
        }),
        rumqttc::Event::Incoming(Packet::PubAck(answer)) => {
            BrokerEvent::PublishAnswered { packet_id: answer.pkid, answer: Ok(()) }
        }
        rumqttc::Event::Incoming(Packet::PingResp) => BrokerEvent::PingAnswered,
        rumqttc::Event::Incoming(_) => BrokerEvent::Other,
        rumqttc::Event::Outgoing(outgoing) => sent(&outgoing),
    }
}

fn event5(event: v5::Event) -> BrokerEvent {
    match event {
        v5::Event::Incoming(packet5::Packet::ConnAck(answer)) => {
            BrokerEvent::Connected { resumed: answer.session_present }
        }
        v5::Event::Incoming(packet5::Packet::SubAck(answer)) => {
            let refusal = |code: &packet5::SubscribeReasonCode| {
                let is_granted = matches!(code, packet5::SubscribeReasonCode::Success(_));
                (!is_granted).then(|| format!("{code:?}"))
            };
            BrokerEvent::Subscribed(answer.return_codes.iter().map(refusal).collect())
        }
        v5::Event::Incoming(packet5::Packet::Publish(publish)) => BrokerEvent::Message(Message {
            // A broker must refuse a topic that is not UTF-8 (MQTT 5, 1.5.4).
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            is_retained: publish.retain,
            packet_id: (publish.qos != QoS5::AtMostOnce).then_some(publish.pkid),
        }),
        v5::Event::Incoming(packet5::Packet::PubAck(answer)) => {
            use packet5::PubAckReason::{NoMatchingSubscribers, Success};
            let packet5::PubAck { pkid, reason, .. } = answer;
            let is_accepted = matches!(reason, Success | NoMatchingSubscribers);
            let answer = if is_accepted { Ok(()) } else { Err(PublishRefused(reason)) };
            BrokerEvent::PublishAnswered { packet_id: pkid, answer }
        }
        v5::Event::Incoming(packet5::Packet::PingResp(_)) => BrokerEvent::PingAnswered,
        v5::Event::Incoming(_) => BrokerEvent::Other,
        v5::Event::Outgoing(outgoing) => sent(&outgoing),
    }
}

fn sent(outgoing: &Outgoing) -> BrokerEvent {
    match outgoing {
        Outgoing::Publish(packet_id) => BrokerEvent::PublishSent(*packet_id),
        Outgoing::PubAck(packet_id) => BrokerEvent::AckSent(*packet_id),
        Outgoing::PingReq => BrokerEvent::PingSent,
        Outgoing::Subscribe(_)
        | Outgoing::Unsubscribe(_)
        | Outgoing::PubRec(_)
        | Outgoing::PubRel(_)
        | Outgoing::PubComp(_)
        | Outgoing::PingResp
        | Outgoing::Disconnect
        | Outgoing::AwaitAck(_) => BrokerEvent::Other,
    }
}

fn quality(qos: u8) -> QoS {
    if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

fn quality5(qos: u8) -> QoS5 {
    if qos == 0 { QoS5::AtMostOnce } else { QoS5::AtLeastOnce }
}

fn error(error: rumqttc::ConnectionError) -> ConnectionError {
    use rumqttc::ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
    use rumqttc::ConnectionError::{ConnectionRefused, Io};
    if let ConnectionRefused(BadUserNamePassword | NotAuthorized) = error {
        return ConnectionError::Credentials;
    }
    if matches!(&error, Io(error) if is_refused(error)) {
        return ConnectionError::Refused;
    }
    ConnectionError::V3(Box::new(error))
}

fn error5(error: v5::ConnectionError) -> ConnectionError {
    use packet5::ConnectReturnCode::{
        BadUserNamePassword, NotAuthorized, RefusedProtocolVersion, UnsupportedProtocolVersion,
    };
    use v5::ConnectionError::{ConnectionRefused, Io, MqttState};
    if let ConnectionRefused(BadUserNamePassword | NotAuthorized) = error {
        return ConnectionError::Credentials;
    }
    if let ConnectionRefused(RefusedProtocolVersion | UnsupportedProtocolVersion) = error {
        return ConnectionError::Version;
    }
    if matches!(&error, Io(error) if is_refused(error)) {
        return ConnectionError::Refused;
    }
    let taken_over = packet5::DisconnectReasonCode::SessionTakenOver;
    if let MqttState(v5::StateError::ServerDisconnect { reason_code, .. }) = &error
        && *reason_code == taken_over
    {
        return ConnectionError::TakenOver;
    }
    ConnectionError::V5(Box::new(error))
}

fn is_refused(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionRefused
}
