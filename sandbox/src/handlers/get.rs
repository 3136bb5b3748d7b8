//! `get`: returns the properties of the device and whether it is connected.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::devices::{Attribute, Tag};
use crate::query::Query;
use crate::reply::{ApiError, Reply};
use crate::store::DeviceRecord;
use crate::time::to_iso;

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
    let with_connection = !call.query.is_on("excludeConnectionInfo");
    Ok(Reply::json("device", device_shape(device, &call.query, with_connection)))
}

/// Renders the device (schema `device`); the query can request tags and attributes as objects.
pub(super) fn device_shape(device: &DeviceRecord, query: &Query, with_connection: bool) -> Value {
    let spec = &device.spec;
    let mut shape = json!({
        "id": spec.device_id,
        "deviceId": spec.device_id,
        "applicationId": device.application_id,
        "creationDate": to_iso(device.created_ms),
        "lastUpdated": to_iso(device.updated_ms),
        "name": spec.name,
        "description": spec.description,
        "deviceClass": spec.device_class,
        "tags": tags(&spec.tags, query.is_on("tagsAsObject")),
        "attributes": attributes(&spec.attributes, query.is_on("attributesAsObject")),
    });
    let optional = [
        ("gatewayId", spec.gateway_id.as_ref().map(|id| json!(id))),
        ("parentId", spec.parent_id.as_ref().map(|id| json!(id))),
        ("systemInterval", spec.system_interval.map(|seconds| json!(seconds))),
        ("keepDuplicates", spec.keep_duplicates.map(|keep| json!(keep))),
        ("connectionInfo", with_connection.then(|| connection_info(device))),
    ];
    if let Some(object) = shape.as_object_mut() {
        for (name, value) in optional {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
    }
    shape
}

/// Returns the latest entry of the connection log; `connected` is null when the log is empty.
fn connection_info(device: &DeviceRecord) -> Value {
    match device.log.last() {
        Some(entry) => {
            json!({"time": to_iso(entry.time_ms), "connected": u8::from(entry.connected)})
        }
        None => json!({"time": to_iso(device.created_ms), "connected": null}),
    }
}

/// Renders the tags; as an object, each key has an array of its values.
fn tags(tags: &[Tag], as_object: bool) -> Value {
    if !as_object {
        return json!(tags);
    }
    let mut by_key = BTreeMap::<_, Vec<_>>::new();
    for Tag { key, value } in tags {
        by_key.entry(key).or_default().push(value);
    }
    json!(by_key)
}

/// Renders the attributes; as an object, each is found by its name.
fn attributes(declared: &[Attribute], as_object: bool) -> Value {
    if !as_object {
        return json!(declared);
    }
    let by_name = |attribute: &Attribute| {
        let mut shape = json!(attribute);
        if let Some(object) = shape.as_object_mut() {
            object.remove("name");
        }
        (attribute.name.clone(), shape)
    };
    Value::Object(declared.iter().map(by_name).collect::<Map<_, _>>())
}
