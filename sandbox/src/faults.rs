//! Trouble on demand: which calls are to fail next, and whether the cloud is reachable at all.

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::actions::Action;

/// What happens to a call instead of, or besides, its action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The action is not done; this status and body are answered.
    Status(u16, String),
    /// The action is not done; this status, these headers and this body are answered.
    Answer {
        /// HTTP status.
        status: u16,
        /// Header names and values, such as `("retry-after", "3")`.
        headers: Vec<(String, String)>,
        /// Sent as it is.
        body: String,
    },
    /// The action is not done and the connection is dropped without an answer.
    Drop,
    /// The action is done, then the connection is dropped without an answer.
    LoseResponse,
    /// The action is done after this delay.
    Delay(Duration),
    /// The action is not done and nothing is ever answered; the connection stays open.
    Hang,
    /// The action is not done; 200, `text/event-stream`, and then these steps are answered.
    Script(Vec<Step>),
}

/// One step of a scripted answer body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends these bytes as one chunk.
    Send(Vec<u8>),
    /// Waits, connected and silent.
    Wait(Duration),
    /// Stays connected and silent for ever.
    Silence,
    /// Breaks the connection off in the middle of the body. (A script that runs out ends cleanly.)
    Cut,
}

/// How many faults one action may have in front of it; more are not taken.
const PLANNED_MAX: usize = 100_000;

/// What is wrong with the cloud at the moment.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    link: Mutex<Link>,
    planned: Mutex<BTreeMap<Action, VecDeque<Fault>>>,
}

/// The line to the clients.
#[derive(Debug, Default)]
struct Link {
    /// Cancelled while the cloud is dark.
    up: CancellationToken,
    streams: Endings,
}

/// The two ways in which the streams that are open now may end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings {
    /// Cancelled when they are to break off.
    pub(crate) cut: CancellationToken,
    /// Cancelled when they are to end properly.
    pub(crate) end: CancellationToken,
}

impl Faults {
    pub(crate) fn set_dark(&self, dark: bool) {
        let mut link = lock(&self.link);
        if dark {
            link.up.cancel();
            link.streams.cut.cancel();
        } else if link.up.is_cancelled() {
            *link = Link::default();
        }
    }

    /// Cancelled when the cloud goes dark; cancelled already while it is.
    pub(crate) fn link(&self) -> CancellationToken {
        lock(&self.link).up.clone()
    }

    pub(crate) fn cut_streams(&self) {
        mem::take(&mut lock(&self.link).streams).cut.cancel();
    }

    pub(crate) fn end_streams(&self) {
        mem::take(&mut lock(&self.link).streams).end.cancel();
    }

    /// How a stream that is opened now will be told to end.
    pub(crate) fn streams(&self) -> Endings {
        lock(&self.link).streams.clone()
    }

    pub(crate) fn plan(&self, action: Action, calls: usize, fault: Fault) {
        let mut planned = lock(&self.planned);
        let queue = planned.entry(action).or_default();
        let room = PLANNED_MAX.saturating_sub(queue.len());
        queue.extend(iter::repeat_n(fault, calls.min(room)));
    }

    pub(crate) fn clear(&self) {
        lock(&self.planned).clear();
    }

    /// The fault that this call of `action` meets, if any.
    pub(crate) fn take(&self, action: Action) -> Option<Fault> {
        lock(&self.planned).get_mut(&action)?.pop_front()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
