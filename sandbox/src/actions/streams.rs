//! `commandStream` and `stateStream`: what happens from now on.

use crate::call::Call;
use crate::reply::{Refusal, Reply};
use crate::stream;

use super::histories;

pub(super) fn commands(call: &Call<'_>) -> Result<Reply, Refusal> {
    let keep_alive = call.query.keep_alive()?;
    let feed = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
        device.command_feed.subscribe()
    };
    let show = histories::command;
    Ok(Reply::Events(stream::events(call.cloud, "deviceCommand", feed, show, keep_alive)))
}

pub(super) fn states(call: &Call<'_>) -> Result<Reply, Refusal> {
    let keep_alive = call.query.keep_alive()?;
    let feed = {
        let store = call.cloud.store();
        let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
        device.state_feed.subscribe()
    };
    let show = histories::state;
    Ok(Reply::Events(stream::events(call.cloud, "deviceState", feed, show, keep_alive)))
}
