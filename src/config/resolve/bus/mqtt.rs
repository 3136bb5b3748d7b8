//! MQTT brokers: the tables `[bus.mqtt.…]`.

use std::time::Duration;

use crate::config::resolve::{Check, seconds};
use crate::config::secret::read_user_password;
use crate::config::{MqttBus, raw};
use crate::model::{DeviceId, Name};

/// The largest MQTT message: Losant takes no more than 256 KiB either (references/message-throttling).
const PAYLOAD_BYTES_DEFAULT: u64 = 256 * 1024;

pub(super) fn mqtt(
    key: &str,
    name: &Name,
    raw: raw::Mqtt,
    gateway: Option<DeviceId>,
    check: &mut Check<'_>,
) -> MqttBus {
    let host =
        check.required(&format!("{key}.host"), raw.host, "give the broker: host = \"127.0.0.1\"");
    let port = check.integer(&format!("{key}.port"), raw.port, 1_883, &(1..=65_535));
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
    let default_client_id = || gateway.map(|gateway| format!("tidegate-{gateway}-{name}"));
    let client_id = raw.client_id.map(|field| field.0).or_else(default_client_id);
    MqttBus {
        host: host.unwrap_or_default(),
        port: u16::try_from(port).unwrap_or_default(),
        client_id: client_id.unwrap_or_default(),
        credentials,
        keep_alive,
        qos: u8::try_from(qos).unwrap_or_default(),
        payload_bytes_max: usize::try_from(payload).unwrap_or_default(),
    }
}
