//! Which pages of the command history a gap requests.

use super::*;

fn at(second: i64) -> WallTime {
    WallTime::from_millis(1_777_629_600_000 + second * 1_000)
}

/// A tracker whose stream was alive until second 100 and was opened again at second 200.
fn reopened() -> GapTracker {
    let mut tracker = GapTracker::new(None);
    tracker.handle_stream_opened(at(0));
    tracker.handle_alive(at(100));
    tracker.handle_stream_opened(at(200));
    tracker
}

fn page(second: i64, commands: usize) -> Page {
    Page { latest: Some(at(second)), commands }
}

#[test]
fn first_stream_requests_nothing_older() {
    let mut tracker = GapTracker::new(None);
    tracker.handle_stream_opened(at(50));
    assert_eq!(tracker.poll_action(), None);
    assert_eq!(tracker.handle_alive(at(51)), at(51));
    tracker.handle_stream_opened(at(60));
    assert_eq!(tracker.poll_action().unwrap().start, at(50));
}

#[test]
fn requests_the_gap_with_an_overlap() {
    let mut tracker = reopened();
    let request = tracker.poll_action().unwrap();
    assert_eq!((request.start, request.end), (at(70), at(230)));
    assert_eq!(tracker.poll_action(), None, "one request is outstanding at a time");
    assert_eq!(tracker.handle_alive(at(210)), at(100), "the gap is not read yet");
    assert_eq!(tracker.handle_page(page(150, 99)), GapState::Complete);
    assert_eq!(tracker.poll_action(), None);
    assert_eq!(tracker.handle_alive(at(210)), at(210));
}

#[test]
fn long_gap_is_read_in_pages_and_resumes_after_a_cut() {
    let mut tracker = reopened();
    assert_eq!(tracker.handle_page(page(150, 100)), GapState::Complete);
    assert_eq!(tracker.poll_action().unwrap().start, at(150).minus(STEP));
    assert_eq!(tracker.handle_alive(at(205)), at(150));
    tracker.handle_stream_opened(at(300));
    let request = tracker.poll_action().unwrap();
    assert_eq!(request.start, at(120));
    assert_eq!(request.end, at(330));
}

#[test]
fn page_with_equal_times_does_not_stop_the_reading() {
    let mut tracker = reopened();
    assert_eq!(tracker.handle_page(page(70, 100)), GapState::Complete);
    assert!(tracker.poll_action().unwrap().start > at(70));
    assert_eq!(tracker.handle_page(page(70, 100)), GapState::Complete);
    assert!(tracker.poll_action().unwrap().start > at(70).plus(STEP));
}

#[test]
fn gap_is_truncated_at_the_limit() {
    let mut tracker = reopened();
    let pages: Vec<GapState> =
        (0..).map(|second| tracker.handle_page(page(100 + second, 100))).take(100).collect();
    assert_eq!(pages.iter().filter(|state| **state == GapState::Truncated).count(), 1);
    assert_eq!(pages[99], GapState::Truncated);
    assert_eq!(tracker.poll_action(), None);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "any instant serves as the start")]
fn failed_page_is_retried_later_with_fewer_commands() {
    let mut tracker = reopened();
    let mut now = Instant::now();
    let mut limits = Vec::new();
    for _ in 0..6 {
        limits.push(tracker.poll_action().unwrap().limit);
        tracker.handle_page_failed(PageSize::Reduce, now + Duration::from_secs(1));
        tracker.handle_timeout(now);
        assert_eq!(tracker.poll_action(), None, "the retry is not due");
        now = tracker.poll_timeout().unwrap();
        tracker.handle_timeout(now);
    }
    assert_eq!(limits, [100, 50, 25, 12, 8, 8]);
    assert_eq!(tracker.handle_page(page(150, 8)), GapState::Complete);
    let limit = tracker.poll_action().unwrap().limit;
    assert_eq!(limit, 8, "a page of eight counts as full");
    tracker.handle_page_failed(PageSize::Keep, now);
    tracker.handle_timeout(now);
    assert_eq!(tracker.poll_action().unwrap().limit, 8);
}
