//! The application and the devices that exist when the sandbox starts.
//!
//! The default world has fixed ids, keys and secrets, so that a configuration file written once
//! goes on working, also after the sandbox was restarted. None of them is a secret: the sandbox
//! guards nothing and should listen on loopback only.

use std::fmt;

use serde::Serialize;

/// The application of the default world.
pub const APPLICATION_ID: &str = "a00000000000000000000001";
/// The application token of the default world; it may do everything.
pub const API_TOKEN: &str = "sandbox-api-token";
/// The gateway of the default world.
pub const GATEWAY_ID: &str = "d00000000000000000000001";
/// The peripheral "greenhouse" of the default world.
pub const GREENHOUSE_ID: &str = "d00000000000000000000002";
/// The peripheral "workshop" of the default world.
pub const WORKSHOP_ID: &str = "d00000000000000000000003";

/// What a device is to Losant (schema `device`, `deviceClass`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceClass {
    /// Connects and reports by itself.
    Standalone,
    /// Connects by itself and relays for its peripherals.
    Gateway,
    /// Reports through the one gateway that it names.
    Peripheral,
    /// Reports through any gateway of the application.
    Floating,
    /// A gateway that runs Losant's Gateway Edge Agent.
    EdgeCompute,
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "standalone",
            Self::Gateway => "gateway",
            Self::Peripheral => "peripheral",
            Self::Floating => "floating",
            Self::EdgeCompute => "edgeCompute",
        })
    }
}

/// What an attribute holds (schema `deviceAttribute`, `dataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DataType {
    /// An integer or a float.
    Number,
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A position, as text: `"<latitude>,<longitude>"`.
    Gps,
    /// Base64 text.
    Blob,
}

/// A declared attribute of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// 1 to 255 of `0-9 a-z A-Z _ -`.
    pub name: String,
    /// The type that its values must have.
    pub data_type: DataType,
}

/// A device to put into the sandbox's world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// 24 hexadecimal digits.
    pub device_id: String,
    /// The name that people see.
    pub name: String,
    /// What the device is.
    pub device_class: DeviceClass,
    /// For a peripheral, the gateway that may report for it.
    pub gateway_id: Option<String>,
    /// The access key that authenticates as this device.
    pub key: String,
    /// The secret of [`DeviceSpec::key`].
    pub secret: String,
    /// The attributes that it may report.
    pub attributes: Vec<Attribute>,
}

impl DeviceSpec {
    /// A device with a key and a secret made from its name, and the attributes of the default world.
    pub fn new(device_id: &str, name: &str, device_class: DeviceClass) -> Self {
        Self {
            device_id: device_id.to_owned(),
            name: name.to_owned(),
            device_class,
            gateway_id: None,
            key: format!("{name}-key"),
            secret: format!("{name}-secret"),
            attributes: default_attributes(),
        }
    }

    /// A peripheral that reports through the gateway `gateway_id`.
    pub fn peripheral(device_id: &str, name: &str, gateway_id: &str) -> Self {
        let gateway_id = Some(gateway_id.to_owned());
        Self { gateway_id, ..Self::new(device_id, name, DeviceClass::Peripheral) }
    }
}

/// What a client needs to know of a device in order to use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// 24 hexadecimal digits.
    pub device_id: String,
    /// What the device is.
    pub device_class: DeviceClass,
    /// The access key that authenticates as this device.
    pub key: String,
    /// The secret of [`Device::key`].
    pub secret: String,
    /// The name that people see.
    pub name: String,
    /// For a peripheral, the gateway that may report for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<String>,
}

impl From<&DeviceSpec> for Device {
    fn from(spec: &DeviceSpec) -> Self {
        Self {
            device_id: spec.device_id.clone(),
            device_class: spec.device_class,
            key: spec.key.clone(),
            secret: spec.secret.clone(),
            name: spec.name.clone(),
            gateway_id: spec.gateway_id.clone(),
        }
    }
}

/// The devices of the default world: a gateway and two peripherals of its own.
pub fn default_devices() -> Vec<DeviceSpec> {
    vec![
        DeviceSpec::new(GATEWAY_ID, "gateway", DeviceClass::Gateway),
        DeviceSpec::peripheral(GREENHOUSE_ID, "greenhouse", GATEWAY_ID),
        DeviceSpec::peripheral(WORKSHOP_ID, "workshop", GATEWAY_ID),
    ]
}

fn default_attributes() -> Vec<Attribute> {
    let declare = |data_type, names: &[&str]| {
        let declared = |name: &&str| Attribute { name: (*name).to_owned(), data_type };
        names.iter().map(declared).collect::<Vec<_>>()
    };
    [
        declare(DataType::Number, &NUMBERS),
        declare(DataType::Boolean, &BOOLEANS),
        declare(DataType::String, &STRINGS),
        declare(DataType::Gps, &["position"]),
    ]
    .concat()
}

const NUMBERS: [&str; 31] = [
    "temperature",
    "humidity",
    "pressure",
    "co2",
    "light",
    "noise",
    "battery",
    "power",
    "energy",
    "voltage",
    "current",
    "frequency",
    "flow",
    "volume",
    "level",
    "speed",
    "vibration",
    "distance",
    "weight",
    "count",
    "signal",
    "uptime",
    "cpuTemperature",
    "load",
    "memory",
    "disk",
    "fan",
    "moisture",
    "ph",
    "backlog",
    "dropped",
];
const BOOLEANS: [&str; 8] =
    ["door", "motion", "online", "lamp", "alarm", "valve", "pump", "lastCommandOk"];
const STRINGS: [&str; 5] = ["status", "lastCommand", "lastCommandError", "version", "message"];
