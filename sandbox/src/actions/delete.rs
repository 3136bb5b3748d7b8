//! `delete`: the device and all that happened to it are gone, its streams end, its key is refused.

use crate::call::Call;
use crate::event::Event;
use crate::reply::{Refusal, Reply};

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
    let device_id = device.spec.device_id.to_ascii_lowercase();
    store.commit(Event::Deleted { device_id });
    Ok(Reply::success())
}
