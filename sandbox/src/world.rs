//! The application and the devices that exist when the sandbox starts.
//!
//! The default world has fixed ids, keys and secrets, so that a configuration file written once
//! goes on working, also after the sandbox was restarted. None of them is a secret: the sandbox
//! guards nothing and should listen on loopback only.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Has no hardware: its attributes are made from those of other devices.
    System,
    /// Runs Losant's Embedded Edge Agent.
    Embedded,
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "standalone",
            Self::Gateway => "gateway",
            Self::Peripheral => "peripheral",
            Self::Floating => "floating",
            Self::EdgeCompute => "edgeCompute",
            Self::System => "system",
            Self::Embedded => "embedded",
        })
    }
}

/// What an attribute holds (schema `deviceAttribute`, `dataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataType {
    /// An integer or a float.
    Number,
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A position, as text: `"<latitude>,<longitude>"`, or another form of those that Losant takes.
    Gps,
    /// Base64 text.
    Blob,
}

/// A declared attribute of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// 1 to 255 of `0-9 a-z A-Z _ -`.
    pub name: String,
    /// The type that its values must have.
    pub data_type: DataType,
    /// For a blob, its media type; at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// At most 32767 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names and values; both are 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_tags: Option<BTreeMap<String, String>>,
    /// For a system device, how the attribute is made from others; kept as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Value>,
}

impl Attribute {
    /// An attribute of which nothing but its name and type is said.
    pub fn new(name: &str, data_type: DataType) -> Self {
        Self {
            name: name.to_owned(),
            data_type,
            content_type: None,
            description: None,
            attribute_tags: None,
            system: None,
        }
    }
}

/// A tag of a device; a key may occur more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// 1 to 255 of `0-9 a-z A-Z _ -`.
    pub key: String,
    /// 1 to 255 characters.
    pub value: String,
}

/// A device to put into the sandbox's world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSpec {
    /// 24 hexadecimal digits.
    pub device_id: String,
    /// The name that people see.
    pub name: String,
    /// At most 32767 characters.
    pub description: String,
    /// At most 100.
    pub tags: Vec<Tag>,
    /// What the device is.
    pub device_class: DeviceClass,
    /// For a peripheral, the gateway that may report for it.
    pub gateway_id: Option<String>,
    /// The system device that it belongs to.
    pub parent_id: Option<String>,
    /// For a system device, the seconds between its reports, 5 to 3600.
    pub system_interval: Option<u16>,
    /// Kept and shown; its meaning is not documented in the REST API.
    pub keep_duplicates: Option<bool>,
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
            description: String::new(),
            tags: Vec::new(),
            device_class,
            gateway_id: None,
            parent_id: None,
            system_interval: None,
            keep_duplicates: None,
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

/// An application with its devices, to put into the sandbox's world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationSpec {
    /// 24 hexadecimal digits.
    pub application_id: String,
    /// An application token that may do everything in it.
    pub api_token: String,
    /// Its devices; an id may occur only once in all applications.
    pub devices: Vec<DeviceSpec>,
}

impl Default for ApplicationSpec {
    /// The application of the default world, with [`default_devices`].
    fn default() -> Self {
        Self {
            application_id: APPLICATION_ID.to_owned(),
            api_token: API_TOKEN.to_owned(),
            devices: default_devices(),
        }
    }
}

/// What a client needs to know of a device in order to use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The application that it belongs to.
    pub application_id: String,
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

impl Device {
    pub(crate) fn new(application_id: &str, spec: &DeviceSpec) -> Self {
        Self {
            application_id: application_id.to_owned(),
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
        names.iter().map(|name| Attribute::new(name, data_type)).collect::<Vec<_>>()
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
