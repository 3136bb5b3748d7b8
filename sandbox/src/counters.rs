//! What happened, in figures, since the sandbox started.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that the sandbox counts; it only ever grows.
///
/// A *state* is one element of a body; a *value* is one attribute in it. So, of the states in
/// bodies that were accepted:
/// `states_received = states_stored + states_overwritten + states_too_old + states_too_far_ahead +
/// states_without_values`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Calls that reached each action, by Losant's name of it, whatever was answered.
    pub calls: BTreeMap<&'static str, u64>,
    /// Answers by HTTP status; an answer that was lost on purpose is not here.
    pub answers: BTreeMap<u16, u64>,
    /// States in accepted bodies.
    pub states_received: u64,
    /// States that made a new entry (a device and a millisecond without one).
    pub states_stored: u64,
    /// States that were merged into an entry of the same device and millisecond.
    pub states_overwritten: u64,
    /// States ignored because they were older than 30 days.
    pub states_too_old: u64,
    /// States ignored because they lay more than a day ahead.
    pub states_too_far_ahead: u64,
    /// States that had no value left to store.
    pub states_without_values: u64,
    /// Distinct values stored: one for each device, millisecond and attribute.
    pub values_stored: u64,
    /// Values that replaced one of the same device, millisecond and attribute.
    pub values_overwritten: u64,
    /// Values ignored because their attribute is not declared.
    pub values_undeclared: u64,
    /// Values ignored because they are not of the attribute's type.
    pub values_mistyped: u64,
    /// Values of another type that were converted to the attribute's.
    pub values_converted: u64,
    /// Runs of a workflow that a state would have triggered; a state that is sent twice runs twice.
    pub workflow_triggers: u64,
    /// Commands accepted, from any sender.
    pub commands_received: u64,
    /// Bodies refused by a schema.
    pub schema_refusals: u64,
    /// Bodies refused for their size.
    pub oversize_refusals: u64,
    /// Calls refused by a throttle.
    pub throttled: u64,
    /// The same by action, by Losant's name of it.
    pub throttled_calls: BTreeMap<&'static str, u64>,
    /// Connections dropped without an answer, on purpose.
    pub dropped_calls: u64,
    /// Answers lost after their action was done, on purpose.
    pub lost_answers: u64,
    /// Callbacks of exports that were answered with a success.
    pub callbacks_made: u64,
    /// Callbacks of exports that were not.
    pub callbacks_failed: u64,
    /// What became of the latest of those.
    pub callback_error: Option<String>,
    /// The newest `Last-Event-ID` that a call came with.
    pub last_event_id: Option<String>,
    /// Stream readers cut off because they did not keep up.
    pub slow_readers: u64,
}
