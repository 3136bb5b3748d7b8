//! The tables `[bus.…]` as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Bytes, Flag, Integer, Span, Text, Texts, Word};

table!(Buses {
    serial: BTreeMap<String, Serial>,
    modbus: BTreeMap<String, Modbus>,
    mqtt: BTreeMap<String, Mqtt>,
    file: BTreeMap<String, File>,
    exec: BTreeMap<String, Exec>,
    http: BTreeMap<String, Http>,
    gpio: BTreeMap<String, Gpio>,
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

table!(Gpio {
    chip: Text,
    interval: Span,
    input: BTreeMap<String, GpioInput>,
    output: BTreeMap<String, GpioOutput>,
});

table!(GpioInput {
    line: Option<Word>,
    active_low: Flag,
    bias: Text,
    edges: Text,
    debounce: Span,
});

table!(GpioOutput {
    line: Option<Word>,
    active_low: Flag,
    drive: Text,
    at_start: Text,
    at_stop: Text,
});

table!(Http { listen: Text, credentials_file: Text, size_max: Bytes, connections_max: Integer });

table!(Modbus {
    tcp: Text,
    path: Text,
    usb: Text,
    usb_interface: Integer,
    baud_rate: Integer,
    data_bits: Integer,
    parity: Text,
    stop_bits: Integer,
    rs485: Text,
    rs485_delay: Span,
    gap: Span,
    interval: Span,
    timeout: Span,
    merge_gap_max: Integer,
    unit: BTreeMap<String, ModbusUnit>,
});

table!(ModbusUnit {
    id: Integer,
    interval: Span,
    timeout: Span,
    registers: Vec<ModbusRegister>,
});

table!(ModbusRegister {
    channel: Text,
    table: Text,
    address: Integer,
    kind: Text,
    order: Text,
    length: Integer,
});

table!(Mqtt {
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

table!(Serial {
    path: Text,
    usb: Text,
    usb_interface: Integer,
    baud_rate: Integer,
    data_bits: Integer,
    parity: Text,
    stop_bits: Integer,
    flow_control: Text,
    rs485: Text,
    rs485_delay: Span,
    frame: Frame,
    poll: Texts,
    poll_interval: Span,
    poll_timeout: Span,
    poll_gap: Span,
});

table!(Frame {
    kind: Text,
    delimiter: Text,
    start: Text,
    end: Text,
    keep_markers: Flag,
    size: Integer,
    length_offset: Integer,
    length_size: Integer,
    length_endian: Text,
    length_counts: Text,
    length_extra: Integer,
    idle_time: Span,
    checksum: Text,
    checksum_notation: Text,
    checksum_from: Integer,
    checksum_after_end: Flag,
    size_max: Bytes,
    inter_byte_timeout: Span,
});

table!(System { interval: Span, disks: Texts, gateway: Flag });
