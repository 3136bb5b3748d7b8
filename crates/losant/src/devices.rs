//! The actions on the devices of an application: list them, and create one.
//!
//! The daemon uses neither of them. `tidegate provision` and `tidegate setup` call them with an
//! application token.

use serde_json::{Map, Value};

use super::body::{DeviceClass, DevicePost};
use super::call::{Answer, Call};
use super::request::{DevicesAction, Request};
use super::session::Client;
use tidegate_model::DeviceId;

/// The size of a page: the largest that Losant accepts (rest-api/devices, "Get").
const PER_PAGE: usize = 1_000;

/// The most pages to read, which bounds the calls and the memory.
const PAGES_MAX: usize = 20;

/// A device in the list of an application: the part of the schema `devices` that tidegate uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDevice {
    /// The id.
    pub id: DeviceId,
    /// The name.
    pub name: String,
    /// The gateway, if it is a peripheral.
    pub gateway: Option<DeviceId>,
}

impl Client {
    /// Creates a device and returns it with its new id.
    pub fn create_device(&self, device: &DevicePost) -> Call<'_, ListedDevice> {
        Call::new(self, Request::to_devices(DevicesAction::Post).json(device))
    }

    /// Reads the first 20,000 peripherals of the application.
    ///
    /// # Errors
    /// Fails if a call fails, or if an answer is not a list of devices.
    pub async fn peripherals(&self) -> Result<Vec<ListedDevice>, super::Error> {
        let mut devices = Vec::new();
        for page in 0..PAGES_MAX {
            let found = self.page(page, DeviceClass::Peripheral).await?;
            let is_last = found.len() < PER_PAGE;
            devices.extend(found);
            if is_last {
                break;
            }
        }
        Ok(devices)
    }

    fn page(&self, page: usize, class: DeviceClass) -> Call<'_, Vec<ListedDevice>> {
        let class = serde_json::to_value(class).unwrap_or_default();
        let query = vec![
            ("deviceClass", class.as_str().unwrap_or_default().to_owned()),
            ("excludeConnectionInfo", "true".to_owned()),
            ("page", page.to_string()),
            ("perPage", PER_PAGE.to_string()),
        ];
        Call::new(self, Request::to_devices(DevicesAction::Get).query(query))
    }
}

impl ListedDevice {
    fn read(device: &Map<String, Value>) -> Option<Self> {
        let text = |key| device.get(key).and_then(Value::as_str);
        let gateway = text("gatewayId").and_then(|id| id.parse().ok());
        let id = text("deviceId").or_else(|| text("id"))?.parse().ok()?;
        Some(Self { id, name: text("name")?.to_owned(), gateway })
    }
}

impl Answer for ListedDevice {
    const EXPECTED: &'static str = "a device";

    fn parse(_: DeviceId, body: &[u8]) -> Option<Self> {
        Self::read(&serde_json::from_slice(body).ok()?)
    }
}

impl Answer for Vec<ListedDevice> {
    const EXPECTED: &'static str = "a list of devices";

    fn parse(_: DeviceId, body: &[u8]) -> Option<Self> {
        let list: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let items = list.get("items")?.as_array()?;
        items.iter().map(|item| ListedDevice::read(item.as_object()?)).collect()
    }
}
