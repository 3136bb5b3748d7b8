//! `commandStream` and `stateStream`: stream the commands or states that follow.

use crate::call::Call;
use crate::reply::{ApiError, Reply};
use crate::{shapes, stream};

pub(super) fn commands(call: &Call<'_>) -> Result<Reply, ApiError> {
    let keep_alive = call.query.keep_alive()?;
    let feed = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
        device.command_feed.subscribe()
    };
    let shape = shapes::command;
    Ok(Reply::Events(stream::events(call.cloud, "deviceCommand", feed, shape, keep_alive)))
}

pub(super) fn states(call: &Call<'_>) -> Result<Reply, ApiError> {
    let keep_alive = call.query.keep_alive()?;
    let feed = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
        device.state_feed.subscribe()
    };
    let shape = shapes::state;
    Ok(Reply::Events(stream::events(call.cloud, "deviceState", feed, shape, keep_alive)))
}
