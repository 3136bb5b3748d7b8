//! How the daemon is: what the tasks tell, and what is told of it to those who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::control::{Answer, Method, Routes};
use crate::logic::history::Record;
use crate::model::{Ledger, Name};
use crate::outbox::{Amount, Outbox};

/// How many commands the board shows.
const RECENT_MAX: usize = 50;

/// The link to the cloud.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CloudStatus {
    /// Whether the last call reached the cloud; null before the first.
    pub online: Option<bool>,
    /// `sendState` calls that the cloud confirmed.
    pub batches: u64,
    /// States in them.
    pub states_stored: u64,
    /// Readings in these.
    pub readings_stored: u64,
}

/// The time of day.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClockStatus {
    /// Why it is taken to be right: `kernel`, `cloud`, `resumed` or `always`; `waiting` while it is not known.
    pub trust: &'static str,
}

/// Commands since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommandStatus {
    /// All that came, each once.
    pub received: u64,
    /// Came again, as when the history is read after a gap.
    pub duplicates: u64,
    /// Written to an actuator.
    pub executed: u64,
    /// Meant for an actuator that did not take the write.
    pub failed: u64,
    /// Under way when the daemon ended, this one or an earlier one.
    pub interrupted: u64,
    /// Not run, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Reloads of the configuration since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadStatus {
    /// How many were asked for, good or not.
    pub count: u64,
    /// What was wrong the last time; nothing was changed then.
    pub problems: Vec<String>,
    /// Which keys changed the last time.
    pub changed: Vec<String>,
    /// Which of all keys that changed since the start wait for the next start.
    pub next_start: Vec<String>,
}

/// What the tasks tell of themselves. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Notes>>);

/// The board's content.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Notes {
    /// The link to the cloud.
    pub cloud: CloudStatus,
    /// The time of day.
    pub clock: ClockStatus,
    /// Commands.
    pub commands: CommandStatus,
    /// Open command streams, by device.
    pub streams: BTreeMap<Name, bool>,
    /// The last commands, newest first.
    #[serde(rename = "command_history")]
    pub recent: Vec<Record>,
    /// Reloads.
    pub reload: ReloadStatus,
}

impl Board {
    /// The last of these commands, newest first, as the board shows them.
    pub fn recent<'a>(records: impl DoubleEndedIterator<Item = &'a Record>) -> Vec<Record> {
        records.rev().take(RECENT_MAX).cloned().collect()
    }

    /// Looks at the board, or changes it.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits in the outbox.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct OutboxStatus {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
}

impl OutboxStatus {
    /// Of this outbox now.
    pub fn of(outbox: &Outbox) -> Self {
        let Amount { states, readings, bytes } = outbox.backlog().total;
        Self { states, readings, bytes }
    }
}

#[derive(Serialize)]
struct Document {
    version: &'static str,
    outbox: OutboxStatus,
    ledger: Ledger,
    #[serde(flatten)]
    notes: Notes,
}

/// What a look at the daemon needs.
#[derive(Debug)]
pub struct Sources {
    /// What the tasks tell.
    pub board: Board,
    /// What waits.
    pub outbox: Arc<Outbox>,
}

impl Sources {
    /// Puts what is told at its paths.
    pub fn register(self, routes: &mut Routes) {
        let sources = Arc::new(self);
        routes.put(Method::GET, "/status", move |_| {
            std::future::ready(Answer::json(&sources.document()))
        });
    }

    fn document(&self) -> Document {
        Document {
            version: env!("CARGO_PKG_VERSION"),
            outbox: OutboxStatus::of(&self.outbox),
            ledger: self.outbox.ledger(),
            notes: self.board.notes().clone(),
        }
    }
}
