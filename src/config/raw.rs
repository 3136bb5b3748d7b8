//! The configuration as it is written: every option optional, nothing checked but its type.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::field::{Field, Size};

type Text = Option<Field<String>>;
type Integer = Option<Field<i64>>;
type Float = Option<Field<f64>>;
type Flag = Option<Field<bool>>;
type Span = Option<Field<Duration>>;
type Bytes = Option<Field<Size>>;
type Texts = Option<Vec<Field<String>>>;

macro_rules! table {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        pub(in crate::config) struct $name {
            $(pub(in crate::config) $field: $type,)*
        }

        impl $name {
            /// The keys that this table knows, for "did you mean".
            pub(in crate::config) const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}

mod bus;

pub(super) use bus::{
    Buses, Exec, File, Http, Modbus, ModbusRegister, ModbusUnit, Mqtt, Serial, System,
};

table!(Raw {
    losant: Losant,
    device: BTreeMap<String, Device>,
    outbox: Outbox,
    reporter: Reporter,
    clock: Clock,
    commands: Commands,
    daemon: Daemon,
    log: Log,
    status: Status,
    bus: Buses,
    sensor: BTreeMap<String, Sensor>,
    actuator: BTreeMap<String, Actuator>,
});

table!(Losant {
    url: Text,
    device_id: Text,
    application_id: Text,
    credentials_file: Text,
    requested_scopes: Texts,
    token_ttl: Span,
    ca_file: Text,
    client_certificate: Text,
    proxy: Text,
    keep_alive_interval: Span,
    connect_timeout: Span,
    request_timeout: Span,
});

table!(Device { id: Text });

table!(Outbox { path: Text, size_max: Bytes, commit_interval: Span, cache_size: Bytes });

table!(Reporter {
    batch_states_max: Integer,
    batch_size_max: Bytes,
    batch_age: Span,
    retry_min: Span,
    retry_max: Span,
});

table!(Clock { trust: Text });

table!(Commands { age_max: Span, timeout: Span });

table!(Daemon { stop_timeout: Span });

table!(Log { level: Text });

table!(Status { socket: Text });

table!(Sensor {
    bus: Text,
    topic: Text,
    device: Text,
    format: Text,
    columns: Texts,
    delimiter: Text,
    retained: Flag,
    map: Vec<Mapping>,
});

table!(Mapping { channel: Text, attribute: Text, scale: Float, offset: Float });

table!(Actuator {
    command: Text,
    device: Text,
    bus: Text,
    write: Text,
    topic: Text,
    payload: Text,
    qos: Integer,
    retain: Flag,
});

/// The keys of the table at `path`, with names that the operator chose as `*`; none for an unknown table.
pub(super) fn keys_at(path: &[&str]) -> &'static [&'static str] {
    match path {
        [] => Raw::KEYS,
        ["losant"] => Losant::KEYS,
        ["device", _] => Device::KEYS,
        ["outbox"] => Outbox::KEYS,
        ["reporter"] => Reporter::KEYS,
        ["clock"] => Clock::KEYS,
        ["commands"] => Commands::KEYS,
        ["daemon"] => Daemon::KEYS,
        ["log"] => Log::KEYS,
        ["status"] => Status::KEYS,
        ["bus", rest @ ..] => bus::keys_at(rest),
        ["sensor", _] => Sensor::KEYS,
        ["sensor", _, "map", _] => Mapping::KEYS,
        ["actuator", _] => Actuator::KEYS,
        _ => &[],
    }
}
