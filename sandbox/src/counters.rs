//! The counters of a sandbox.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts events since the sandbox started. Counters never decrease.
///
/// A *state* is one element of a body; a *value* is one attribute in it. For the states in accepted
/// bodies this holds:
/// `states_received = states_stored + states_overwritten + states_too_old + states_too_far_ahead +
/// states_without_values + states_lost`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Calls by Losant's name of the action, with any response.
    pub calls: BTreeMap<&'static str, u64>,
    /// Responses by HTTP status, without the responses that a fault lost.
    pub responses: BTreeMap<u16, u64>,
    /// States in accepted bodies.
    pub states_received: u64,
    /// States that created an entry (a device and a millisecond without one).
    pub states_stored: u64,
    /// States that were merged into an entry of the same device and millisecond.
    pub states_overwritten: u64,
    /// States ignored because they are more than 30 days old.
    pub states_too_old: u64,
    /// States ignored because they are more than a day in the future.
    pub states_too_far_ahead: u64,
    /// States without a value that could be stored.
    pub states_without_values: u64,
    /// States of which a silent loss took all values.
    pub states_lost: u64,
    /// Values that a silent loss took.
    pub values_lost: u64,
    /// Distinct values stored: one for each device, millisecond and attribute.
    pub values_stored: u64,
    /// Values that replaced a value of the same device, millisecond and attribute.
    pub values_overwritten: u64,
    /// Values ignored because their attribute is not declared.
    pub values_undeclared: u64,
    /// Values ignored because their attribute has another type.
    pub values_mistyped: u64,
    /// Values that were converted to the type of their attribute.
    pub values_converted: u64,
    /// Workflow runs that Losant would have started; a state that is sent twice starts two.
    pub workflow_triggers: u64,
    /// Accepted commands from all senders.
    pub commands_received: u64,
    /// Bodies rejected by a schema.
    pub schema_rejections: u64,
    /// Bodies rejected because of their size.
    pub oversize_rejections: u64,
    /// Calls rejected by a throttle.
    pub throttled: u64,
    /// Calls rejected by a throttle, by Losant's name of the action.
    pub throttled_calls: BTreeMap<&'static str, u64>,
    /// Connections that a fault dropped without a response.
    pub dropped_calls: u64,
    /// Responses that a fault lost after the action was executed.
    pub lost_responses: u64,
    /// Export callbacks that received a success.
    pub callbacks_made: u64,
    /// Export callbacks that failed.
    pub callbacks_failed: u64,
    /// The error of the latest failed callback.
    pub callback_error: Option<String>,
    /// The `Last-Event-ID` of the latest call that had one.
    pub last_event_id: Option<String>,
    /// Stream readers disconnected because they read too slowly.
    pub slow_readers: u64,
}
