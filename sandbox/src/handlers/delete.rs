//! `delete`: removes the device and its histories, ends its streams, and revokes its key.

use crate::call::Call;
use crate::event::Event;
use crate::reply::{ApiError, Reply};

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let mut store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
    let device_id = device.spec.device_id.to_ascii_lowercase();
    store.commit(Event::Deleted { device_id });
    Ok(Reply::success())
}
