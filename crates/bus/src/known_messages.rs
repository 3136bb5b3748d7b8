//! The messages of buses whose topics and channels follow from their settings.

use tidegate_config::{BusKind, Edges, GpioBus, ModbusBus, SystemBus};
use tidegate_ingest::mapping::{KnownChannel, KnownMessage};
use tidegate_modbus::{Kind, Register};
use tidegate_model::AttributeType;

/// The numbers of a computer.
const NUMBERS: [&str; 11] = [
    "temperature",
    "load",
    "load_5min",
    "load_15min",
    "uptime_s",
    "memory_available_bytes",
    "memory_used_percent",
    "swap_used_bytes",
    "own_memory_bytes",
    "wifi_signal_dbm",
    "card_life_used_percent",
];

/// The flags of the power supply of a computer.
const BOOLEANS: [&str; 8] = [
    "under_voltage",
    "under_voltage_since_boot",
    "frequency_capped",
    "frequency_capped_since_boot",
    "throttled",
    "throttled_since_boot",
    "soft_temperature_limit",
    "soft_temperature_limit_since_boot",
];

/// The numbers of a disk.
const DISK_NUMBERS: [&str; 3] = ["total_bytes", "free_bytes", "used_percent"];

/// Returns all messages that a bus can have; `None` if they depend on the instruments.
pub fn known_messages(kind: &BusKind) -> Option<Vec<KnownMessage>> {
    match kind {
        BusKind::Gpio(settings) => Some(gpio(settings)),
        BusKind::Modbus(settings) => Some(modbus(settings)),
        BusKind::System(settings) => Some(vec![system(settings)]),
        BusKind::Exec(_)
        | BusKind::File(_)
        | BusKind::Http(_)
        | BusKind::Mqtt(_)
        | BusKind::Serial(_) => None,
    }
}

/// Each input has messages of its own.
fn gpio(settings: &GpioBus) -> Vec<KnownMessage> {
    let message = |input: &tidegate_config::GpioInput| {
        let channels = match input.edges {
            Edges::Reported | Edges::Ignored => {
                [channel("level", AttributeType::Boolean), channel("edges", AttributeType::Number)]
            }
            Edges::CountedRising | Edges::CountedFalling | Edges::CountedBoth => [
                channel("count", AttributeType::Number),
                // Absent before the second pulse.
                optional(channel("interval_ms", AttributeType::Number)),
            ],
        };
        let topic = input.name.to_string();
        KnownMessage { topic, channels: channels.into(), is_complete: true }
    };
    settings.inputs.iter().map(message).collect()
}

/// Each unit has messages of its own, with its registers.
fn modbus(settings: &ModbusBus) -> Vec<KnownMessage> {
    let register = |register: &Register| {
        let data_type = match register.kind {
            _ if register.table.is_bits() => AttributeType::Boolean,
            Kind::Bit(_) => AttributeType::Boolean,
            Kind::Text(_) => AttributeType::Text,
            Kind::Unsigned(_) | Kind::Signed(_) | Kind::Float | Kind::Double | Kind::Decimal(_) => {
                AttributeType::Number
            }
        };
        channel(&register.channel, data_type)
    };
    let units = settings.units.iter().filter(|unit| !unit.registers.is_empty());
    let message = |unit: &tidegate_config::ModbusUnit| KnownMessage {
        topic: unit.name.to_string(),
        channels: unit.registers.iter().map(register).collect(),
        is_complete: true,
    };
    units.map(message).collect()
}

/// A computer has the channels of its hardware only.
fn system(settings: &SystemBus) -> KnownMessage {
    let numbers = NUMBERS.map(|name| channel(name, AttributeType::Number));
    let booleans = BOOLEANS.map(|name| channel(name, AttributeType::Boolean));
    let disks = settings.disks.iter().map(|disk| disk.display().to_string());
    let disks = disks.map(|disk| format!("/disks/{}", disk.replace('~', "~0").replace('/', "~1")));
    let spaces = ["/disk".to_owned()].into_iter().chain(disks);
    let spaces = spaces.flat_map(|disk| {
        DISK_NUMBERS.map(|name| channel(&format!("{disk}/{name}"), AttributeType::Number))
    });
    let gateway = [
        channel("/gateway/online", AttributeType::Boolean),
        channel("/gateway/states_stored", AttributeType::Number),
    ];
    let channels = numbers.into_iter().chain(booleans).chain(spaces).chain(gateway).map(optional);
    KnownMessage { topic: String::new(), channels: channels.collect(), is_complete: false }
}

fn optional(channel: KnownChannel) -> KnownChannel {
    KnownChannel { is_optional: true, ..channel }
}

fn channel(name: &str, data_type: AttributeType) -> KnownChannel {
    KnownChannel { name: name.to_owned(), data_type, is_optional: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bus: &str) -> Vec<KnownMessage> {
        let sensor = "[sensor.s]\nbus = \"b\"\nformat = \"json\"\n\
            map = [{ channel = \"*\", attribute = \"{{ channel }}\" }]\n";
        let config = tidegate_config::check_text(&format!("{bus}\n{sensor}")).unwrap();
        known_messages(&config.buses.values().next().unwrap().kind).unwrap()
    }

    fn types(message: &KnownMessage) -> Vec<(&str, &str)> {
        let channels = message.channels.iter();
        channels.map(|channel| (&*channel.name, channel.data_type.as_str())).collect()
    }

    #[test]
    fn coils_and_bits_are_booleans() {
        let unit = r#"
[bus.modbus.b]
tcp = "127.0.0.1:502"
[bus.modbus.b.unit.pump]
id = 1
registers = [
  { channel = "on", table = "coil", address = 0 },
  { channel = "door", table = "discrete", address = 0 },
  { channel = "power", address = 0, kind = "f32" },
]
"#;
        let known = known(unit);
        assert_eq!(known[0].topic, "pump");
        assert_eq!(types(&known[0]), [("on", "boolean"), ("door", "boolean"), ("power", "number")]);
    }

    #[test]
    fn gpio_inputs_are_levels_or_counts() {
        let known = known(
            "[bus.gpio.b]\n[bus.gpio.b.input.door]\nline = 1\n\
             [bus.gpio.b.input.meter]\nline = 2\nedges = \"count-rising\"\n",
        );
        assert_eq!(types(&known[0]), [("level", "boolean"), ("edges", "number")]);
        assert_eq!(types(&known[1]), [("count", "number"), ("interval_ms", "number")]);
    }
}
