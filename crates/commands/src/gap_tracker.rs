//! Tracks which commands of a device a closed stream may have missed.
//!
//! Losant keeps no queue of commands: a stream delivers only what is sent while it is open. So
//! after each gap the listener reads Losant's command history from shortly before the gap on, and
//! the admission check removes the duplicates. A gap may span a restart. Commands that were sent
//! before the first stream are never requested: a first start runs nothing old.
//!
//! The tracker is a [`Machine`]. Its inputs are an opened stream, a sign of life of the stream, and
//! an answered or failed page request. Its only action is the next page request. One request is
//! outstanding at a time.

use std::time::{Duration, Instant};

use crate::history::Coverage;
use tidegate_model::WallTime;
use tidegate_timing::machine::Machine;

/// How far before and behind a gap the history is read.
///
/// Losant's dates are whole seconds, and a stream may deliver a command some seconds late.
pub const OVERLAP: Duration = Duration::from_secs(30);

/// The most commands that are requested for one gap.
const COMMANDS_MAX: u32 = 10_000;

/// The most commands of one page. Losant documents no maximum.
const PAGE_MAX: u32 = 100;

/// The fewest commands of one page, for links that cannot carry a larger one in time.
///
/// A payload has at most 256 KiB at Losant, so this page has at most 2 MiB.
const PAGE_MIN: u32 = 8;

/// How far before the last command of a page the next page starts.
///
/// The documentation does not say whether `start` is inclusive (rest-api/device, "Get Command").
const STEP: Duration = Duration::from_millis(1);

/// Tracks the commands of one device.
#[derive(Debug, Clone)]
pub struct GapTracker {
    coverage: Option<Coverage>,
    gap: Option<Gap>,
}

/// The part of the history that is not read yet.
#[derive(Debug, Clone, Copy)]
struct Gap {
    request: PageRequest,
    /// How many more commands are requested at most.
    budget: u32,
    progress: Progress,
}

#[derive(Debug, Clone, Copy)]
enum Progress {
    /// The next request is due.
    Due,
    /// A request is outstanding.
    Requested,
    /// The last request failed.
    RetryAt(Instant),
}

/// A request for one page of the command history, oldest command first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// The begin of the period.
    pub start: WallTime,
    /// The end of the period.
    pub end: WallTime,
    /// The most commands of the page.
    pub limit: u32,
}

/// An answered page request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The time of the newest command.
    pub latest: Option<WallTime>,
    /// How many commands the page has.
    pub commands: usize,
}

/// Whether the commands of a gap were requested completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum GapState {
    /// More pages follow, or the gap is closed.
    Complete,
    /// The gap has more commands than are ever requested. The rest is skipped.
    Truncated,
}

/// Whether a failed page request is repeated with the same page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSize {
    /// The failure does not depend on the size.
    Keep,
    /// The page may have been too large to be read or transferred in time.
    Reduce,
}

impl GapTracker {
    /// Creates a tracker with the coverage of an earlier run; `None` before the first stream.
    pub fn new(coverage: Option<Coverage>) -> Self {
        Self { coverage, gap: None }
    }

    /// Begins a gap: a stream was opened at `time`, and earlier commands may be missing.
    pub fn handle_stream_opened(&mut self, time: WallTime) {
        let Some(Coverage { since, until }) = self.coverage else {
            self.coverage = Some(Coverage { since: time, until: time });
            return;
        };
        let start = until.minus(OVERLAP).max(since);
        let request = PageRequest { start, end: time.plus(OVERLAP), limit: PAGE_MAX };
        self.gap = Some(Gap { request, budget: COMMANDS_MAX, progress: Progress::Due });
    }

    /// Moves the start of the gap behind the commands of an answered page.
    pub fn handle_page(&mut self, page: Page) -> GapState {
        let (Some(gap), Some(coverage)) = (&mut self.gap, &mut self.coverage) else {
            return GapState::Complete;
        };
        let is_full = page.commands >= gap.request.limit as usize;
        gap.budget = gap.budget.saturating_sub(gap.request.limit);
        match page.latest.filter(|_| is_full) {
            Some(latest) if gap.budget > 0 => {
                gap.request.start = latest.minus(STEP).max(gap.request.start.plus(STEP));
                gap.progress = Progress::Due;
                coverage.until = coverage.until.max(latest);
                GapState::Complete
            }
            Some(_) => {
                self.gap = None;
                GapState::Truncated
            }
            None => {
                self.gap = None;
                GapState::Complete
            }
        }
    }

    /// Schedules a failed page request again for `retry_at`.
    pub fn handle_page_failed(&mut self, size: PageSize, retry_at: Instant) {
        let Some(gap) = &mut self.gap else { return };
        if size == PageSize::Reduce {
            gap.request.limit = (gap.request.limit / 2).max(PAGE_MIN);
        }
        gap.progress = Progress::RetryAt(retry_at);
    }

    /// Records that the open stream was alive until `time`. Returns the end of the coverage.
    ///
    /// While a gap is unread, the coverage ends where the gap begins.
    pub fn handle_alive(&mut self, time: WallTime) -> WallTime {
        let coverage = self.coverage.get_or_insert(Coverage { since: time, until: time });
        if self.gap.is_none() {
            coverage.until = coverage.until.max(time);
        }
        coverage.until
    }
}

impl Machine for GapTracker {
    type Action = PageRequest;

    fn handle_timeout(&mut self, now: Instant) {
        let Some(gap) = &mut self.gap else { return };
        if matches!(gap.progress, Progress::RetryAt(due) if due <= now) {
            gap.progress = Progress::Due;
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.gap?.progress {
            Progress::Due | Progress::Requested => None,
            Progress::RetryAt(due) => Some(due),
        }
    }

    fn poll_action(&mut self) -> Option<PageRequest> {
        let gap = self.gap.as_mut()?;
        if !matches!(gap.progress, Progress::Due) {
            return None;
        }
        gap.progress = Progress::Requested;
        Some(gap.request)
    }
}

#[cfg(test)]
mod tests;
