//! Starts the tasks of buses.

use std::sync::Arc;

use serde_json::json;

use crate::status::{OutboxStatus, StatusRegistry};
use tidegate_bus::{BusContext, BusHandle, GatewayChannels, driver};
use tidegate_config::BusKind;
use tidegate_outbox::Outbox;
use tidegate_runtime::supervisor::Supervisor;

/// Starts the task of one bus. Returns the handle for writes to it.
pub(super) fn spawn_bus(
    supervisor: &mut Supervisor,
    kind: &BusKind,
    context: BusContext,
) -> BusHandle {
    let (handle, writes) = BusHandle::new();
    supervisor.spawn(format!("bus {}", context.bus), driver(kind).task(context, writes));
    handle
}

/// Returns the source of the `gateway` channels of system buses.
pub(super) fn gateway_channels(status: StatusRegistry, outbox: Arc<Outbox>) -> GatewayChannels {
    Arc::new(move || {
        let cloud = status.data().cloud.clone();
        json!({
            "online": cloud.online.unwrap_or(false),
            "states_stored": cloud.states_stored,
            "outbox": OutboxStatus::of(&outbox),
        })
    })
}
