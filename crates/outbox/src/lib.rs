//! The outbox: the durable queue in which each state waits until Losant has confirmed it.
//!
//! The crate blocks on the disk and knows no async runtime. A journal of its own takes each commit;
//! behind it lie stores, small sled databases with the states that are queued for longer. The
//! states of a device from one commit are stored in *blocks*, which describe themselves and end
//! with a checksum. The sequence numbers of a device start at 1 and never repeat. Callers
//! acknowledge ranges of them; a block stays until all of its states have left the queue.
//!
//! Invariants:
//! - When [`Outbox::append`] returns, the commit is on disk: its frame is written and synced.
//! - A commit is stored completely or not at all, with its counts, fingerprints and rows.
//! - Ledger and queues agree: for each bus
//!   `received + generated = waiting + stored + rejected + dropped + filtered`.
//! - Memory holds an entry for each queued block, not for each state.
//! - A failed change changes nothing, and the next change goes to another file.
//! - Reading never writes: a read opens no sled database whose blocks the scan of its files found.
//! - One change runs at a time; the counts can be read without waiting for the disk.
//! - [`Outbox::sync_states`] syncs without the lock, so reads and changes go on meanwhile.
//!   [`Outbox::append`] syncs under the lock: if the sync fails, the commit must not be visible.
//!
//! A debug build checks the ledger and the index after each commit.
//!
//! An acknowledgement alone is not synced. After a power cut the reporter may send states again,
//! with the same bytes.
//!
//! The modules use each other only downwards: `rejects` uses `outbox`; `outbox` uses `counts`,
//! `make_room`, `repair` and `recover`; these use `downsample`, `eviction` and `removal`, then
//! `disk`, then `transaction`, the formats (`block`, `chunk`, `frame`, `catalog`, `fingerprints`)
//! and the files (`segment`, `store`, `sync`).

mod block;
mod catalog;
mod chunk;
mod counts;
mod disk;
mod downsample;
mod error;
mod eviction;
mod exclusions;
mod fingerprints;
mod frame;
mod index;
mod ledger_json;
mod make_room;
mod outbox;
mod ranges;
mod recover;
mod rejects;
mod removal;
mod repair;
mod segment;
mod store;
mod sync;
#[cfg(test)]
mod tests;
mod transaction;
mod types;

pub use catalog::REJECTS_MAX;
pub use error::{Error, OpenError};
pub use outbox::Outbox;
pub use ranges::RANGES_MAX;
pub use rejects::Refusal;
pub use types::{
    Amount, Appended, Commit, IgnoredValues, JOURNAL_BYTES, NewState, Options, QueueChange,
    QueueChanges, QueueSizes, QueuedState, ROW_BYTES_MAX, Reject, Removed, Row, RowChange,
    SEGMENT_BYTES, TABLE_BYTES_MAX,
};
