//! The states, counts and acknowledgements of the next commit.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::time::Instant;

use tidegate_bus::Ack;
use tidegate_model::Ledger;
use tidegate_outbox::NewState;

/// The number of states that makes a commit early.
const STATES_MAX: usize = 1_024;

/// The number of unacknowledged messages that makes a commit or a sync early.
///
/// mosquitto sends 20 messages ahead of their acknowledgements. With more it would stop until the
/// commit interval is over.
pub(super) const ACKS_MAX: usize = 16;

/// Receives the number of a command once its result is on disk.
pub(super) type Receipt = (u64, mpsc::Sender<u64>);

/// The content of the next commit.
#[derive(Default)]
pub(super) struct Group {
    pub(super) states: Vec<NewState>,
    pub(super) ledger: Ledger,
    pub(super) acks: Vec<Ack>,
    /// The positions up to which logs were read.
    pub(super) checkpoints: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) receipts: Vec<Receipt>,
    /// The arrival of the first part.
    pub(super) since: Option<Instant>,
}

impl Group {
    /// Adds the acknowledgement of a message, to be sent once the commit is safe.
    pub(super) fn acknowledge_later(&mut self, ack: Ack) {
        self.acks.push(ack);
        self.start_timer();
    }

    /// Returns whether the commit must not wait for the commit interval.
    pub(super) fn is_full(&self) -> bool {
        self.states.len() >= STATES_MAX || self.acks.len() >= ACKS_MAX
    }

    /// Starts the commit interval, unless it runs already.
    pub(super) fn start_timer(&mut self) {
        self.since.get_or_insert_with(Instant::now);
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
