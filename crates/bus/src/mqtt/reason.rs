//! The errors of a connection to a broker in words. The library describes them with its own types.

use rumqttc::v5::mqttbytes::v5 as packet5;
use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError, v5};

use tidegate_model::io_problem;

/// The broker sent a packet that does not belong here.
const WRONG_PACKET: &str =
    "the broker sent an unexpected packet; is this the MQTT port of a broker?";

/// The broker did not answer.
const SILENT: &str = "the broker does not answer";

/// The broker closed the connection.
const CLOSED: &str = "the broker closed the connection; is its log about this client id or user?";

/// Describes an error of MQTT 3.1.1.
pub(super) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::MqttState(error) => state(error),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => SILENT.to_owned(),
        ConnectionError::Tls(error) => tls(error),
        ConnectionError::Io(error) => io_problem(error),
        ConnectionError::ConnectionRefused(code) => refusal(*code).to_owned(),
        ConnectionError::NotConnAck(_) => WRONG_PACKET.to_owned(),
        ConnectionError::RequestsDone => "the session has ended".to_owned(),
    }
}

/// Describes an error of MQTT 5.
pub(super) fn describe5(error: &v5::ConnectionError) -> String {
    use v5::ConnectionError as Error;
    match error {
        Error::MqttState(error) => state5(error),
        Error::Timeout(_) => SILENT.to_owned(),
        Error::Tls(error) => tls(error),
        Error::Io(error) => io_problem(error),
        Error::ConnectionRefused(code) => refusal5(*code),
        Error::NotConnAck(_) => WRONG_PACKET.to_owned(),
        Error::RequestsDone => "the session has ended".to_owned(),
    }
}

/// Describes why the broker refused a publish of MQTT 5.
pub(super) fn publish_refusal(reason: packet5::PubAckReason) -> String {
    words(&format!("{reason:?}"))
}

fn state(error: &StateError) -> String {
    match error {
        StateError::Io(error) => io_problem(error),
        StateError::ConnectionAborted => CLOSED.to_owned(),
        StateError::AwaitPingResp => "the broker does not answer pings".to_owned(),
        StateError::CollisionTimeout => "the broker does not acknowledge messages".to_owned(),
        StateError::EmptySubscription => "there is no topic to subscribe to".to_owned(),
        StateError::Deserialization(_) => WRONG_PACKET.to_owned(),
        StateError::InvalidState | StateError::Unsolicited(_) | StateError::WrongPacket => {
            WRONG_PACKET.to_owned()
        }
    }
}

fn state5(error: &v5::StateError) -> String {
    use v5::StateError as Error;
    match error {
        Error::Io(error) => io_problem(error),
        Error::ConnectionAborted => CLOSED.to_owned(),
        Error::AwaitPingResp => "the broker does not answer pings".to_owned(),
        Error::CollisionTimeout => "the broker does not acknowledge messages".to_owned(),
        Error::EmptySubscription => "there is no topic to subscribe to".to_owned(),
        Error::OutgoingPacketTooLarge { pkt_size, max } => {
            format!("a message of {pkt_size} bytes is larger than the {max} that the broker takes")
        }
        Error::IncomingPacketTooLarge { pkt_size, max } => {
            format!("the broker sent {pkt_size} bytes, more than the {max} of payload_size_max")
        }
        Error::ServerDisconnect { reason_code, reason_string } => {
            let reason = words(&format!("{reason_code:?}"));
            let text = reason_string.as_ref().map(|text| format!(", \"{}\"", text.escape_debug()));
            format!("the broker ended the session: {reason}{}", text.unwrap_or_default())
        }
        Error::ConnFail { reason } => refusal5(*reason),
        Error::Coversion(_)
        | Error::InvalidState
        | Error::Unsolicited(_)
        | Error::WrongPacket
        | Error::InvalidAlias { .. }
        | Error::Deserialization(_) => WRONG_PACKET.to_owned(),
    }
}

fn tls(error: &TlsError) -> String {
    match error {
        TlsError::Io(error) => format!("TLS: {}", io_problem(error)),
        TlsError::TLS(error) => format!("TLS: {error}"),
        TlsError::Addr(_) | TlsError::DNSName(_) => {
            "TLS: the host is not a name that a certificate can have".to_owned()
        }
        TlsError::WebPki(_)
        | TlsError::NoValidCertInChain
        | TlsError::NoValidClientCertInChain
        | TlsError::NoValidKeyInChain => {
            "TLS: the certificates of the bus cannot be used".to_owned()
        }
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::RefusedProtocolVersion => "the broker does not support MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "the broker refuses the client id; see client_id",
        ConnectReturnCode::ServiceUnavailable => "the broker is not available now",
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            "the broker refuses user and password"
        }
        ConnectReturnCode::Success => "the broker accepted, but the connection failed",
    }
}

fn refusal5(code: packet5::ConnectReturnCode) -> String {
    use packet5::ConnectReturnCode::{BadClientId, ClientIdentifierNotValid};
    if matches!(code, BadClientId | ClientIdentifierNotValid) {
        return "the broker refuses the client id; see client_id".to_owned();
    }
    format!("the broker refuses the connection: {}", words(&format!("{code:?}")))
}

/// Returns the words of a name in the library, which are those of the standard: `ServerBusy` is
/// `server busy`.
fn words(name: &str) -> String {
    let mut text = String::new();
    let mut was_lower = false;
    for character in name.chars().take_while(|one| one.is_alphanumeric()) {
        if character.is_uppercase() && was_lower {
            text.push(' ');
        }
        was_lower = character.is_lowercase();
        text.extend(character.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Error as IoError;

    use rumqttc::{Packet, PubAck};

    use super::*;

    #[test]
    fn no_error_shows_types_of_the_library() {
        let reset = || IoError::from_raw_os_error(104);
        for (error, expected) in [
            (ConnectionError::NotConnAck(Packet::PubAck(PubAck { pkid: 21_584 })), WRONG_PACKET),
            (ConnectionError::Io(reset()), "the other side reset the connection"),
            (StateError::Io(reset()).into(), "the other side reset the connection"),
            (StateError::Unsolicited(7).into(), WRONG_PACKET),
            (StateError::AwaitPingResp.into(), "the broker does not answer pings"),
            (ConnectionError::NetworkTimeout, SILENT),
            (
                ConnectionError::ConnectionRefused(ConnectReturnCode::BadClientId),
                "the broker refuses the client id; see client_id",
            ),
        ] {
            assert_eq!(describe(&error), expected);
        }
        let busy = packet5::ConnectReturnCode::ServerBusy;
        assert_eq!(refusal5(busy), "the broker refuses the connection: server busy");
        let error = v5::StateError::ServerDisconnect {
            reason_code: packet5::DisconnectReasonCode::SessionTakenOver,
            reason_string: None,
        };
        assert_eq!(state5(&error), "the broker ended the session: session taken over");
    }
}
