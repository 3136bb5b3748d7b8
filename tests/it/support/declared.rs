//! The attributes that the devices of the tests declare in the sandbox.

use tidegate_sandbox::{Attribute, Builder, DataType, DeviceSpec, Sandbox, default_devices};

/// Attributes with numbers. A test may use any of them.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "A4C1386E4AE8_battery",
    "A4C1386E4AE8_humidity",
    "A4C1386E4AE8_rssi",
    "A4C1386E4AE8_temperature",
    "A4C1386E4AE8_voltage",
    "CBB8334C884F_battery",
    "CBB8334C884F_humidity",
    "CBB8334C884F_movements",
    "CBB8334C884F_pressure",
    "CBB8334C884F_rssi",
    "CBB8334C884F_temperature",
    "F41F0C28CBD6_battery",
    "F41F0C28CBD6_humidity",
    "F41F0C28CBD6_movements",
    "F41F0C28CBD6_pressure",
    "F41F0C28CBD6_temperature",
    "a",
    "all",
    "attic_h",
    "attic_t",
    "b",
    "bath1_h",
    "bath1_t",
    "co2_now",
    "code",
    "file0",
    "file1",
    "file2",
    "file3",
    "free",
    "kitchen_humidity",
    "kitchen_temperature",
    "lastDuration",
    "lines",
    "livingroom_outside_temp",
    "log",
    "meter",
    "n",
    "old",
    "one",
    "other",
    "oven_power",
    "pi",
    "plc",
    "plug_ENERGY_Power",
    "push",
    "pv_power",
    "run",
    "s",
    "shellyht-3A5F_temperature",
    "shellyplus1pm-a8032ab1_energy_wh",
    "shellyplus1pm-a8032ab1_power",
    "shellyplus1pm-a8032ab1_temperature",
    "shellyplus1pm-a8032ab1_voltage",
    "shellyplusht-b8d61a8b17cc_humidity",
    "some",
    "t",
    "t_28-0a",
    "t_28-0b",
    "tare",
    "tasmota_1_am2301_humidity",
    "tasmota_1_am2301_temperature",
    "temp",
    "top",
    "topic0",
    "topic1",
    "topic2",
    "topic3",
    "topic4",
    "total",
    "tty0",
    "tty1",
    "tty2",
    "tty3",
    "tty4",
    "tty5",
    "v0",
    "v1",
    "v2",
    "v3",
    "v4",
    "v5",
    "v6",
    "v7",
    "v8",
    "v9",
    "opening",
    "waiting",
    "perSecond",
    "step",
];

/// Attributes with texts.
const STRINGS: &[&str] = &[
    "2",
    "label",
    "last",
    "lastId",
    "lastMessage",
    "lastResult",
    "livingroom_door",
    "model",
    "name",
    "note",
    "own",
    "p",
    "secret",
    "text",
];

/// Attributes with true or false.
const BOOLEANS: &[&str] = &["hall_occupancy", "off", "on", "shellyplus1pm-a8032ab1_on"];

/// Returns the builder of a sandbox whose devices declare all attributes of the tests.
pub(crate) fn cloud_builder() -> Builder {
    Sandbox::builder().devices(default_devices().into_iter().map(declare).collect())
}

fn declare(mut device: DeviceSpec) -> DeviceSpec {
    let lists =
        [(NUMBERS, DataType::Number), (STRINGS, DataType::String), (BOOLEANS, DataType::Boolean)];
    for (names, data_type) in lists {
        for name in names {
            if device.attributes.iter().all(|declared| declared.name != *name) {
                device.attributes.push(Attribute::new(name, data_type));
            }
        }
    }
    device
}
