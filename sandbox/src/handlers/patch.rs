//! `patch`: changes properties of a device. A list of tags or attributes replaces the whole old
//! list.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::get;
use crate::call::Call;
use crate::devices::{Attribute, DeviceClass, DeviceSpec, Tag};
use crate::event::Event;
use crate::reply::{ApiError, Reply};
use crate::value::integer;

/// A body that is valid by the schema `devicePatch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Patch {
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<Tag>>,
    attributes: Option<Vec<Attribute>>,
    device_class: Option<DeviceClass>,
    gateway_id: Option<String>,
    #[serde(default)]
    parent_id: Parent,
    #[serde(default, deserialize_with = "seconds")]
    system_interval: Option<u16>,
    keep_duplicates: Option<bool>,
}

/// The change of `parentId`.
#[derive(Debug, Default)]
enum Parent {
    /// The field is absent: the parent stays the same.
    #[default]
    Keep,
    /// The field is an id, or null, which removes the parent.
    Set(Option<String>),
}

impl<'de> Deserialize<'de> for Parent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Set)
    }
}

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let body = call.json(&call.cloud.schemas.patch)?;
    let patch: Patch =
        serde_json::from_value(body).map_err(|error| call.reject(error.to_string()))?;
    let mut store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
    patch.check(&device.spec)?;
    let changed = Event::Device {
        application_id: device.application_id.clone(),
        spec: Box::new(patch.apply(device.spec.clone())),
        created_ms: device.created_ms,
        updated_ms: call.now_ms,
    };
    store.commit(changed);
    let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
    Ok(Reply::json("device", get::device_shape(device, &call.query, true)))
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let number = Value::deserialize(deserializer)?;
    Ok(integer(&number).and_then(|seconds| u16::try_from(seconds).ok()))
}

/// Returns the name of an attribute that occurs twice.
pub(super) fn duplicate_attribute(attributes: &[Attribute]) -> Option<&str> {
    let mut names = BTreeSet::new();
    let duplicate = attributes.iter().find(|attribute| !names.insert(&attribute.name));
    duplicate.map(|attribute| attribute.name.as_str())
}

impl Patch {
    /// Checks the rules that the schema cannot express: attribute names are unique
    /// (devices/attributes), and the class cannot change to or from system
    /// (devices/device-types).
    fn check(&self, spec: &DeviceSpec) -> Result<(), ApiError> {
        let attributes = self.attributes.as_deref().unwrap_or_default();
        if let Some(name) = duplicate_attribute(attributes) {
            return Err(ApiError::validation(format!("attribute {name} occurs twice")));
        }
        let is_system = |class| class == DeviceClass::System;
        match self.device_class {
            Some(class) if is_system(class) != is_system(spec.device_class) => {
                Err(ApiError::validation("deviceClass cannot change to or from system"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn apply(self, old: DeviceSpec) -> DeviceSpec {
        DeviceSpec {
            name: self.name.unwrap_or(old.name),
            description: self.description.unwrap_or(old.description),
            tags: self.tags.unwrap_or(old.tags),
            attributes: self.attributes.unwrap_or(old.attributes),
            device_class: self.device_class.unwrap_or(old.device_class),
            gateway_id: self.gateway_id.or(old.gateway_id),
            parent_id: match self.parent_id {
                Parent::Keep => old.parent_id,
                Parent::Set(parent_id) => parent_id,
            },
            system_interval: self.system_interval.or(old.system_interval),
            keep_duplicates: self.keep_duplicates.or(old.keep_duplicates),
            ..old
        }
    }
}
