//! `devices.get`: lists the devices of the application, a page at a time, by their names.

use serde_json::{Value, json};

use super::get;
use crate::call::Call;
use crate::devices::DeviceClass;
use crate::reply::{ApiError, Reply};
use crate::store::DeviceRecord;

/// The default size of a page (rest-api/devices, "Get").
const PER_PAGE_DEFAULT: i64 = 100;

/// The largest page (rest-api/devices, "Get").
const PER_PAGE_MAX: usize = 1_000;

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let count = |name: &str, default| {
        let number = call.query.integer(name)?.unwrap_or(default);
        let invalid = || ApiError::validation(format!("{name} must not be negative"));
        usize::try_from(number).map_err(|_| invalid())
    };
    let (page, per_page) = (count("page", 0)?, count("perPage", PER_PAGE_DEFAULT)?);
    let per_page = per_page.clamp(1, PER_PAGE_MAX);
    let class = call.query.text("deviceClass").map(class).transpose()?;
    let store = call.cloud.store();
    let has_class = |device: &&DeviceRecord| class.is_none_or(|it| it == device.spec.device_class);
    let mut devices: Vec<_> = store.devices_of(call.application_id).filter(has_class).collect();
    devices.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
    let shown = devices.iter().skip(page.saturating_mul(per_page)).take(per_page);
    let items: Vec<_> = shown.map(|device| get::device_shape(device, &call.query, true)).collect();
    let list = json!({
        "count": items.len(),
        "items": items,
        "totalCount": devices.len(),
        "perPage": per_page,
        "page": page,
        "sortField": "name",
        "sortDirection": "asc",
        "applicationId": call.application_id,
    });
    Ok(Reply::json("devices", list))
}

fn class(word: &str) -> Result<DeviceClass, ApiError> {
    let parsed = serde_json::from_value(Value::from(word));
    parsed.map_err(|_| ApiError::validation(format!("deviceClass {word} is not known")))
}
