//! The implementations of Losant's actions, one module for each action or group.

mod authenticate;
mod delete;
mod devices_get;
mod devices_post;
mod export;
mod get;
mod get_composite_state;
mod histories;
mod patch;
mod payload_counts;
mod remove_data;
mod send_command;
mod send_state;
mod set_connection_status;
mod streams;

use crate::action::Action;
use crate::call::Call;
use crate::reply::{ApiError, Reply};

/// Executes an action. The caller has checked the token and that the device exists.
pub(crate) fn execute(action: Action, call: &Call<'_>) -> Result<Reply, ApiError> {
    match action {
        Action::AuthenticateDevice => authenticate::execute(call),
        Action::CommandStream => streams::commands(call),
        Action::Get => get::execute(call),
        Action::GetCommand => histories::commands(call),
        Action::GetCompositeState => get_composite_state::execute(call),
        Action::GetLogEntries => histories::log(call),
        Action::GetState => histories::states(call),
        Action::SendCommand => send_command::execute(call),
        Action::SendState => send_state::execute(call),
        Action::SetConnectionStatus => set_connection_status::execute(call),
        Action::StateStream => streams::states(call),
        Action::DevicesGet => devices_get::execute(call),
        Action::DevicesPost => devices_post::execute(call),
        Action::Delete => delete::execute(call),
        Action::Export => export::execute(call),
        Action::Patch => patch::execute(call),
        Action::RemoveData => remove_data::execute(call),
        Action::PayloadCounts => payload_counts::sums(call),
        Action::PayloadCountsBreakdown => payload_counts::breakdown(call),
    }
}
