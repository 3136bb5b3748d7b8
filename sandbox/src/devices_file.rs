//! Parses applications and devices from a TOML file, for `serve --devices`.
//!
//! ```toml
//! [[application]]                    # id and token are optional
//! [[application.device]]
//! name = "gateway"                   # everything else is optional
//! class = "gateway"                  # default: standalone
//! [[application.device]]
//! name = "cellar"
//! class = "peripheral"
//! gateway = "gateway"                # by name or by id
//! id = "d0000000000000000000000a"
//! key = "cellar-key"
//! secret = "cellar-secret"
//! description = "below the kitchen"
//! tags = { floor = "-1" }
//! attributes = { temperature = "number", door = "boolean" }
//! ```
//!
//! Missing ids, tokens, keys and secrets are derived from names and the order in the file, so that
//! they stay the same after a restart. A device without attributes has the default ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::devices::{
    API_TOKEN, ApplicationSpec, Attribute, DataType, DeviceClass, DeviceSpec, Tag,
};

/// The reason why a devices file is invalid.
#[derive(Debug, thiserror::Error)]
pub enum DevicesFileError {
    /// The text is not TOML, or has an unknown, missing or invalid field.
    #[error(transparent)]
    Toml(toml::de::Error),
    /// Two devices of an application have the same name.
    #[error("device {0:?} occurs twice in its application; give each its own name")]
    DuplicateName(String),
    /// The gateway of a device is not a device of its application.
    #[error("device {device:?} names the gateway {gateway:?}, which its application does not have")]
    UnknownGateway {
        /// The name of the device.
        device: String,
        /// The value of its field `gateway`.
        gateway: String,
    },
    /// A peripheral names no gateway.
    #[error("device {0:?} is a peripheral without a gateway; add gateway = \"NAME\"")]
    NoGateway(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DevicesFile {
    #[serde(rename = "application")]
    applications: Vec<Application>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    id: Option<String>,
    token: Option<String>,
    #[serde(rename = "device", default)]
    devices: Vec<Device>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    name: String,
    #[serde(default = "standalone")]
    class: DeviceClass,
    gateway: Option<String>,
    id: Option<String>,
    key: Option<String>,
    secret: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    attributes: Option<BTreeMap<String, DataType>>,
}

fn standalone() -> DeviceClass {
    DeviceClass::Standalone
}

/// Parses the applications of a devices file. The sandbox validates their ids when it starts.
///
/// # Errors
///
/// When the text is not TOML with the fields above, or when a name or a gateway is invalid.
pub fn parse_devices_file(text: &str) -> Result<Vec<ApplicationSpec>, DevicesFileError> {
    let file: DevicesFile = toml::from_str(text).map_err(DevicesFileError::Toml)?;
    let mut devices_before = 0;
    let mut applications = Vec::new();
    for (index, application) in file.applications.into_iter().enumerate() {
        let count = application.devices.len();
        applications.push(resolve(application, index, devices_before)?);
        devices_before += count;
    }
    Ok(applications)
}

fn resolve(
    application: Application,
    index: usize,
    devices_before: usize,
) -> Result<ApplicationSpec, DevicesFileError> {
    let number = index + 1;
    let default_token =
        || if index == 0 { API_TOKEN.to_owned() } else { format!("{API_TOKEN}-{number}") };
    let mut ids = BTreeMap::new();
    for (index, device) in application.devices.iter().enumerate() {
        let default_id = || format!("d{:023x}", devices_before + index + 1);
        let id = device.id.clone().unwrap_or_else(default_id);
        if ids.insert(device.name.clone(), id).is_some() {
            return Err(DevicesFileError::DuplicateName(device.name.clone()));
        }
    }
    let devices = application.devices.into_iter().map(|device| describe(device, &ids));
    Ok(ApplicationSpec {
        application_id: application.id.unwrap_or_else(|| format!("a{number:023x}")),
        api_token: application.token.unwrap_or_else(default_token),
        devices: devices.collect::<Result<_, _>>()?,
    })
}

fn describe(
    device: Device,
    ids: &BTreeMap<String, String>,
) -> Result<DeviceSpec, DevicesFileError> {
    let Device { name, class, gateway, id: _, key, secret, description, tags, attributes } = device;
    if class == DeviceClass::Peripheral && gateway.is_none() {
        return Err(DevicesFileError::NoGateway(name));
    }
    let known = ids.values().collect::<BTreeSet<_>>();
    let gateway_id = match gateway {
        None => None,
        Some(gateway) => match ids.get(&gateway) {
            Some(id) => Some(id.clone()),
            None if known.contains(&gateway) => Some(gateway),
            None => return Err(DevicesFileError::UnknownGateway { device: name, gateway }),
        },
    };
    let id = ids.get(&name).map(String::as_str).unwrap_or_default();
    let defaults = DeviceSpec::new(id, &name, class);
    let declared = |(name, data_type): (String, DataType)| Attribute::new(&name, data_type);
    let attributes = attributes.map(|attributes| attributes.into_iter().map(declared).collect());
    Ok(DeviceSpec {
        gateway_id,
        description,
        tags: tags.into_iter().map(|(key, value)| Tag { key, value }).collect(),
        key: key.unwrap_or(defaults.key),
        secret: secret.unwrap_or(defaults.secret),
        attributes: attributes.unwrap_or(defaults.attributes),
        ..defaults
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{APPLICATION_ID, GATEWAY_ID, default_devices};

    #[test]
    fn names_and_classes_suffice() {
        let text = r#"
            [[application]]
            device = [
                { name = "gateway", class = "gateway" },
                { name = "greenhouse", class = "peripheral", gateway = "gateway" },
                { name = "workshop", class = "peripheral", gateway = "d00000000000000000000001" },
            ]"#;
        let expected = ApplicationSpec {
            application_id: APPLICATION_ID.to_owned(),
            api_token: API_TOKEN.to_owned(),
            devices: default_devices(),
        };
        assert_eq!(parse_devices_file(text).unwrap(), [expected]);
    }

    #[test]
    fn reads_all_fields() {
        let text = r#"
            [[application]]
            id = "a0000000000000000000000a"
            token = "t"
            [[application.device]]
            name = "cellar"
            id = "d0000000000000000000000a"
            key = "k"
            secret = "s"
            description = "below"
            tags = { floor = "-1" }
            attributes = { door = "boolean" }"#;
        let [application] = parse_devices_file(text).unwrap().try_into().unwrap();
        assert_eq!(
            (&*application.application_id, &*application.api_token),
            ("a0000000000000000000000a", "t")
        );
        let [device] = application.devices.try_into().unwrap();
        assert_eq!(device.device_class, DeviceClass::Standalone);
        assert_eq!((&*device.key, &*device.secret, &*device.description), ("k", "s", "below"));
        assert_eq!(device.tags, [Tag { key: "floor".to_owned(), value: "-1".to_owned() }]);
        assert_eq!(device.attributes, [Attribute::new("door", DataType::Boolean)]);
    }

    #[test]
    fn derived_ids_and_tokens_are_unique() {
        let text = r#"
            application = [{ device = [{ name = "a" }] }, { device = [{ name = "a" }] }]"#;
        let [first, second] = parse_devices_file(text).unwrap().try_into().unwrap();
        assert_eq!((&*second.api_token, second.devices.len()), ("sandbox-api-token-2", 1));
        assert_eq!(first.devices[0].device_id, GATEWAY_ID);
        assert_ne!(first.devices[0].device_id, second.devices[0].device_id);
        assert_ne!(first.application_id, second.application_id);
    }

    #[test]
    fn errors_name_the_mistake() {
        let device = |text: &str| format!("[[application]]\n[[application.device]]\n{text}");
        for (text, complaint) in [
            (device("name = 'a'\ngateway = 'b'"), "names the gateway \"b\""),
            (device("name = 'a'\nclass = 'peripheral'"), "without a gateway"),
            (device("name = 'a'\n[[application.device]]\nname = 'a'"), "occurs twice"),
            (device("name = 'a'\ncolour = 'red'"), "unknown field `colour`"),
            (device("name = 'a'\nclass = 'toaster'"), "unknown variant `toaster`"),
            (device("id = 'a'"), "missing field `name`"),
            (String::new(), "missing field `application`"),
        ] {
            let error = parse_devices_file(&text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
