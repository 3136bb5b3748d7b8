//! What of a device's commands may have been missed, and what must be read of the cloud's history to make up for it.
//!
//! The platform keeps no queue: a stream gives only what is sent while it is open. So after each gap the history is read from
//! a little before the gap, and the gate sorts out what came before. A gap may span a restart. What was sent before the first
//! stream ever is never asked for: a first start runs nothing old.

use std::time::Duration;

use crate::history::Heard;
use tidegate_model::WallTime;

/// How far before a gap, and beyond its end, the history is read: the cloud's dates are whole seconds, and a command may be
/// under way for a while before a stream delivers it.
pub const OVERLAP: Duration = Duration::from_secs(30);

/// The most commands of history that one gap is worth.
const COMMANDS_MAX: u32 = 10_000;

/// The most commands that one page is asked for; Losant names no largest limit.
const PAGE: u32 = 100;

/// The fewest, where larger pages are more than is read or than a link carries in time: with 256 KiB each, Losant's most, 2 MiB.
const PAGE_MIN: u32 = 8;

/// What is left to read starts so little before the last that was read, whether the cloud counts the start in or not
/// (rest-api/device, "Get Command", does not say).
const STEP: Duration = Duration::from_millis(1);

/// What is known of one device's commands.
#[derive(Debug, Clone)]
pub struct GapTracker {
    heard: Option<Heard>,
    gap: Option<Gap>,
}

/// What of the history is not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// From when on.
    pub start: WallTime,
    /// Until when.
    pub end: WallTime,
    /// How many commands a page is to have.
    pub limit: u32,
    /// How many more commands are asked for.
    left: u32,
}

impl GapTracker {
    /// Begins with what an earlier run knew; `None` before the first stream ever.
    pub fn new(heard: Option<Heard>) -> Self {
        Self { heard, gap: None }
    }

    /// A stream was opened at `time`: what was sent before it may have been missed.
    pub fn open(&mut self, time: WallTime) {
        match self.heard {
            Some(Heard { first, until }) => {
                let start = until.minus(OVERLAP).max(first);
                self.gap =
                    Some(Gap { start, end: time.plus(OVERLAP), limit: PAGE, left: COMMANDS_MAX });
            }
            None => self.heard = Some(Heard { first: time, until: time }),
        }
    }

    /// What is to be asked for next.
    pub fn gap(&self) -> Option<Gap> {
        self.gap
    }

    /// A page could not be read: the next try is for fewer commands.
    pub fn ask_for_less(&mut self) {
        if let Some(gap) = &mut self.gap {
            gap.limit = (gap.limit / 2).max(PAGE_MIN);
        }
    }

    /// A page of so many commands was read, oldest first: the time of the latest. False if there is more than is ever asked for.
    pub fn read(&mut self, latest: Option<WallTime>, commands: usize) -> bool {
        let (Some(gap), Some(heard)) = (&mut self.gap, &mut self.heard) else { return true };
        let is_full = commands >= gap.limit as usize;
        gap.left = gap.left.saturating_sub(gap.limit);
        match latest.filter(|_| is_full) {
            Some(latest) if gap.left > 0 => {
                gap.start = latest.minus(STEP).max(gap.start.plus(STEP));
                heard.until = heard.until.max(latest);
                true
            }
            more => {
                self.gap = None;
                more.is_none()
            }
        }
    }

    /// Signs of life of the open stream came until `time`. Returns until when nothing was missed: not longer than until a gap
    /// that is still to be read.
    pub fn hear(&mut self, time: WallTime) -> WallTime {
        let heard = self.heard.get_or_insert(Heard { first: time, until: time });
        if self.gap.is_none() {
            heard.until = heard.until.max(time);
        }
        heard.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> WallTime {
        WallTime::from_millis(1_777_629_600_000 + second * 1_000)
    }

    /// One that was heard until second 100, and whose next stream opens at 200.
    fn reopened() -> GapTracker {
        let mut watch = GapTracker::new(None);
        watch.open(at(0));
        watch.hear(at(100));
        watch.open(at(200));
        watch
    }

    #[test]
    fn nothing_from_before_the_first_stream_is_asked_for() {
        let mut watch = GapTracker::new(None);
        watch.open(at(50));
        assert_eq!(watch.gap(), None);
        assert_eq!(watch.hear(at(51)), at(51));
        watch.open(at(60));
        assert_eq!(watch.gap().unwrap().start, at(50));
    }

    #[test]
    fn a_gap_is_read_with_what_lies_around_it() {
        let mut watch = reopened();
        let gap = watch.gap().unwrap();
        assert_eq!((gap.start, gap.end), (at(70), at(230)));
        assert_eq!(watch.hear(at(210)), at(100), "the gap is not read yet");
        assert!(watch.read(Some(at(150)), 99));
        assert_eq!(watch.gap(), None);
        assert_eq!(watch.hear(at(210)), at(210));
    }

    #[test]
    fn a_long_gap_is_read_in_pages_and_from_there_when_the_stream_ends_in_between() {
        let mut watch = reopened();
        assert!(watch.read(Some(at(150)), 100));
        assert_eq!(watch.gap().unwrap().start, at(150).minus(STEP));
        assert_eq!(watch.hear(at(205)), at(150));
        watch.open(at(300));
        assert_eq!(watch.gap().unwrap().start, at(120));
        assert_eq!(watch.gap().unwrap().end, at(330));
    }

    #[test]
    fn a_page_of_one_moment_does_not_end_the_reading() {
        let mut watch = reopened();
        assert!(watch.read(Some(at(70)), 100));
        assert!(watch.gap().unwrap().start > at(70));
        assert!(watch.read(Some(at(70)), 100));
        assert!(watch.gap().unwrap().start > at(70).plus(STEP));
    }

    #[test]
    fn no_gap_is_worth_more_than_its_pages() {
        let mut watch = reopened();
        let pages: Vec<bool> =
            (0..).map(|page| watch.read(Some(at(100 + page)), 100)).take(100).collect();
        assert_eq!(pages.iter().filter(|is_good| !**is_good).count(), 1);
        assert!(!pages[99]);
        assert_eq!(watch.gap(), None);
    }

    #[test]
    fn a_page_that_cannot_be_read_is_asked_for_in_smaller_ones() {
        let mut watch = reopened();
        let mut limits = Vec::new();
        for _ in 0..6 {
            limits.push(watch.gap().unwrap().limit);
            watch.ask_for_less();
        }
        assert_eq!(limits, [100, 50, 25, 12, 8, 8]);
        assert!(watch.read(Some(at(150)), 8));
        assert_eq!(watch.gap().unwrap().limit, 8, "a page of eight is a full one now");
    }
}
