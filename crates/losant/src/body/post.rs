//! The body of `devices.post` (schema `devicePost`): the members that a peripheral needs.

use serde::Serialize;

use super::{Attribute, DeviceClass, Id, List, Text};

/// A new device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DevicePost {
    /// The name.
    pub name: Text<1, 255>,
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<0, 32_767>>,
    /// The attributes.
    pub attributes: List<Attribute, 256>,
    /// The class.
    pub device_class: DeviceClass,
    /// The gateway of a peripheral.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<Id>,
}
