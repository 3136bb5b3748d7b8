//! `GET` of the device: what it is, and whether it is connected.

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::store::DeviceRecord;
use crate::time::to_iso;
use crate::world::Attribute;

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
    let spec = &device.spec;
    let mut shown = json!({
        "id": spec.device_id,
        "deviceId": spec.device_id,
        "applicationId": call.cloud.settings.application_id,
        "creationDate": to_iso(device.created_ms),
        "lastUpdated": to_iso(device.created_ms),
        "name": spec.name,
        "description": "",
        "deviceClass": spec.device_class,
        "tags": if call.query.is_on("tagsAsObject") { json!({}) } else { json!([]) },
        "attributes": attributes(&spec.attributes, call.query.is_on("attributesAsObject")),
    });
    if let Some(object) = shown.as_object_mut() {
        if let Some(gateway_id) = &spec.gateway_id {
            object.insert("gatewayId".to_owned(), json!(gateway_id));
        }
        if !call.query.is_on("excludeConnectionInfo") {
            object.insert("connectionInfo".to_owned(), connection_info(device));
        }
    }
    Ok(Reply::Json("device", shown))
}

/// The latest entry of the connection log; `connected` is null for a device that has none.
fn connection_info(device: &DeviceRecord) -> Value {
    match device.log.last() {
        Some(entry) => {
            json!({"time": to_iso(entry.time_ms), "connected": u8::from(entry.connected)})
        }
        None => json!({"time": to_iso(device.created_ms), "connected": null}),
    }
}

fn attributes(declared: &[Attribute], as_object: bool) -> Value {
    if as_object {
        let by_name = |attribute: &Attribute| {
            (attribute.name.clone(), json!({"dataType": attribute.data_type}))
        };
        Value::Object(declared.iter().map(by_name).collect::<Map<_, _>>())
    } else {
        json!(declared)
    }
}
