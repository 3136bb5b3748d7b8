//! The parts of the daemon's status documents that the demo shows and counts.
//!
//! The parser is lenient: missing fields are zero and unknown fields are ignored. If a field is
//! renamed, the final report fails.

use std::collections::BTreeMap;

use serde_json::Value;

/// The status of the daemon; missing fields are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Whether the cloud is reachable.
    pub(crate) online: bool,
    /// Batches that the cloud accepted.
    pub(crate) batches: u64,
    /// The content of the outbox.
    pub(crate) outbox: QueueStatus,
    /// The ledger by bus.
    pub(crate) ledger: BTreeMap<String, Ledger>,
}

/// The amount of data in the outbox.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueueStatus {
    /// Queued states.
    pub(crate) states: u64,
    /// Readings (attribute values) in these states.
    pub(crate) readings: u64,
    /// Bytes in use.
    pub(crate) bytes: u64,
}

/// The ledger of one bus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Readings that the daemon received.
    pub(crate) received: u64,
    /// Readings that were rejected, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Readings that were dropped, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl Status {
    /// Parses the document of the status socket.
    pub(crate) fn from_socket(value: &Value) -> Self {
        Self {
            online: value.pointer("/cloud/online").and_then(Value::as_bool).unwrap_or_default(),
            batches: number(value, "/cloud/batches"),
            outbox: value.get("outbox").map(QueueStatus::from_json).unwrap_or_default(),
            ledger: ledger(value.get("ledger")),
        }
    }

    /// Parses the document of `outbox status --json`.
    pub(crate) fn from_outbox(value: &Value) -> Self {
        let (outbox, ledger) = (QueueStatus::from_json(value), ledger(value.get("ledger")));
        Self { outbox, ledger, ..Self::default() }
    }

    /// Returns the readings that the daemon received on `bus`.
    pub(crate) fn received(&self, bus: &str) -> u64 {
        self.ledger.get(bus).map_or(0, |ledger| ledger.received)
    }
}

impl QueueStatus {
    fn from_json(value: &Value) -> Self {
        Self {
            states: number(value, "/states"),
            readings: number(value, "/readings"),
            bytes: number(value, "/bytes"),
        }
    }
}

fn ledger(value: Option<&Value>) -> BTreeMap<String, Ledger> {
    let buses = value.and_then(Value::as_object).into_iter().flatten();
    buses
        .map(|(bus, value)| {
            let ledger = Ledger {
                received: number(value, "/received"),
                rejected: reasons(value.get("rejected")),
                dropped: reasons(value.get("dropped")),
            };
            (bus.clone(), ledger)
        })
        .collect()
}

fn reasons(value: Option<&Value>) -> BTreeMap<String, u64> {
    let reasons = value.and_then(Value::as_object).into_iter().flatten();
    reasons.filter_map(|(reason, count)| Some((reason.clone(), count.as_u64()?))).collect()
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_all_fields_of_the_status_document() {
        let status = Status::from_socket(&json!({
            "outbox": {"states": 3, "readings": 7, "bytes": 900},
            "ledger": {"probe": {"received": 40, "outbox_in": 38,
                "rejected": {"schema": 1}, "dropped": {"too old": 1}}},
            "cloud": {"online": true, "batches": 12},
        }));
        assert!(status.online);
        assert_eq!((status.batches, status.outbox.readings), (12, 7));
        assert_eq!(status.received("probe"), 40);
        let probe = &status.ledger["probe"];
        assert_eq!((probe.rejected["schema"], probe.dropped["too old"]), (1, 1));
    }

    #[test]
    fn missing_status_fields_are_zero() {
        let status = Status::from_socket(&json!({"ledger": {"probe": {"rejected": "none"}}}));
        assert!(!status.online);
        assert_eq!((status.outbox.states, status.received("probe")), (0, 0));
        assert_eq!(status.received("another"), 0);
    }
}
