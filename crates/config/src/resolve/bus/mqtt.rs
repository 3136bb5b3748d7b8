//! MQTT brokers: the tables `[bus.mqtt.…]`.

use std::time::Duration;

use crate::field::Field;
use crate::resolve::cloud::{client_certificate, private_ca};
use crate::resolve::{Check, seconds};
use crate::secret::read_user_password;
use crate::{MqttBus, MqttTls, MqttVersion, raw};
use tidegate_model::topic::check_topic;
use tidegate_model::{DeviceId, Name};

/// The largest MQTT message: Losant takes no more than 256 KiB either (references/message-throttling).
const PAYLOAD_BYTES_DEFAULT: u64 = 256 * 1024;

/// How long a broker keeps what a gateway misses: a repair takes days. Mosquitto keeps it for ever with MQTT 3.1.1.
const SESSION_EXPIRY_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

/// A year; MQTT 5 has room for 136.
const SESSION_EXPIRY_SECONDS_MAX: u64 = 365 * 86_400;

pub(super) fn mqtt(
    key: &str,
    name: &Name,
    raw: raw::Mqtt,
    gateway: Option<DeviceId>,
    check: &mut Check<'_>,
) -> MqttBus {
    let host =
        check.required(&format!("{key}.host"), raw.host, "give the broker: host = \"127.0.0.1\"");
    let tls = tls(key, raw.tls, raw.ca_file, raw.client_certificate, check);
    let usual_port = if tls.is_some() { 8_883 } else { 1_883 };
    let port = check.integer(&format!("{key}.port"), raw.port, usual_port, &(1..=65_535));
    let share = raw.share.map(|field| field.0);
    if share.as_ref().is_some_and(|group| group.is_empty() || group.contains(['/', '+', '#'])) {
        let fix = "name the group without / + and #: share = \"gateways\"";
        check.problems.add(format!("{key}.share"), "is no name of a group", fix);
    }
    let status_topic = raw.status_topic.map(|field| field.0);
    if let Some(Err(error)) = status_topic.as_deref().map(check_topic) {
        check.problems.add(format!("{key}.status_topic"), error, "");
    }
    let version = version(key, raw.version, raw.session_expiry, check);
    let qos = check.integer(&format!("{key}.qos"), raw.qos, 1, &(0..=1));
    let keep_alive = raw.keep_alive.map_or(Duration::from_secs(30), |field| field.0);
    let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
    let keep_alive =
        check.within(&format!("{key}.keep_alive"), keep_alive, &seconds(5..=1_200), show);
    let payload_key = format!("{key}.payload_size_max");
    let payload =
        check.bytes(&payload_key, raw.payload_size_max, PAYLOAD_BYTES_DEFAULT, &(64..=16 << 20));
    let credentials = raw.credentials_file.map(|path| check.path(&path.0));
    let credentials = credentials.and_then(|path| read_user_password(&path, check.problems));
    let own_id = gateway.map(|gateway| format!("tidegate-{gateway}-{name}")).unwrap_or_default();
    let client_id = check.or_default(&format!("{key}.client_id"), raw.client_id, own_id);
    MqttBus {
        host: host.unwrap_or_default(),
        port: u16::try_from(port).unwrap_or_default(),
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

fn version(
    key: &str,
    version: Option<Field<i64>>,
    session_expiry: Option<Field<Duration>>,
    check: &mut Check<'_>,
) -> MqttVersion {
    let version_key = format!("{key}.version");
    let version = check.integer(&version_key, version, 3, &(3..=5));
    if version == 4 {
        check.problems.add(version_key, "is 4, which no MQTT is", "3 is MQTT 3.1.1, 5 is MQTT 5");
    }
    let expiry_key = format!("{key}.session_expiry");
    if version != 5 {
        if session_expiry.is_some() {
            let problem = "is of MQTT 5; before, the broker decides";
            check.problems.add(&expiry_key, problem, "take it away, or say version = 5");
        }
        return MqttVersion::V3;
    }
    let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
    let session_expiry = session_expiry.map_or(SESSION_EXPIRY_DEFAULT, |field| field.0);
    let range = seconds(60..=SESSION_EXPIRY_SECONDS_MAX);
    MqttVersion::V5 { session_expiry: check.within(&expiry_key, session_expiry, &range, show) }
}

/// TLS is on if `tls` says so, or where a certificate is named and it does not say no.
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
            let problem = "is false, but a certificate is named";
            check.problems.add(format!("{key}.tls"), problem, "take one of them away");
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
