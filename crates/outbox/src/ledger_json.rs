//! Encodes a ledger as JSON with the names of its counts, so that later versions can add counts.
//!
//! Each commit and each confirmation writes the accounts that it changes, so counts of 0 are left
//! out.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

use tidegate_model::{Account, Ledger, Reason};

/// The counts of an [`Account`] that are not 0.
#[derive(Serialize)]
struct Counts<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    received: u64,
    #[serde(skip_serializing_if = "is_zero")]
    outbox_in: u64,
    #[serde(skip_serializing_if = "is_zero")]
    stored: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rejected: &'a BTreeMap<Reason, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    skipped: &'a BTreeMap<Reason, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dropped: &'a BTreeMap<Reason, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    filtered: &'a BTreeMap<Reason, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    generated: u64,
    #[serde(skip_serializing_if = "is_zero")]
    duplicates: u64,
}

impl<'a> From<&'a Account> for Counts<'a> {
    fn from(account: &'a Account) -> Self {
        let Account { received, outbox_in, stored, rejected, skipped, dropped, filtered, .. } =
            account;
        Self {
            received: *received,
            outbox_in: *outbox_in,
            stored: *stored,
            rejected,
            skipped,
            dropped,
            filtered,
            generated: account.generated,
            duplicates: account.duplicates,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

pub(super) fn serialize<S: Serializer>(ledger: &Ledger, serializer: S) -> Result<S::Ok, S::Error> {
    let counts: BTreeMap<_, _> =
        ledger.iter().map(|(bus, account)| (bus, Counts::from(account))).collect();
    serde_json::to_vec(&counts).map_err(S::Error::custom)?.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ledger, D::Error> {
    let bytes = Vec::<u8>::deserialize(deserializer)?;
    serde_json::from_slice(&bytes).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger in a journal.
    #[derive(Serialize, serde::Deserialize)]
    struct Stored(#[serde(with = "super")] Ledger);

    fn encode(account: Account) -> Vec<u8> {
        let stored = Stored([("a".parse().unwrap(), account)].into());
        postcard::to_stdvec(&stored).unwrap()
    }

    #[test]
    fn counts_survive_and_zeros_are_left_out() {
        let counts = |readings| BTreeMap::from([(Reason::TooOld, readings)]);
        let account = Account {
            received: 1,
            outbox_in: 2,
            stored: 3,
            rejected: counts(4),
            skipped: counts(5),
            dropped: counts(6),
            filtered: counts(7),
            generated: 8,
            duplicates: 9,
        };
        for account in [account, Account::default()] {
            let Stored(ledger) = postcard::from_bytes(&encode(account.clone())).unwrap();
            assert_eq!(ledger["a"], account);
        }
        let account = Account { received: 7, ..Account::default() };
        assert_eq!(encode(account)[1..], *br#"{"a":{"received":7}}"#);
    }
}
