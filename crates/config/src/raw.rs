//! The configuration as it is written: every option optional, nothing checked but its type.

use std::collections::BTreeMap;

use super::bus::Buses;
use super::field::Field;
use super::shape::{Shape, Shaped};
use super::table::{Bytes, Flag, Float, Integer, Span, Text, Texts, Word, Words, table};

table!(Raw {
    losant: Losant,
    device: BTreeMap<String, Device>,
    outbox: Outbox,
    reporter: Reporter,
    audit: Audit,
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

table!(Outbox {
    path: Text,
    size_max: Bytes,
    when_full: Text,
    downsample_bucket: Span,
    age_max: Span,
    free_min: Bytes,
    commit_interval: Span,
    sync_interval: Span,
});

table!(Reporter {
    batch_states_max: Integer,
    batch_size_max: Bytes,
    batch_age_max: Span,
    merge_window: Span,
    backfill_meta: Flag,
    retry_min: Span,
    retry_max: Span,
});

table!(Audit { enabled: Flag, interval: Span, delay: Span });

table!(Commands {
    age_max: Span,
    catch_up_age_max: Span,
    timeout: Span,
    id: Text,
    target: Text,
    report: CommandReport,
});

table!(CommandReport {
    device: Text,
    command: Text,
    id: Text,
    result: Text,
    message: Text,
    duration_ms: Text,
});
table!(Clock { trust: Text });

table!(Daemon { stop_timeout: Span });

table!(Log { level: Text });

table!(Status { socket: Text, listen: Text, listen_public: Flag });

table!(Sensor {
    bus: Text,
    topic: Text,
    device: Text,
    format: Text,
    columns: Texts,
    header: Flag,
    delimiter: Text,
    array_pointer: Text,
    pattern: Text,
    fields: Vec<BinaryField>,
    rebirth: Flag,
    encoding: Text,
    decimal: Text,
    thousands: Text,
    none_values: Words,
    ignore: Text,
    priority: Text,
    retained: Flag,
    devices: BTreeMap<String, Field<String>>,
    time: Time,
    stale: Stale,
    map: Vec<Mapping>,
});

table!(BinaryField {
    name: Text,
    offset: Integer,
    kind: Text,
    size: Integer,
    bit: Integer,
    bits: Integer,
    endian: Text,
});

table!(Time { channel: Text, format: Text, zone: Text });

table!(Stale { after: Span, attribute: Text });

table!(Mapping {
    channel: Text,
    expression: Text,
    attribute: Text,
    r#type: Text,
    number: Text,
    none_values: Words,
    values: BTreeMap<String, Word>,
    from_unit: Text,
    to_unit: Text,
    scale: Float,
    offset: Float,
    valid_min: Float,
    valid_max: Float,
    rate_max: Float,
    clamp_min: Float,
    clamp_max: Float,
    derive: Text,
    rate_unit: Text,
    counter_max: Float,
    aggregate: Text,
    window: Span,
    window_start: Text,
    window_zone: Text,
    decimals: Integer,
    stable_for: Span,
    interval_min: Span,
    deadband: Float,
    deadband_percent: Float,
    heartbeat: Span,
});

table!(Actuator {
    command: Text,
    device: Text,
    bus: Text,
    exec: Texts,
    url: Text,
    gateway: Text,
    write: Text,
    encoding: Text,
    reply: Text,
    reply_failure: Text,
    reply_timeout: Span,
    reply_topic: Text,
    topic: Text,
    payload: Text,
    qos: Integer,
    retain: Flag,
    unit: Text,
    table: Text,
    address: Integer,
    kind: Text,
    order: Text,
    length: Integer,
    value: Text,
    output: Text,
    pulse: Text,
    use_multiple_write: Flag,
    read_back: Flag,
    output_size_max: Bytes,
    method: Text,
    body: Text,
    content_type: Text,
    level: Text,
    argument: BTreeMap<String, Argument>,
    rate_max: Integer,
    rate_window: Span,
    timeout: Span,
    safe: Text,
    safe_when_offline: Span,
    safe_at_stop: Flag,
    max_on_time: Span,
});

table!(Argument {
    kind: Text,
    min: Float,
    max: Float,
    length_max: Integer,
    choices: Texts,
    optional: Flag,
});

/// What may be written at `path`.
pub(super) fn shape_at<'a>(path: impl IntoIterator<Item = &'a str>) -> Option<Shape> {
    path.into_iter().try_fold(Raw::shape(), Shape::child)
}
