//! Modbus lines: the tables `[bus.modbus.…]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::port::{Port, PortOptions, port};
use super::settings::{Exclusive, Settings, Table, Topics};
use super::values::INTERVAL_RANGE;
use crate::address::{Mistake, host_and_port};
use crate::check::{Check, choice, span};
use crate::field::Field;
use crate::key::join;
use crate::table::{Integer, Span, Text, table};
use tidegate_modbus::{Kind, Order, Register};
use tidegate_model::Name;

/// The port of Modbus TCP (registered at IANA as `mbap`).
const TCP_PORT: u16 = 502;

/// How long a response may take.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(60);

/// The pause between a connection and the first request: some inverters are deaf for a second.
const CONNECT_DELAY_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);

/// The minimum silence between two frames above 19,200 baud (Modbus over Serial Line 1.02, section
/// 2.5.1.1).
const GAP_MIN: Duration = Duration::from_micros(1_750);

/// Bits of the silence between two frames: 3.5 characters of 11 bits (same section), rounded up.
const GAP_BITS: u64 = 39;

/// The range of unused registers to read: half of the largest request for words.
const MERGE_GAP_RANGE: RangeInclusive<i64> = 0..=60;

/// The maximum number of units, and of registers of a unit: a line cannot poll more in a minute.
const ENTRIES_MAX: usize = 512;

table!(Raw {
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
    connect_delay: Span,
    merge_gap_max: Integer,
    unit: BTreeMap<String, RawUnit>,
});

table!(RawUnit {
    id: Integer,
    interval: Span,
    timeout: Span,
    registers: Vec<RawRegister>,
});

table!(RawRegister {
    channel: Text,
    table: Text,
    address: Integer,
    kind: Text,
    order: Text,
    length: Integer,
});

/// A Modbus line.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusBus {
    /// The connection.
    pub line: ModbusLine,
    /// The silence between two frames.
    pub gap: Duration,
    /// The pause between a TCP connection and the first request on it.
    pub connect_delay: Duration,
    /// The units to poll.
    pub units: Vec<ModbusUnit>,
}

/// The connection of a Modbus line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusLine {
    /// A serial line.
    Rtu(Port),
    /// A TCP connection.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for ModbusLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtu(port) => write!(formatter, "{} at {} baud", port.place, port.baud_rate),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
        }
    }
}

/// A unit on a Modbus line; the standard once called it a slave.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusUnit {
    /// The name, which is the topic of its messages.
    pub name: Name,
    /// Its address on the line, 1 to 247; 0 to 255 on TCP.
    pub id: u8,
    /// The time from request to request.
    pub interval: Duration,
    /// How long a response may take.
    pub timeout: Duration,
    /// How many unused bits or words may be read to save a request.
    pub merge_gap_max: u16,
    /// The registers to read.
    pub registers: Vec<Register>,
}

impl Settings for ModbusBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::Optional;

    fn resolve(table: &Table<'_>, mut raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let line = line(key, &mut raw, check);
        let least_gap = match &line {
            ModbusLine::Rtu(port) => silence(port),
            ModbusLine::Tcp { .. } => Duration::ZERO,
        };
        let gap_range = least_gap..=Duration::from_secs(10);
        let gap = span(&format!("{key}.gap"), raw.gap, least_gap, &gap_range, check);
        let connect_delay = connect_delay(key, &line, raw.connect_delay, check);
        if raw.unit.is_empty() {
            let fix = format!("add one: [{key}.unit.meter] with id = 1 and registers");
            check.problems.add(format!("{key}.unit"), "there is no unit", fix);
        }
        let defaults = Defaults {
            interval: raw.interval.unwrap_or(Field(Duration::from_secs(10))),
            timeout: raw.timeout.unwrap_or(Field(Duration::from_secs(1))),
            merge_gap_max: check.integer(
                &format!("{key}.merge_gap_max"),
                raw.merge_gap_max,
                0,
                &MERGE_GAP_RANGE,
            ),
            id_range: if matches!(line, ModbusLine::Rtu(_)) { 1..=247 } else { 0..=255 },
        };
        let units: Vec<_> = raw
            .unit
            .into_iter()
            .filter_map(|(name, raw)| {
                unit(&join(&format!("{key}.unit"), &name), &name, raw, &defaults, check)
            })
            .collect();
        if units.len() > ENTRIES_MAX {
            let fix = format!("give at most {ENTRIES_MAX}");
            check.problems.add(format!("{key}.unit"), format!("there are {}", units.len()), fix);
        }
        ModbusBus { line, gap, connect_delay, units }
    }

    fn exclusive(&self) -> Vec<Exclusive> {
        match &self.line {
            ModbusLine::Rtu(port) => port.exclusive(),
            // Most servers accept several connections.
            ModbusLine::Tcp { .. } => Vec::new(),
        }
    }
}

/// The values of the line for all its units.
struct Defaults {
    interval: Field<Duration>,
    timeout: Field<Duration>,
    merge_gap_max: i64,
    id_range: RangeInclusive<i64>,
}

fn line(key: &str, raw: &mut Raw, check: &mut Check<'_>) -> ModbusLine {
    let Some(tcp) = raw.tcp.take() else {
        let options = PortOptions {
            path: raw.path.take(),
            usb: raw.usb.take(),
            usb_interface: raw.usb_interface.take(),
            baud_rate: raw.baud_rate.take(),
            data_bits: raw.data_bits.take(),
            parity: raw.parity.take(),
            stop_bits: raw.stop_bits.take(),
            flow_control: None,
            rs485: raw.rs485.take(),
            rs485_delay: raw.rs485_delay.take(),
        };
        return ModbusLine::Rtu(port(key, options, check));
    };
    let for_serial = [
        ("path", raw.path.is_some()),
        ("usb", raw.usb.is_some()),
        ("usb_interface", raw.usb_interface.is_some()),
        ("baud_rate", raw.baud_rate.is_some()),
        ("data_bits", raw.data_bits.is_some()),
        ("parity", raw.parity.is_some()),
        ("stop_bits", raw.stop_bits.is_some()),
        ("rs485", raw.rs485.is_some()),
        ("rs485_delay", raw.rs485_delay.is_some()),
    ];
    for (option, _) in for_serial.iter().filter(|(_, is_set)| *is_set) {
        let at = format!("{key}.{option}");
        check.problems.add(at, "is for a serial line, but tcp is set", "remove one of them");
    }
    match host_and_port("tcp", &tcp.0, TCP_PORT) {
        Ok((host, port)) => ModbusLine::Tcp { host, port },
        Err(Mistake { what, fix }) => {
            check.problems.add(format!("{key}.tcp"), what, fix);
            ModbusLine::Tcp { host: String::new(), port: TCP_PORT }
        }
    }
}

fn connect_delay(
    key: &str,
    line: &ModbusLine,
    delay: Option<Field<Duration>>,
    check: &mut Check<'_>,
) -> Duration {
    let key = format!("{key}.connect_delay");
    if matches!(line, ModbusLine::Rtu(_)) {
        if delay.is_some() {
            check.problems.add(&key, "is for tcp, but the line is serial", "remove it");
        }
        return Duration::ZERO;
    }
    span(&key, delay, Duration::ZERO, &CONNECT_DELAY_RANGE, check)
}

/// Returns the minimum silence at this speed according to the standard.
fn silence(port: &Port) -> Duration {
    let micros = GAP_BITS * 1_000_000 / u64::from(port.baud_rate.max(1));
    Duration::from_micros(micros).max(GAP_MIN)
}

fn unit(
    key: &str,
    name: &str,
    raw: RawUnit,
    defaults: &Defaults,
    check: &mut Check<'_>,
) -> Option<ModbusUnit> {
    let name: Option<Name> = check.parsed(key, name);
    let id_key = format!("{key}.id");
    let id = check.required(&id_key, raw.id, "give its address on the line: id = 1");
    let id = id.map(|id| check.within(&id_key, id, &defaults.id_range, i64::to_string));
    let interval = raw.interval.unwrap_or(defaults.interval.clone());
    let timeout = raw.timeout.unwrap_or(defaults.timeout.clone());
    if raw.registers.len() > ENTRIES_MAX {
        let what = format!("there are {}", raw.registers.len());
        check.problems.add(format!("{key}.registers"), what, format!("give at most {ENTRIES_MAX}"));
    }
    let (mut registers, mut channels) = (Vec::new(), BTreeSet::new());
    for (index, raw) in raw.registers.into_iter().enumerate() {
        let at = format!("{key}.registers.{index}");
        let Some(register) = register(&at, raw, check) else { continue };
        if !channels.insert(register.channel.clone()) {
            let what = format!("\"{}\" is that of another register", register.channel);
            check.problems.add(format!("{at}.channel"), what, "give each its own name");
        }
        registers.push(register);
    }
    Some(ModbusUnit {
        name: name?,
        id: u8::try_from(id?).ok()?,
        interval: check.duration(&format!("{key}.interval"), Some(interval), &INTERVAL_RANGE),
        timeout: check.duration(&format!("{key}.timeout"), Some(timeout), &TIMEOUT_RANGE),
        merge_gap_max: u16::try_from(defaults.merge_gap_max).unwrap_or_default(),
        registers,
    })
}

/// Resolves one register of a unit.
pub(crate) fn register(key: &str, raw: RawRegister, check: &mut Check<'_>) -> Option<Register> {
    let fix = "name its channel: channel = \"power\"";
    let channel = check.required(&format!("{key}.channel"), raw.channel, fix);
    let address_key = format!("{key}.address");
    let fix = "give the address of its first register, from 0: address = 12";
    let address = check.required(&address_key, raw.address, fix);
    let tables = [
        ("holding", tidegate_modbus::Table::Holding),
        ("input", tidegate_modbus::Table::Input),
        ("coil", tidegate_modbus::Table::Coils),
        ("discrete", tidegate_modbus::Table::Discrete),
    ];
    let table = choice(&format!("{key}.table"), raw.table, check, &tables)?;
    let kind_key = format!("{key}.kind");
    if table.is_bits() && raw.kind.is_some() {
        check.problems.add(&kind_key, "is for words, but this table has bits", "remove it");
    }
    let kind = kind(&kind_key, raw.kind.filter(|_| !table.is_bits()), raw.length, check)?;
    let orders = [
        ("abcd", Order::Abcd),
        ("cdab", Order::Cdab),
        ("badc", Order::Badc),
        ("dcba", Order::Dcba),
    ];
    let order = choice(&format!("{key}.order"), raw.order, check, &orders)?;
    let mut register = Register { channel: channel?, table, address: 0, kind, order };
    let address_max = i64::from(u16::MAX) - i64::from(register.count()) + 1;
    let address = check.within(&address_key, address?, &(0..=address_max), i64::to_string);
    register.address = u16::try_from(address).ok()?;
    Some(register)
}

fn kind(
    key: &str,
    word: Option<Field<String>>,
    length: Option<Field<i64>>,
    check: &mut Check<'_>,
) -> Option<Kind> {
    let bit = word.as_ref().and_then(|word| word.0.strip_prefix("bit")?.parse::<u8>().ok());
    if let Some(bit @ 0..=15) = bit {
        return Some(Kind::Bit(bit));
    }
    let is_text = word.as_ref().is_some_and(|word| word.0 == "text");
    let length_key = key.replace(".kind", ".length");
    if length.is_some() && !is_text {
        check.problems.add(&length_key, "is for kind = \"text\"", "remove it");
    }
    let length = if is_text { check.integer(&length_key, length, 8, &(1..=60)) } else { 1 };
    let kinds = [
        ("u16", Kind::Unsigned(1)),
        ("i16", Kind::Signed(1)),
        ("u32", Kind::Unsigned(2)),
        ("i32", Kind::Signed(2)),
        ("u64", Kind::Unsigned(4)),
        ("i64", Kind::Signed(4)),
        ("f32", Kind::Float),
        ("f64", Kind::Double),
        ("bcd16", Kind::Decimal(1)),
        ("bcd32", Kind::Decimal(2)),
        ("text", Kind::Text(u16::try_from(length).unwrap_or(1))),
        ("bit0", Kind::Bit(0)),
        ("bit15", Kind::Bit(15)),
    ];
    choice(key, word, check, &kinds)
}
