//! The plan: what Losant has, and what is to be created.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize as _;
use serde_json::Value;

use super::peripherals::{NewDevice, Provisional};
use super::{TypeRule, Unresolved};
use crate::cli::check::DeviceNames;
use tidegate_ingest::mapping::{DeviceProduction, Produced, Production};
use tidegate_losant::Client;
use tidegate_losant::body::Attribute;
use tidegate_losant::query::Shape;
use tidegate_model::{AttributeName, AttributeType, DeviceId, Name};

/// What is to be done for each device and attribute.
#[derive(Debug)]
pub(in crate::cli) struct Plan {
    pub(super) devices: Vec<PlannedDevice>,
    /// The sensors some of whose attributes only messages name.
    pub(super) undetermined: Vec<Name>,
}

/// A device with its attributes.
#[derive(Debug)]
pub(super) struct PlannedDevice {
    /// The name in the configuration, or the id.
    pub(super) shown: String,
    pub(super) target: Target,
    pub(super) rows: Vec<Row>,
}

/// A device in Losant.
#[derive(Debug)]
pub(super) enum Target {
    /// The device exists.
    Existing(DeviceId),
    /// The device is to be created.
    New(NewDevice),
    /// The device cannot be read, for this reason.
    Unreadable(String),
}

/// An attribute.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) attribute: AttributeName,
    /// The type in the configuration.
    pub(super) data_type: AttributeType,
    /// Whether the type follows from the configuration, the messages or an option.
    pub(super) is_known: bool,
    pub(super) state: RowState,
}

/// The state of an attribute in Losant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowState {
    /// It is there.
    Present,
    /// It is missing.
    Missing,
    /// It has this type, which does not accept the values.
    OtherType(AttributeType),
}

impl Plan {
    /// Compares a production with Losant.
    pub(super) async fn make(
        reader: &Client,
        provisional: &Provisional,
        production: &Production,
        types: &[TypeRule],
    ) -> anyhow::Result<Self> {
        let config = &provisional.config;
        let (mut devices, names) = (Vec::new(), DeviceNames::of(config));
        for (device, produced) in &production.devices {
            let shown = names.name(*device);
            let new = provisional.new_device(*device);
            let (target, declared) = match new {
                Some(new) => (Target::New(new), Vec::new()),
                None => declared(reader, *device, &shown, *device != config.cloud.device).await?,
            };
            let rows = rows(&shown, produced, &declared, types);
            devices.push(PlannedDevice { shown, target, rows });
        }
        for (new, produced) in provisional.unknown_devices(production) {
            let shown = new.name.clone();
            let rows = rows(&shown, &produced, &[], types);
            devices.push(PlannedDevice { shown, target: Target::New(new), rows });
        }
        let undetermined = production.undetermined.iter().cloned().collect();
        Ok(Self { devices, undetermined })
    }

    /// Returns whether something can be created or changed.
    pub(in crate::cli) fn has_work(&self, creates_devices: bool, replaces_types: bool) -> bool {
        self.devices.iter().any(|device| match &device.target {
            Target::Existing(_) => device.rows.iter().any(|row| match row.state {
                RowState::Missing => true,
                RowState::OtherType(_) => replaces_types,
                RowState::Present => false,
            }),
            Target::New(_) => creates_devices,
            Target::Unreadable(_) => false,
        })
    }

    /// Returns the attributes whose history is lost.
    pub(super) fn losses(&self, replaces_types: bool) -> Vec<String> {
        let conflicts = self.conflicts().filter(|_| replaces_types);
        conflicts.map(|(device, row)| format!("{}.{}", device.shown, row.attribute)).collect()
    }

    /// Returns the attributes of existing devices that have another type.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = (&PlannedDevice, &Row)> {
        let rows =
            self.devices.iter().flat_map(|device| device.rows.iter().map(move |row| (device, row)));
        rows.filter(|(_, row)| matches!(row.state, RowState::OtherType(_)))
    }

    /// Fails if the plan leaves something undone.
    pub(super) fn check(&self, creates_devices: bool, replaces_types: bool) -> anyhow::Result<()> {
        let conflicts = self.conflicts().filter(|_| !replaces_types).count();
        let lacks = |device: &&PlannedDevice| match device.target {
            Target::Existing(_) => false,
            Target::New(_) => !creates_devices,
            Target::Unreadable(_) => true,
        };
        let absent = self.devices.iter().filter(lacks).count();
        let parts = [
            (conflicts, "attributes have another type in Losant"),
            (absent, "devices are not in Losant, or cannot be read"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = parts.map(|(count, text)| format!("{count} {text}")).collect();
        if parts.is_empty() { Ok(()) } else { Err(Unresolved(parts.join("; ")).into()) }
    }
}

impl Row {
    /// Returns the attribute to create.
    pub(super) fn attribute(&self) -> Attribute {
        Attribute {
            name: self.attribute.clone(),
            data_type: super::data_type(self.data_type),
            content_type: None,
            description: None,
            attribute_tags: None,
            system: None,
        }
    }
}

fn rows(
    shown: &str,
    produced: &DeviceProduction,
    declared: &[Attribute],
    types: &[TypeRule],
) -> Vec<Row> {
    let known: BTreeMap<_, _> = declared
        .iter()
        .filter_map(|attribute| Some((&attribute.name, declared_type(attribute)?)))
        .collect();
    let row = |(attribute, produced): (&AttributeName, &Produced)| {
        let is_for = |rule: &&TypeRule| {
            let is_here = rule.device.as_ref().is_none_or(|device| device == shown);
            is_here && rule.attribute == *attribute
        };
        // A rule for one device wins over a rule for all.
        let rule = types.iter().filter(is_for).max_by_key(|rule| rule.device.is_some());
        let wanted = rule.map(|rule| rule.data_type);
        let likely = wanted.or(produced.data_type).or(produced.likely_type);
        let state = match (known.get(attribute), likely) {
            (None, _) => RowState::Missing,
            (Some(declared), Some(likely)) if wanted.is_some() && *declared != likely => {
                RowState::OtherType(*declared)
            }
            (Some(declared), Some(likely)) if !declared.accepts(likely) => {
                RowState::OtherType(*declared)
            }
            (Some(_), _) => RowState::Present,
        };
        let data_type = match (state, known.get(attribute)) {
            (RowState::Present, Some(declared)) => *declared,
            _ => likely.unwrap_or_else(|| produced.suggested_type()),
        };
        let is_known = state == RowState::Present || likely.is_some();
        Row { attribute: attribute.clone(), data_type, is_known, state }
    };
    produced.iter().map(row).collect()
}

fn declared_type(attribute: &Attribute) -> Option<AttributeType> {
    let word = serde_json::to_value(attribute.data_type).ok()?;
    word.as_str().map(AttributeType::named)
}

/// Reads the attributes of a device.
async fn declared(
    reader: &Client,
    device: DeviceId,
    shown: &str,
    may_be_absent: bool,
) -> anyhow::Result<(Target, Vec<Attribute>)> {
    match attributes(reader, device).await {
        Ok(attributes) => Ok((Target::Existing(device), attributes)),
        Err(error) => {
            let status = error.downcast_ref::<tidegate_losant::Error>();
            let reason = match status.and_then(tidegate_losant::Error::status) {
                Some(404) if may_be_absent => format!(
                    "Losant has no device {device}; correct the id of {shown} in the \
                     configuration, or remove the id and use --create-devices"
                ),
                Some(403) if may_be_absent => format!(
                    "the access key may not read device {device}; give an application token with \
                     --token-file, or let the access key cover the peripherals"
                ),
                Some(_) | None => return Err(error),
            };
            Ok((Target::Unreadable(reason), Vec::new()))
        }
    }
}

/// Reads the attributes of a device in the form that a patch needs.
pub(super) async fn attributes(
    client: &Client,
    device: DeviceId,
) -> anyhow::Result<Vec<Attribute>> {
    let shape = Shape { exclude_connection_info: true, ..Shape::default() };
    let document = client.get(device, shape).json().await?;
    let list = document.get("attributes").and_then(Value::as_array).into_iter().flatten();
    let attributes = list.map(Attribute::deserialize).collect::<Result<Vec<_>, _>>();
    attributes.with_context(|| {
        format!(
            "the attributes of device {device} have members that a patch would lose; create \
            the missing attributes by hand"
        )
    })
}
