//! Keeps the states of counters over a restart: a table of the outbox.
//!
//! A commit contains the states of counters together with the values that follow from them, so a
//! kill neither loses nor doubles a count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tracing::{info, warn};

use tidegate_ingest::mapping::{CounterRow, Pipeline};
use tidegate_model::Name;
use tidegate_outbox::{Outbox, RowChange};

/// The outbox table with the states of counters.
pub(super) const TABLE: &str = "counters";

/// The most rows. Rows of up to 1 KiB then fit into a table. Further counters start anew after a
/// restart.
const ROWS_MAX: usize = 16_000;

/// The longest row in bytes, with its key.
const ROW_BYTES_MAX: usize = 1_024;

/// The rows of the table, and their changes for the next commit.
#[derive(Default)]
pub(super) struct Counters {
    keys: BTreeSet<Vec<u8>>,
    changes: Vec<RowChange>,
    is_full: bool,
}

impl Counters {
    /// Gives the stored states to the pipelines. The next commit removes those of no pipeline.
    pub(super) fn restore(
        outbox: &Outbox,
        pipelines: &mut BTreeMap<Name, Pipeline>,
        now: Instant,
    ) -> Self {
        let rows = outbox.rows(TABLE).unwrap_or_else(|error| {
            warn!(%error, "cannot read the states of counters; they start anew");
            Vec::new()
        });
        let mut counters = Self::default();
        for (key, value) in rows {
            let is_used = split(&key).is_some_and(|(bus, name)| {
                let row = CounterRow { key: name.to_owned(), value };
                let pipeline = pipelines.iter_mut().find(|(name, _)| &***name == bus);
                pipeline.is_some_and(|(_, pipeline)| pipeline.restore_counter(&row, now))
            });
            if is_used {
                counters.keys.insert(key);
            } else {
                info!(key = %String::from_utf8_lossy(&key), "removing the state of a counter that \
                     is not configured");
                counters.changes.push((key, None));
            }
        }
        counters
    }

    /// Adds the changes of the pipeline of a bus.
    pub(super) fn collect(&mut self, bus: &Name, pipeline: &mut Pipeline) {
        for CounterRow { key, value } in pipeline.take_counter_changes() {
            let key = format!("{bus}/{key}").into_bytes();
            let has_room = self.keys.len() < ROWS_MAX || self.keys.contains(&key);
            if !has_room || key.len() + value.len() > ROW_BYTES_MAX {
                if !std::mem::replace(&mut self.is_full, true) {
                    warn!(
                        rows_max = ROWS_MAX,
                        "too many counters; some start anew after a restart"
                    );
                }
                continue;
            }
            self.keys.insert(key.clone());
            self.changes.push((key, Some(value)));
        }
    }

    /// Takes the changes that the next commit writes.
    pub(super) fn take_changes(&mut self) -> Vec<RowChange> {
        std::mem::take(&mut self.changes)
    }
}

/// Returns the bus and the key of a counter on it.
fn split(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once('/')
}
