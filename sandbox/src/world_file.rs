//! Applications and devices from a TOML file, for `serve --world`.
//!
//! ```toml
//! [[application]]                    # id and token may be given
//! [[application.device]]
//! name = "gateway"                   # all else may be left out
//! class = "gateway"                  # standalone unless told
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
//! What is left out is made of the order in the file and the name, so that it is the same again
//! after a restart; attributes that are left out are those of the default world.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::world::{API_TOKEN, ApplicationSpec, Attribute, DataType, DeviceClass, DeviceSpec, Tag};

/// What is wrong with the text of a world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// It is not TOML of the right shape; the reason says where.
    #[error("{0}")]
    Shape(String),
    /// Two devices of an application have one name.
    #[error("device {0:?} occurs twice in its application; give each its own name")]
    Name(String),
    /// A device's gateway is no device of its application.
    #[error("device {device:?} names the gateway {gateway:?}, which its application does not have")]
    Gateway {
        /// The name of the device.
        device: String,
        /// What it says.
        gateway: String,
    },
    /// A peripheral does not say which gateway reports for it.
    #[error("device {0:?} is a peripheral without a gateway; add gateway = \"NAME\"")]
    NoGateway(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct World {
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

/// The applications that a text describes. Ids are checked when a sandbox starts with them.
///
/// # Errors
///
/// When it is not TOML of the shape above, or its devices do not fit together.
pub fn parse_world(text: &str) -> Result<Vec<ApplicationSpec>, WorldError> {
    let world: World =
        toml::from_str(text).map_err(|error| WorldError::Shape(error.to_string()))?;
    let mut devices_before = 0;
    let mut applications = Vec::new();
    for (index, application) in world.applications.into_iter().enumerate() {
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
) -> Result<ApplicationSpec, WorldError> {
    let number = index + 1;
    let made_token =
        || if index == 0 { API_TOKEN.to_owned() } else { format!("{API_TOKEN}-{number}") };
    let mut ids = BTreeMap::new();
    for (index, device) in application.devices.iter().enumerate() {
        let made_id = || format!("d{:023x}", devices_before + index + 1);
        let id = device.id.clone().unwrap_or_else(made_id);
        if ids.insert(device.name.clone(), id).is_some() {
            return Err(WorldError::Name(device.name.clone()));
        }
    }
    let devices = application.devices.into_iter().map(|device| describe(device, &ids));
    Ok(ApplicationSpec {
        application_id: application.id.unwrap_or_else(|| format!("a{number:023x}")),
        api_token: application.token.unwrap_or_else(made_token),
        devices: devices.collect::<Result<_, _>>()?,
    })
}

fn describe(device: Device, ids: &BTreeMap<String, String>) -> Result<DeviceSpec, WorldError> {
    let Device { name, class, gateway, id: _, key, secret, description, tags, attributes } = device;
    if class == DeviceClass::Peripheral && gateway.is_none() {
        return Err(WorldError::NoGateway(name));
    }
    let known = ids.values().collect::<BTreeSet<_>>();
    let gateway_id = match gateway {
        None => None,
        Some(gateway) => match ids.get(&gateway) {
            Some(id) => Some(id.clone()),
            None if known.contains(&gateway) => Some(gateway),
            None => return Err(WorldError::Gateway { device: name, gateway }),
        },
    };
    let id = ids.get(&name).map(String::as_str).unwrap_or_default();
    let made = DeviceSpec::new(id, &name, class);
    let declared = |(name, data_type): (String, DataType)| Attribute::new(&name, data_type);
    let attributes = attributes.map(|attributes| attributes.into_iter().map(declared).collect());
    Ok(DeviceSpec {
        gateway_id,
        description,
        tags: tags.into_iter().map(|(key, value)| Tag { key, value }).collect(),
        key: key.unwrap_or(made.key),
        secret: secret.unwrap_or(made.secret),
        attributes: attributes.unwrap_or(made.attributes),
        ..made
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{APPLICATION_ID, GATEWAY_ID, default_devices};

    #[test]
    fn names_and_classes_alone_make_the_default_world() {
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
        assert_eq!(parse_world(text).unwrap(), [expected]);
    }

    #[test]
    fn everything_may_be_given() {
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
        let [application] = parse_world(text).unwrap().try_into().unwrap();
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
    fn made_ids_and_tokens_differ_over_all_applications() {
        let text = r#"
            application = [{ device = [{ name = "a" }] }, { device = [{ name = "a" }] }]"#;
        let [first, second] = parse_world(text).unwrap().try_into().unwrap();
        assert_eq!((&*second.api_token, second.devices.len()), ("sandbox-api-token-2", 1));
        assert_eq!(first.devices[0].device_id, GATEWAY_ID);
        assert_ne!(first.devices[0].device_id, second.devices[0].device_id);
        assert_ne!(first.application_id, second.application_id);
    }

    #[test]
    fn a_mistake_is_named() {
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
            let error = parse_world(&text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
