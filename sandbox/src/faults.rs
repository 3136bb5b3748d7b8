//! Fault injection: the faults that the next calls meet, and outages.

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::action::Action;

/// A fault that a call meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Responds with this status and body; the action is not executed.
    Status(u16, String),
    /// Responds with this status, these headers and this body; the action is not executed.
    Response {
        /// The HTTP status.
        status: u16,
        /// Header names and values, such as `("retry-after", "3")`.
        headers: Vec<(String, String)>,
        /// The body, sent unchanged.
        body: String,
    },
    /// Drops the connection without a response; the action is not executed.
    Drop,
    /// Executes the action, then drops the connection without a response.
    LoseResponse,
    /// Executes the action after this delay.
    Delay(Duration),
    /// Keeps the connection open but never responds; the action is not executed.
    Hang,
    /// Responds with 200, `text/event-stream`, and then these steps; the action is not executed.
    Script(Vec<Step>),
    /// Executes the action and sends the response, or the stream, in pieces of a few bytes. A piece
    /// can end inside a character. The same seed splits the same bytes in the same places.
    Split {
        /// Selects where the pieces end.
        seed: u64,
    },
    /// Executes the action and sends the response, or the stream, slowly.
    Slow {
        /// Bytes in each piece; at least 1.
        bytes: usize,
        /// The pause before each piece.
        pause: Duration,
    },
    /// Executes the action and sends the response with this content type.
    ContentType(String),
    /// Responds with 200 and an HTML sign-in page, as a hotel network does; the action is not
    /// executed.
    CaptivePortal,
}

/// A step of a scripted response body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends these bytes as one chunk.
    Send(Vec<u8>),
    /// Waits without sending.
    Wait(Duration),
    /// Keeps the connection open and sends nothing more.
    Silence,
    /// Breaks the connection off in the middle of the body. (A script without it ends properly.)
    Cut,
}

/// Planned faults of one action; further ones are ignored.
const PLANNED_MAX: usize = 100_000;

/// The faults that are planned, and the outage if there is one.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    link: Mutex<Link>,
    planned: Mutex<BTreeMap<Action, VecDeque<Fault>>>,
    random: Mutex<Option<RandomFaults>>,
}

/// Random faults. The same seed selects the same faults for the same sequence of calls.
#[derive(Debug)]
struct RandomFaults {
    rng: StdRng,
    one_in: u32,
    faults: Vec<Fault>,
}

impl RandomFaults {
    fn next(&mut self) -> Option<Fault> {
        if self.faults.is_empty() || !self.rng.random_ratio(1, self.one_in) {
            return None;
        }
        let index = self.rng.random_range(0..self.faults.len());
        self.faults.get(index).cloned()
    }
}

/// The network link to the clients.
#[derive(Debug, Default)]
struct Link {
    /// Cancelled during an outage.
    outage: CancellationToken,
    streams: StreamSignals,
}

/// The signals that end or silence the streams that are open now.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamSignals {
    /// When cancelled, streams send nothing more but stay open until `cut` or `end`.
    pub(crate) silence: CancellationToken,
    /// When cancelled, streams break off.
    pub(crate) cut: CancellationToken,
    /// When cancelled, streams end properly.
    pub(crate) end: CancellationToken,
}

impl Faults {
    /// Starts or ends an outage.
    pub(crate) fn set_offline(&self, is_offline: bool) {
        let mut link = lock(&self.link);
        if is_offline {
            link.outage.cancel();
            link.streams.cut.cancel();
        } else if link.outage.is_cancelled() {
            *link = Link::default();
        }
    }

    /// Returns the token that is cancelled when an outage starts, or already during one.
    pub(crate) fn outage(&self) -> CancellationToken {
        lock(&self.link).outage.clone()
    }

    /// Breaks all open streams off.
    pub(crate) fn cut_streams(&self) {
        mem::take(&mut lock(&self.link).streams).cut.cancel();
    }

    /// Ends all open streams properly.
    pub(crate) fn end_streams(&self) {
        mem::take(&mut lock(&self.link).streams).end.cancel();
    }

    /// Silences all open streams. They keep their other signals, so they can still be cut or ended.
    pub(crate) fn silence_streams(&self) {
        let streams = &mut lock(&self.link).streams;
        mem::take(&mut streams.silence).cancel();
    }

    /// Returns the signals for a stream that is opened now.
    pub(crate) fn stream_signals(&self) -> StreamSignals {
        lock(&self.link).streams.clone()
    }

    /// Plans `fault` for the next `calls` calls of `action`.
    pub(crate) fn plan(&self, action: Action, calls: usize, fault: Fault) {
        let mut planned = lock(&self.planned);
        let queue = planned.entry(action).or_default();
        let free = PLANNED_MAX.saturating_sub(queue.len());
        queue.extend(iter::repeat_n(fault, calls.min(free)));
    }

    /// Plans one of `faults`, chosen at random, for one in `one_in` calls on average.
    pub(crate) fn plan_random(&self, seed: u64, one_in: u32, faults: Vec<Fault>) {
        let rng = StdRng::seed_from_u64(seed);
        *lock(&self.random) = Some(RandomFaults { rng, one_in: one_in.max(1), faults });
    }

    /// Removes all planned and random faults.
    pub(crate) fn clear(&self) {
        lock(&self.planned).clear();
        *lock(&self.random) = None;
    }

    /// Returns the fault for this call of `action`, if any. Planned faults come before random ones.
    pub(crate) fn next(&self, action: Action) -> Option<Fault> {
        let planned = lock(&self.planned).get_mut(&action).and_then(VecDeque::pop_front);
        planned.or_else(|| lock(&self.random).as_mut()?.next())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
