//! The states, counts and acknowledgements of the next commit.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::mpsc;

use tidegate_bus::Ack;
use tidegate_model::{Ledger, Name};
use tidegate_outbox::NewState;

/// The number of states that makes a commit early.
const STATES_MAX: usize = 4_096;

/// The bytes of states that make a commit early.
const BYTES_MAX: usize = 1 << 20;

/// Receives the number of a command once its result is on disk.
pub(super) type Receipt = (u64, mpsc::Sender<u64>);

/// The content of the next commit.
#[derive(Default)]
pub(super) struct Group {
    pub(super) ledger: Ledger,
    /// The positions up to which logs were read.
    pub(super) checkpoints: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    states: Vec<NewState>,
    bytes: usize,
    notices: Notices,
}

/// The acknowledgements and receipts of a commit, to be sent once its states are safe.
#[derive(Default)]
pub(super) struct Notices {
    /// In the order of arrival, with the name of the bus.
    pub(super) acks: Vec<(Name, Ack)>,
    pub(super) receipts: Vec<Receipt>,
    /// The arrival of the first part of the commit.
    pub(super) since: Option<Instant>,
    /// Whether a sender waits for the commit outside of a session.
    pub(super) is_awaited: bool,
}

impl Group {
    pub(super) fn push(&mut self, state: NewState) {
        self.bytes += state.json.len();
        self.states.push(state);
    }

    /// Adds the acknowledgement of a message, to be sent once the commit is safe.
    pub(super) fn acknowledge_later(&mut self, bus: Name, ack: Ack, now: Instant) {
        self.notices.is_awaited |= ack.is_awaited();
        self.notices.acks.push((bus, ack));
        self.start_timer(now);
    }

    /// Adds the receipt of a command, to be sent once the commit is safe.
    pub(super) fn confirm_later(&mut self, receipt: Receipt) {
        self.notices.receipts.push(receipt);
        self.notices.is_awaited = true;
    }

    /// Returns whether the commit must not wait for the commit interval.
    pub(super) fn is_full(&self) -> bool {
        self.states.len() >= STATES_MAX || self.bytes >= BYTES_MAX
    }

    /// Returns the arrival of the first part; `None` if there is nothing to commit.
    pub(super) fn since(&self) -> Option<Instant> {
        self.notices.since
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.notices.is_awaited
    }

    /// Starts the commit interval, unless it runs already.
    pub(super) fn start_timer(&mut self, now: Instant) {
        self.notices.since.get_or_insert(now);
    }

    /// Takes the states and the notices.
    pub(super) fn take_states(&mut self) -> (Vec<NewState>, Notices) {
        self.bytes = 0;
        (std::mem::take(&mut self.states), std::mem::take(&mut self.notices))
    }

    /// Takes the ledger. Each value in it was queued or has a reason.
    pub(super) fn take_ledger(&mut self) -> Ledger {
        let ledger = std::mem::take(&mut self.ledger);
        debug_assert!(
            ledger.values().all(|account| account.is_balanced(account.outbox_in)),
            "{ledger:?}"
        );
        ledger
    }
}
