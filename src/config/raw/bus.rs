//! The tables `[bus.…]` as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Bytes, Flag, Integer, Span, Text, Texts};

table!(Buses {
    exec: BTreeMap<String, Exec>,
    file: BTreeMap<String, File>,
    http: BTreeMap<String, Http>,
    mqtt: BTreeMap<String, Mqtt>,
    serial: BTreeMap<String, Serial>,
    system: BTreeMap<String, System>,
});

table!(Exec {
    command: Texts,
    mode: Text,
    interval: Span,
    timeout: Span,
    output_size_max: Bytes,
    environment: Texts,
});

table!(File { paths: Texts, mode: Text, interval: Span, size_max: Bytes });

table!(Http { listen: Text, credentials_file: Text, size_max: Bytes, connections_max: Integer });

table!(Mqtt {
    host: Text,
    port: Integer,
    client_id: Text,
    credentials_file: Text,
    keep_alive: Span,
    qos: Integer,
    payload_size_max: Bytes,
});

table!(Serial {
    path: Text,
    baud_rate: Integer,
    data_bits: Integer,
    parity: Text,
    stop_bits: Integer,
    flow_control: Text,
    line_size_max: Bytes,
});

table!(System { interval: Span, disks: Texts, gateway: Flag });

/// The keys of the table at `path` below `bus`.
pub(super) fn keys_at(path: &[&str]) -> &'static [&'static str] {
    match path {
        [] => Buses::KEYS,
        ["exec", _] => Exec::KEYS,
        ["file", _] => File::KEYS,
        ["http", _] => Http::KEYS,
        ["mqtt", _] => Mqtt::KEYS,
        ["serial", _] => Serial::KEYS,
        ["system", _] => System::KEYS,
        _ => &[],
    }
}
