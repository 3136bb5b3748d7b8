//! Applications, devices and attributes, and the default ones.
//!
//! The default application and devices have fixed ids, keys and secrets, so that a client's
//! configuration stays valid when the sandbox restarts. They are published here and protect
//! nothing: the sandbox should listen on loopback only.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The id of the default application.
pub const APPLICATION_ID: &str = "a00000000000000000000001";
/// The token of the default application; it allows all actions.
pub const API_TOKEN: &str = "sandbox-api-token";
/// The id of the default gateway.
pub const GATEWAY_ID: &str = "d00000000000000000000001";
/// The id of the default peripheral "greenhouse".
pub const GREENHOUSE_ID: &str = "d00000000000000000000002";
/// The id of the default peripheral "workshop".
pub const WORKSHOP_ID: &str = "d00000000000000000000003";

/// The class of a device (schema `device`, `deviceClass`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceClass {
    /// Connects and reports on its own.
    Standalone,
    /// Connects on its own and reports for its peripherals.
    Gateway,
    /// Reports through the gateway that it names.
    Peripheral,
    /// Reports through any gateway of the application.
    Floating,
    /// Runs Losant's Gateway Edge Agent as a gateway.
    EdgeCompute,
    /// Has no hardware; its attributes are computed from those of other devices.
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

/// The type of an attribute (schema `deviceAttribute`, `dataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataType {
    /// An integer or a float.
    Number,
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A position as text: `"<latitude>,<longitude>"`, or another form that Losant accepts.
    Gps,
    /// Base64 text.
    Blob,
}

/// A declared attribute of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// 1 to 255 characters of `0-9 a-z A-Z _ -`.
    pub name: String,
    /// The type of its values.
    pub data_type: DataType,
    /// The media type of a blob; at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// At most 32767 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names and values of 1 to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_tags: Option<BTreeMap<String, String>>,
    /// For a system device, the rule that computes the attribute; stored unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Value>,
}

impl Attribute {
    /// Creates an attribute with only a name and a type.
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

/// A tag of a device. A device can have several tags with the same key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// 1 to 255 characters of `0-9 a-z A-Z _ -`.
    pub key: String,
    /// 1 to 255 characters.
    pub value: String,
}

/// A device that the sandbox creates at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSpec {
    /// 24 hexadecimal digits.
    pub device_id: String,
    /// The display name.
    pub name: String,
    /// At most 32767 characters.
    pub description: String,
    /// At most 100 tags.
    pub tags: Vec<Tag>,
    /// The class of the device.
    pub device_class: DeviceClass,
    /// For a peripheral, the id of its gateway, which may report for it.
    pub gateway_id: Option<String>,
    /// The id of the system device to which it belongs.
    pub parent_id: Option<String>,
    /// For a system device, the seconds between its reports, 5 to 3600.
    pub system_interval: Option<u16>,
    /// Stored and returned; the REST documentation does not define its meaning.
    pub keep_duplicates: Option<bool>,
    /// The access key of this device.
    pub key: String,
    /// The secret of [`DeviceSpec::key`].
    pub secret: String,
    /// The declared attributes.
    pub attributes: Vec<Attribute>,
}

impl DeviceSpec {
    /// Creates a device with a key and a secret derived from its name, and the default attributes.
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

    /// Creates a peripheral that reports through the gateway `gateway_id`.
    pub fn peripheral(device_id: &str, name: &str, gateway_id: &str) -> Self {
        let gateway_id = Some(gateway_id.to_owned());
        Self { gateway_id, ..Self::new(device_id, name, DeviceClass::Peripheral) }
    }
}

/// An application with its devices, which the sandbox creates at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationSpec {
    /// 24 hexadecimal digits.
    pub application_id: String,
    /// An application token that allows all actions in it.
    pub api_token: String,
    /// Its devices. Ids must be unique over all applications.
    pub devices: Vec<DeviceSpec>,
}

impl Default for ApplicationSpec {
    /// Returns the default application with [`default_devices`].
    fn default() -> Self {
        Self {
            application_id: APPLICATION_ID.to_owned(),
            api_token: API_TOKEN.to_owned(),
            devices: default_devices(),
        }
    }
}

/// The properties of a device that a client needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The id of its application.
    pub application_id: String,
    /// 24 hexadecimal digits.
    pub device_id: String,
    /// The class of the device.
    pub device_class: DeviceClass,
    /// The access key of this device.
    pub key: String,
    /// The secret of [`Device::key`].
    pub secret: String,
    /// The display name.
    pub name: String,
    /// For a peripheral, the id of its gateway, which may report for it.
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

/// Returns the default devices: a gateway and its two peripherals.
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
