//! `patch`: new properties for a device; a list of tags or attributes replaces the old one whole.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use super::get;
use crate::call::Call;
use crate::event::Event;
use crate::reply::{Refusal, Reply};
use crate::world::{Attribute, DeviceClass, DeviceSpec, Tag};

/// A body that has passed the schema `devicePatch`.
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
    system_interval: Option<u16>,
    keep_duplicates: Option<bool>,
}

/// The `parentId` of a body.
#[derive(Debug, Default)]
enum Parent {
    /// It is absent: the parent stays.
    #[default]
    Stays,
    /// It is an id, or null for none.
    Becomes(Option<String>),
}

impl<'de> Deserialize<'de> for Parent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Becomes)
    }
}

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body = call.json(&call.cloud.schemas.patch)?;
    let patch: Patch =
        serde_json::from_value(body).map_err(|error| call.refuse(error.to_string()))?;
    let mut store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
    patch.check(&device.spec)?;
    let changed = Event::Device {
        application_id: device.application_id.clone(),
        spec: Box::new(patch.apply(device.spec.clone())),
        created_ms: device.created_ms,
        updated_ms: call.now_ms,
    };
    store.commit(changed);
    let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
    Ok(Reply::Json("device", get::show(device, &call.query, true)))
}

impl Patch {
    /// What the schema cannot say: names of attributes are unique (devices/attributes), and a
    /// device does not become a system device or cease to be one (devices/device-types).
    fn check(&self, spec: &DeviceSpec) -> Result<(), Refusal> {
        let mut names = BTreeSet::new();
        let again =
            self.attributes.iter().flatten().find(|attribute| !names.insert(&attribute.name));
        if let Some(Attribute { name, .. }) = again {
            return Err(Refusal::validation(format!("attribute {name} is there twice")));
        }
        let is_system = |class| class == DeviceClass::System;
        match self.device_class {
            Some(class) if is_system(class) != is_system(spec.device_class) => {
                Err(Refusal::validation("deviceClass cannot change to or from system"))
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
                Parent::Stays => old.parent_id,
                Parent::Becomes(parent_id) => parent_id,
            },
            system_interval: self.system_interval.or(old.system_interval),
            keep_duplicates: self.keep_duplicates.or(old.keep_duplicates),
            ..old
        }
    }
}
