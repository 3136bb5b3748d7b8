//! Carries out the plan with an application token.

use super::peripherals::{Created, NewDevice};
use super::plan::{Plan, PlannedDevice, Row, RowState, Target, attributes};
use super::{Usage, print};
use tidegate_losant::Client;
use tidegate_losant::body::{Attribute, DeviceClass, DevicePatch, DevicePost, Id};
use tidegate_losant::query::Shape;
use tidegate_model::DeviceId;

/// Creates attributes and devices.
pub(super) struct Creator<'a> {
    /// The client with the application token.
    pub(super) client: &'a Client,
    /// Whether the type of an attribute may be changed.
    pub(super) replaces_types: bool,
}

impl Creator<'_> {
    /// Adds the missing attributes of existing devices.
    pub(super) async fn update_devices(&self, plan: &Plan) -> anyhow::Result<()> {
        for planned in &plan.devices {
            if let Target::Existing(device) = &planned.target {
                self.update(*device, planned).await?;
            }
        }
        Ok(())
    }

    async fn update(&self, device: DeviceId, planned: &PlannedDevice) -> anyhow::Result<()> {
        let is_changed = |row: &&Row| match row.state {
            RowState::Missing => true,
            RowState::OtherType(_) => self.replaces_types,
            RowState::Present => false,
        };
        let wanted: Vec<_> = planned.rows.iter().filter(is_changed).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut list = attributes(self.client, device).await?;
        for row in &wanted {
            let attribute = row.attribute();
            match list.iter_mut().find(|known| known.name == attribute.name) {
                Some(known) if row.state != RowState::Missing => {
                    *known = Attribute { data_type: attribute.data_type, ..known.clone() };
                }
                // Someone created it since the plan was made.
                Some(_) => {}
                None => list.push(attribute),
            }
        }
        let attributes = Some(list.try_into()?);
        let patch = DevicePatch { attributes, ..DevicePatch::default() };
        self.client.patch(device, &patch, Shape::default()).await?;
        let names: Vec<_> = wanted.iter().map(|row| row.attribute.to_string()).collect();
        print(&format!("{}: created {}\n", planned.shown, names.join(", ")))
    }

    /// Creates the devices of the plan as peripherals of `gateway`. A peripheral of this gateway
    /// with the same name is used in place of a second one.
    pub(super) async fn create_devices(
        &self,
        plan: &Plan,
        gateway: DeviceId,
    ) -> anyhow::Result<Vec<Created>> {
        let new = plan.devices.iter().filter_map(|planned| match &planned.target {
            Target::New(new) => Some((new, &planned.rows)),
            Target::Existing(_) | Target::Unreadable(_) => None,
        });
        let new: Vec<_> = new.collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        self.check_gateway(gateway).await?;
        let existing = self.client.peripherals().await?;
        let mut created = Vec::new();
        for (device, rows) in new {
            let is_same = |known: &&tidegate_losant::ListedDevice| {
                known.name == device.label && known.gateway == Some(gateway)
            };
            let id = match existing.iter().find(is_same) {
                Some(known) => {
                    self.adopt(known.id, device, rows).await?;
                    known.id
                }
                None => self.create(device, rows, gateway).await?,
            };
            created.push(Created { device: device.clone(), id });
        }
        Ok(created)
    }

    /// Creates a device with all its attributes.
    async fn create(
        &self,
        device: &NewDevice,
        rows: &[Row],
        gateway: DeviceId,
    ) -> anyhow::Result<DeviceId> {
        let attributes: Vec<_> = rows.iter().map(Row::attribute).collect();
        let post = DevicePost {
            name: device.label.parse()?,
            description: None,
            attributes: attributes.try_into()?,
            device_class: DeviceClass::Peripheral,
            gateway_id: Some(Id(gateway)),
        };
        let id = self.client.create_device(&post).await?.id;
        let names: Vec<_> = rows.iter().map(|row| row.attribute.to_string()).collect();
        print(&format!("{}: created device {id} with {}\n", device.name, names.join(", ")))?;
        Ok(id)
    }

    /// Adds the missing attributes of a device that an earlier run created.
    async fn adopt(&self, id: DeviceId, device: &NewDevice, rows: &[Row]) -> anyhow::Result<()> {
        print(&format!("{}: the gateway has this peripheral already: {id}\n", device.name))?;
        let mut list = attributes(self.client, id).await?;
        let known: Vec<_> = list.iter().map(|attribute| attribute.name.clone()).collect();
        let missing = rows.iter().filter(|row| !known.contains(&row.attribute));
        let missing: Vec<_> = missing.map(Row::attribute).collect();
        if missing.is_empty() {
            return Ok(());
        }
        list.extend(missing);
        let patch = DevicePatch { attributes: Some(list.try_into()?), ..DevicePatch::default() };
        self.client.patch(id, &patch, Shape::default()).await?;
        Ok(())
    }

    /// Fails if the device cannot have peripherals.
    async fn check_gateway(&self, gateway: DeviceId) -> anyhow::Result<()> {
        let found = self.client.get(gateway, Shape::default()).await?;
        if matches!(&*found.device_class, "gateway" | "edgeCompute") {
            return Ok(());
        }
        let class = found.device_class.escape_debug();
        Err(Usage::new(format!(
            "device {gateway} has the class {class}; only a gateway has peripherals; create a \
             device of the class gateway in Losant and set losant.device_id"
        ))
        .into())
    }
}
