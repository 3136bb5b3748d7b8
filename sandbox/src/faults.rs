//! Trouble on demand: which calls are to fail next, and whether the cloud is reachable at all.

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
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
    /// The action is done; its answer, or its stream, comes in pieces of a few bytes that break
    /// anywhere, also inside a letter. The same seed breaks the same bytes in the same places.
    Split {
        /// Where it breaks.
        seed: u64,
    },
    /// The action is done; its answer, or its stream, trickles.
    Slow {
        /// How much comes at a time; at least 1.
        bytes: usize,
        /// The time before each piece.
        pause: Duration,
    },
    /// The action is done; its answer says that it is of this media type.
    ContentType(String),
    /// The action is not done; 200 and a page of HTML to sign in on are answered, as by a hotel's
    /// network.
    CaptivePortal,
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
    chance: Mutex<Option<Chance>>,
}

/// Faults that come by chance, but by the same chance for the same seed.
#[derive(Debug)]
struct Chance {
    rng: StdRng,
    one_in: u32,
    faults: Vec<Fault>,
}

impl Chance {
    fn take(&mut self) -> Option<Fault> {
        if self.faults.is_empty() || !self.rng.random_ratio(1, self.one_in) {
            return None;
        }
        let index = self.rng.random_range(0..self.faults.len());
        self.faults.get(index).cloned()
    }
}

/// The line to the clients.
#[derive(Debug, Default)]
struct Link {
    /// Cancelled while the cloud is dark.
    up: CancellationToken,
    streams: Endings,
}

/// The ways in which the streams that are open now may end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings {
    /// Cancelled when they are to say nothing any more, and stay open until one of the others.
    pub(crate) silence: CancellationToken,
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

    /// Those that are silent can still be cut or ended, which is why they are not forgotten.
    pub(crate) fn silence_streams(&self) {
        let streams = &mut lock(&self.link).streams;
        mem::take(&mut streams.silence).cancel();
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

    /// Lets one call in `one_in` on average meet one of `faults`.
    pub(crate) fn set_chance(&self, seed: u64, one_in: u32, faults: Vec<Fault>) {
        let rng = StdRng::seed_from_u64(seed);
        *lock(&self.chance) = Some(Chance { rng, one_in: one_in.max(1), faults });
    }

    pub(crate) fn clear(&self) {
        lock(&self.planned).clear();
        *lock(&self.chance) = None;
    }

    /// The fault that this call of `action` meets, if any; what was planned comes first.
    pub(crate) fn take(&self, action: Action) -> Option<Fault> {
        let planned = lock(&self.planned).get_mut(&action).and_then(VecDeque::pop_front);
        planned.or_else(|| lock(&self.chance).as_mut()?.take())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
