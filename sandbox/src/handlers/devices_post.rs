//! `devices.post`: creates a device with a new id.

use rand::TryRng;
use rand::rngs::SysRng;
use serde::Deserialize;

use super::get;
use super::patch::{duplicate_attribute, seconds};
use crate::call::Call;
use crate::devices::{Attribute, DeviceClass, DeviceSpec, Tag};
use crate::event::Event;
use crate::reply::{ApiError, Reply};
use crate::store::Store;

/// A body that is valid by the schema `devicePost`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewDevice {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    attributes: Vec<Attribute>,
    device_class: Option<DeviceClass>,
    gateway_id: Option<String>,
    parent_id: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    system_interval: Option<u16>,
    keep_duplicates: Option<bool>,
}

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let body = call.json(&call.cloud.schemas.post)?;
    let new: NewDevice =
        serde_json::from_value(body).map_err(|error| call.reject(error.to_string()))?;
    let mut store = call.cloud.store();
    new.check(&store, call.application_id)?;
    let device_id = random_hex::<12>()?;
    store.commit(Event::Device {
        application_id: call.application_id.to_owned(),
        spec: Box::new(new.into_spec(&device_id)?),
        created_ms: call.now_ms,
        updated_ms: call.now_ms,
    });
    let device = store.device(&device_id).ok_or_else(|| ApiError::not_found("device"))?;
    Ok(Reply::Created { shape: "device", value: get::device_shape(device, &call.query, true) })
}

impl NewDevice {
    /// Checks the rules that the schema cannot express: attribute names are unique
    /// (devices/attributes), and the gateway of a peripheral is a gateway of the application
    /// (devices/gateways-peripherals).
    fn check(&self, store: &Store, application_id: &str) -> Result<(), ApiError> {
        if let Some(name) = duplicate_attribute(&self.attributes) {
            return Err(ApiError::validation(format!("attribute {name} occurs twice")));
        }
        let Some(gateway_id) = &self.gateway_id else { return Ok(()) };
        let gateway = store.devices_of(application_id).find(|device| {
            let spec = &device.spec;
            let is_gateway =
                matches!(spec.device_class, DeviceClass::Gateway | DeviceClass::EdgeCompute);
            is_gateway && spec.device_id.eq_ignore_ascii_case(gateway_id)
        });
        let is_known = gateway.is_some();
        is_known.then_some(()).ok_or_else(|| ApiError::validation("gatewayId is not a gateway"))
    }

    /// Returns the device. It has no known secret, because an access key is created separately.
    fn into_spec(self, device_id: &str) -> Result<DeviceSpec, ApiError> {
        let device_class = self.device_class.unwrap_or(DeviceClass::Standalone);
        Ok(DeviceSpec {
            description: self.description,
            tags: self.tags,
            gateway_id: self.gateway_id,
            parent_id: self.parent_id,
            system_interval: self.system_interval,
            keep_duplicates: self.keep_duplicates,
            key: device_id.to_owned(),
            secret: random_hex::<16>()?,
            attributes: self.attributes,
            ..DeviceSpec::new(device_id, &self.name, device_class)
        })
    }
}

fn random_hex<const BYTES: usize>() -> Result<String, ApiError> {
    let mut bytes = [0; BYTES];
    let filled = SysRng.try_fill_bytes(&mut bytes);
    filled.map_err(|error| ApiError::unavailable(error.to_string()))?;
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    Ok(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}
