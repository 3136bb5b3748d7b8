//! `GET` of the device: what it is, and whether it is connected.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::query::Query;
use crate::reply::{Refusal, Reply};
use crate::store::DeviceRecord;
use crate::time::to_iso;
use crate::world::{Attribute, Tag};

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
    let with_connection = !call.query.is_on("excludeConnectionInfo");
    Ok(Reply::Json("device", show(device, &call.query, with_connection)))
}

/// The device as the schema `device` has it, with tags and attributes as objects if asked.
pub(super) fn show(device: &DeviceRecord, query: &Query, with_connection: bool) -> Value {
    let spec = &device.spec;
    let mut shown = json!({
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
    if let Some(object) = shown.as_object_mut() {
        for (name, value) in optional {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
    }
    shown
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

/// As an object: of each key all its values.
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

/// As an object: by name, and without it inside.
fn attributes(declared: &[Attribute], as_object: bool) -> Value {
    if !as_object {
        return json!(declared);
    }
    let by_name = |attribute: &Attribute| {
        let mut shown = json!(attribute);
        if let Some(object) = shown.as_object_mut() {
            object.remove("name");
        }
        (attribute.name.clone(), shown)
    };
    Value::Object(declared.iter().map(by_name).collect::<Map<_, _>>())
}
