//! The body of `patch` (schema `devicePatch`).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Bounded, List, Text, some};
use tidegate_model::{AttributeName, DeviceId};

/// Tag keys and attribute names follow one rule: 1 to 255 of letters, digits, `_` and `-`.
type Key = AttributeName;

type Description = Text<0, 32_767>;

/// The changes of a device. An absent member stays unchanged. A list replaces the whole old list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DevicePatch {
    /// The name.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<1, 255>>,
    /// The description.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// All tags.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub tags: Option<List<Tag, 100>>,
    /// All attributes. An omitted attribute is deleted with its data.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub attributes: Option<List<Attribute, 256>>,
    /// The class; not to or from `system`.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub device_class: Option<DeviceClass>,
    /// The gateway of a peripheral.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<Id>,
    /// The parent; `Some(None)` removes it.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Option<Id>>,
    /// How often a system device aggregates its children, in seconds.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub system_interval: Option<Bounded<5, 3_600>>,
    /// Undocumented by Losant.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub keep_duplicates: Option<bool>,
}

impl DevicePatch {
    /// Returns whether it has a list, which deletes the entries that it omits.
    pub fn replaces(&self) -> bool {
        self.tags.is_some() || self.attributes.is_some()
    }
}

/// The id of a device in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub DeviceId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A tag of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Text<1, 255>,
}

/// The class of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
#[value(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words are Losant's (devices/overview)")]
pub enum DeviceClass {
    Standalone,
    Gateway,
    Peripheral,
    Floating,
    EdgeCompute,
    System,
    Embedded,
}

/// The type of an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are Losant's (devices/attributes)")]
pub enum DataType {
    String,
    Number,
    Gps,
    Boolean,
    Blob,
}

/// An attribute of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attribute {
    /// Its name.
    pub name: AttributeName,
    /// The type of its values. A change of the type deletes the data.
    pub data_type: DataType,
    /// The MIME type of a blob.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Text<0, 64>>,
    /// The description.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// Tags of the attribute.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub attribute_tags: Option<BTreeMap<Key, Text<1, 255>>>,
    /// How a system device computes its value.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemAttribute>,
}

/// How a system device computes an attribute from its children.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemAttribute {
    /// How the values are aggregated.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// Reserved: the schema allows only an empty list.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub aggregation_options: Option<List<serde_json::Value, 0>>,
    /// The attributes of the children.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub child_attributes: Option<List<ChildAttribute, 256>>,
}

/// How the values of several devices are aggregated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the words are Losant's (devices/attributes)")]
pub enum Aggregation {
    First,
    Last,
    Count,
    Max,
    Min,
    Median,
    Mean,
    Sum,
    StdDev,
}

/// An attribute of the children of a system device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildAttribute {
    /// Its name.
    pub name: AttributeName,
    /// How the children are selected.
    pub mode: ChildMode,
    /// The ids of the children.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub device_ids: Option<List<Id, 1_000>>,
    /// Their tags.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub device_tags: Option<List<DeviceTag, 100>>,
}

/// How children are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are Losant's (devices/attributes)")]
pub enum ChildMode {
    All,
    Whitelist,
    Blacklist,
}

/// A tag that selects children. Key or value may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceTag {
    /// The key.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The value.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub value: Option<Text<1, 255>>,
}
