//! Compares what the daemon counts as stored with what the cloud holds.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tidegate_sandbox::{Counters, Sandbox};

/// Compares the ledger of a daemon with the values in its cloud. The default compares nothing.
#[derive(Clone, Default)]
pub(crate) struct CloudCheck(Option<Arc<dyn Fn() -> Counters + Send + Sync>>);

impl CloudCheck {
    /// Creates the check for the daemon that sends to this cloud.
    pub(crate) fn new(cloud: &Sandbox) -> Self {
        Self(Some(Arc::new(cloud.counter_reader())))
    }

    /// Asserts that the cloud holds each value that the ledger in `document` counts as stored, and
    /// ignored none.
    ///
    /// The cloud may hold more: a value whose answer was lost, or one that a test sent itself.
    pub(crate) fn assert_holds(&self, document: &Value) {
        let Some(counters) = self.0.as_ref().map(|read| read()) else { return };
        let ledger = document["ledger"].as_object().into_iter().flatten();
        let stored: u64 = ledger.filter_map(|(_, account)| account["stored"].as_u64()).sum();
        assert!(
            stored <= counters.values_stored,
            "{stored} values are counted as stored, but the cloud holds fewer: {counters:?}"
        );
        let ignored = counters.values_undeclared
            + counters.values_mistyped
            + counters.states_too_old
            + counters.states_too_far_ahead
            + counters.states_without_values;
        assert_eq!(ignored, 0, "the cloud ignored values of the daemon: {counters:?}");
    }
}

impl fmt::Debug for CloudCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CloudCheck")
    }
}
