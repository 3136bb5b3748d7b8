//! Sessions with MQTT brokers: the tables `[bus.mqtt.…]`.

use std::time::Duration;

use super::settings::{Exclusive, Settings, Table, Topics};
use crate::address::{Mistake, check_broker_host};
use crate::check::{Check, seconds};
use crate::field::Field;
use crate::pem::{client_certificate, private_ca};
use crate::secret::read_user_password;
use crate::table::{Bytes, Flag, Integer, Span, Text, table};
use crate::topics;
use crate::{Secret, UserPassword};

/// The default of the largest MQTT message in bytes; Losant has the same limit
/// (references/message-throttling).
const PAYLOAD_BYTES_DEFAULT: u64 = 256 * 1024;

/// The default session expiry: a repair takes days. With MQTT 3.1.1 mosquitto never expires a
/// session.
const SESSION_EXPIRY_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

/// The maximum session expiry: a year. MQTT 5 allows 136 years.
const SESSION_EXPIRY_SECONDS_MAX: u64 = 365 * 86_400;

table!(Raw {
    host: Text,
    port: Integer,
    client_id: Text,
    version: Integer,
    session_expiry: Span,
    credentials_file: Text,
    keep_alive: Span,
    qos: Integer,
    payload_size_max: Bytes,
    tls: Flag,
    ca_file: Text,
    client_certificate: Text,
    share: Text,
    status_topic: Text,
});

/// A session with an MQTT broker.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttBus {
    /// The broker's host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The client id, which names the session.
    pub client_id: String,
    /// User and password, if the broker needs them.
    pub credentials: Option<UserPassword>,
    /// The keep-alive of the MQTT connection.
    pub keep_alive: Duration,
    /// The version of MQTT.
    pub version: MqttVersion,
    /// The quality of service of the subscriptions, 0 or 1.
    pub qos: u8,
    /// The largest message in bytes.
    pub payload_bytes_max: usize,
    /// TLS, if used.
    pub tls: Option<MqttTls>,
    /// The group of gateways that share the messages of the subscriptions.
    pub share: Option<String>,
    /// The retained topic that contains `online` or `offline`.
    pub status_topic: Option<String>,
    /// Whether the session outlives its connections. Commands that inspect use a clean session.
    pub is_lasting: bool,
    /// The topics of the replies to actuators.
    pub replies: Vec<String>,
}

/// The version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// 3.1.1: the broker decides how long it queues messages for an absent client.
    V3,
    /// 5.
    V5 {
        /// How long the broker keeps the session after a disconnect, in whole seconds.
        session_expiry: Duration,
    },
}

/// TLS of a connection to a broker.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttTls {
    /// Certificates in PEM to trust instead of the system's.
    pub private_ca: Option<Vec<u8>>,
    /// The client certificate with its key, in PEM.
    pub client_certificate: Option<Secret>,
}

impl Settings for MqttBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::Required;

    fn resolve(table: &Table<'_>, raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let host = check.required(
            &format!("{key}.host"),
            raw.host,
            "give the broker: host = \"127.0.0.1\"",
        );
        let tls = tls(key, raw.tls, raw.ca_file, raw.client_certificate, check);
        let usual_port = if tls.is_some() { 8_883 } else { 1_883 };
        let port = check.integer(&format!("{key}.port"), raw.port, usual_port, &(1..=65_535));
        let as_number = u16::try_from(port).unwrap_or_default();
        if let Some(Err(Mistake { what, fix })) =
            host.as_ref().map(|host| check_broker_host(host, as_number))
        {
            check.problems.add(format!("{key}.host"), what, fix);
        }
        let share = raw.share.map(|field| field.0);
        if share.as_ref().is_some_and(|group| group.is_empty() || group.contains(['/', '+', '#'])) {
            let fix = "name the group without / + and #: share = \"gateways\"";
            check.problems.add(format!("{key}.share"), "is not the name of a group", fix);
        }
        let status_topic = raw.status_topic.map(|field| field.0);
        if let Some(topic) = &status_topic {
            topics::check_published(&format!("{key}.status_topic"), topic, check);
        }
        let version = version(key, raw.version, raw.session_expiry, check);
        let qos = check.integer(&format!("{key}.qos"), raw.qos, 1, &(0..=1));
        let keep_alive = raw.keep_alive.map_or(Duration::from_secs(30), |field| field.0);
        let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
        let keep_alive =
            check.within(&format!("{key}.keep_alive"), keep_alive, &seconds(5..=1_200), show);
        let payload_key = format!("{key}.payload_size_max");
        let payload = check.bytes(
            &payload_key,
            raw.payload_size_max,
            PAYLOAD_BYTES_DEFAULT,
            &(64..=16 << 20),
        );
        let credentials = raw.credentials_file.map(|path| check.path(&path.0));
        let credentials = credentials.and_then(|path| check.secret(&path, read_user_password));
        let own_id = table
            .gateway
            .map(|gateway| format!("tidegate-{gateway}-{}", table.name))
            .unwrap_or_default();
        let client_id = check.or_default(&format!("{key}.client_id"), raw.client_id, own_id);
        MqttBus {
            host: host.unwrap_or_default(),
            port: as_number,
            client_id,
            credentials,
            keep_alive,
            version,
            qos: u8::try_from(qos).unwrap_or_default(),
            payload_bytes_max: usize::try_from(payload).unwrap_or_default(),
            tls,
            share,
            status_topic,
            is_lasting: true,
            replies: Vec::new(),
        }
    }

    fn exclusive(&self) -> Vec<Exclusive> {
        let Self { host, port, client_id, .. } = self;
        // A missing host or client id is reported elsewhere.
        let is_complete = !host.is_empty() && !client_id.is_empty();
        let session = Exclusive {
            option: "client_id",
            resource: format!("\"{client_id}\" at {host}:{port}"),
            fix: "use another client_id: a broker ends a session when another one takes its name",
        };
        is_complete.then_some(session).into_iter().collect()
    }
}

fn version(
    key: &str,
    version: Option<Field<i64>>,
    session_expiry: Option<Field<Duration>>,
    check: &mut Check<'_>,
) -> MqttVersion {
    let version_key = format!("{key}.version");
    let version = check.integer(&version_key, version, 3, &(3..=5));
    if version == 4 {
        check.problems.add(
            version_key,
            "is 4, which does not exist",
            "use 3 for MQTT 3.1.1, or 5 for MQTT 5",
        );
    }
    let expiry_key = format!("{key}.session_expiry");
    if version != 5 {
        if session_expiry.is_some() {
            let problem = "requires MQTT 5";
            check.problems.add(&expiry_key, problem, "remove it, or set version = 5");
        }
        return MqttVersion::V3;
    }
    let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
    let session_expiry = session_expiry.map_or(SESSION_EXPIRY_DEFAULT, |field| field.0);
    let range = seconds(60..=SESSION_EXPIRY_SECONDS_MAX);
    MqttVersion::V5 { session_expiry: check.within(&expiry_key, session_expiry, &range, show) }
}

/// Resolves TLS, which is on if `tls` is true, or if a certificate is given and `tls` is not false.
fn tls(
    key: &str,
    wanted: Option<Field<bool>>,
    ca_file: Option<Field<String>>,
    certificate: Option<Field<String>>,
    check: &mut Check<'_>,
) -> Option<MqttTls> {
    let is_named = ca_file.is_some() || certificate.is_some();
    match wanted.map(|field| field.0) {
        Some(false) if is_named => {
            let problem = "is false, but a certificate is given";
            check.problems.add(format!("{key}.tls"), problem, "remove one of them");
            return None;
        }
        Some(false) => return None,
        None if !is_named => return None,
        Some(true) | None => {}
    }
    Some(MqttTls {
        private_ca: ca_file.and_then(|path| {
            let path = check.path(&path.0);
            private_ca(&format!("{key}.ca_file"), &path, check)
        }),
        client_certificate: certificate.and_then(|path| {
            let path = check.path(&path.0);
            client_certificate(&path, check)
        }),
    })
}
