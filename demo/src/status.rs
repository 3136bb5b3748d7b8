//! What the daemon says of itself, as much of it as the demo shows and counts.
//!
//! The documents are read leniently: what they lack is zero, what is new is ignored. The final
//! count tells whether that was right.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the daemon says of itself; what it does not say is zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Whether it reaches the cloud.
    pub(crate) online: bool,
    /// Batches that the cloud has accepted.
    pub(crate) batches: u64,
    /// What waits to be sent.
    pub(crate) outbox: Backlog,
    /// What became of the readings, by bus.
    pub(crate) ledger: BTreeMap<String, Ledger>,
}

/// How much an outbox holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlog {
    /// States.
    pub(crate) states: u64,
    /// Readings (attribute values) in these states.
    pub(crate) readings: u64,
    /// Bytes in use.
    pub(crate) bytes: u64,
}

/// What became of the readings of one bus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Readings that came in.
    pub(crate) received: u64,
    /// Readings that the cloud refused, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Readings given up, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl Status {
    /// Reads the document of the status socket.
    pub(crate) fn from_socket(value: &Value) -> Self {
        Self {
            online: value.pointer("/cloud/online").and_then(Value::as_bool).unwrap_or_default(),
            batches: number(value, "/cloud/batches"),
            outbox: value.get("outbox").map(Backlog::from_json).unwrap_or_default(),
            ledger: ledger(value.get("ledger")),
        }
    }

    /// Reads the document of `outbox status --json`.
    pub(crate) fn from_outbox(value: &Value) -> Self {
        let (outbox, ledger) = (Backlog::from_json(value), ledger(value.get("ledger")));
        Self { outbox, ledger, ..Self::default() }
    }

    /// Readings that came in on `bus`.
    pub(crate) fn received(&self, bus: &str) -> u64 {
        self.ledger.get(bus).map_or(0, |ledger| ledger.received)
    }
}

impl Backlog {
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
