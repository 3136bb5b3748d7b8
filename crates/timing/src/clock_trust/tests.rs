//! Clocks that are right, wrong, set, and corrected.

use super::*;
use tidegate_model::{BootId, BootTime, WallTime};

/// 1 May 2026, 10:00.
const DAY: i64 = 1_777_629_600_000;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: i64) -> WallTime {
    WallTime::from_millis(DAY + seconds * 1_000)
}

fn after_boot(boot: u128, uptime_s: u64) -> BootTime {
    BootTime::new(BootId(boot), s(uptime_s))
}

fn now(timeline: &mut Timeline, uptime_s: u64) -> WallTime {
    timeline.now(s(uptime_s)).unwrap()
}

fn see(timeline: &mut Timeline, uptime_s: u64, system: WallTime, is_synchronised: bool) {
    timeline.see(Sighting { uptime: s(uptime_s), system, is_synchronised });
}

fn hear(timeline: &mut Timeline, uptime_s: u64, date: WallTime) {
    let (began, ended) = (s(uptime_s), s(uptime_s) + Duration::from_millis(100));
    timeline.hear(CloudDate { began, ended, date });
}

#[test]
fn a_clock_that_nobody_vouches_for_is_not_believed() {
    let mut timeline = Timeline::new(None);
    for (uptime_s, system) in [(5, WallTime::from_millis(0)), (6, at(-86_400)), (7, at(0))] {
        see(&mut timeline, uptime_s, system, false);
        assert_eq!(timeline.now(s(uptime_s)), None);
    }
    see(&mut timeline, 8, WallTime::from_millis(8_000), true);
    assert_eq!(timeline.trust(), Trust::Waiting, "a kernel that is synchronised to 1970 is not");
}

#[test]
fn a_synchronised_kernel_or_the_cloud_tell_the_time() {
    let mut timeline = Timeline::new(None);
    see(&mut timeline, 20, at(20), true);
    assert_eq!((timeline.trust(), now(&mut timeline, 30)), (Trust::Kernel, at(30)));
    let mut timeline = Timeline::new(None);
    hear(&mut timeline, 20, at(20));
    assert_eq!(timeline.trust(), Trust::Cloud);
    let error_ms = now(&mut timeline, 30).as_millis() - at(30).as_millis();
    assert!((0..1_000).contains(&error_ms), "{error_ms} ms");
}

#[test]
fn an_answer_that_took_long_says_nothing() {
    let mut timeline = Timeline::new(None);
    timeline.hear(CloudDate { began: s(10), ended: s(25), date: at(0) });
    assert_eq!(timeline.trust(), Trust::Waiting);
}

#[test]
fn a_clock_that_is_set_by_hand_changes_nothing() {
    let mut timeline = Timeline::new(None);
    see(&mut timeline, 20, at(20), true);
    for system in [at(9_000), at(-9_000), WallTime::from_millis(0)] {
        see(&mut timeline, 30, system, false);
        assert_eq!(now(&mut timeline, 30), at(30));
    }
}

#[test]
fn a_synchronised_clock_is_followed_and_never_back() {
    let mut timeline = Timeline::new(None);
    see(&mut timeline, 0, at(0), true);
    assert_eq!(now(&mut timeline, 100), at(100));
    let slow = WallTime::from_millis(at(100).as_millis() - 300);
    see(&mut timeline, 100, slow, true);
    assert_eq!(now(&mut timeline, 100), at(100), "it stands still");
    assert_eq!(now(&mut timeline, 101), WallTime::from_millis(at(101).as_millis() - 300));
    see(&mut timeline, 200, at(190), true);
    assert_eq!(now(&mut timeline, 200), at(190));
    assert_eq!(now(&mut timeline, 201), at(191));
}

#[test]
fn a_step_that_the_cloud_contradicts_is_not_taken_and_one_that_it_confirms_is() {
    let mut timeline = Timeline::new(None);
    see(&mut timeline, 0, at(0), true);
    hear(&mut timeline, 100, at(100));
    see(&mut timeline, 110, at(9_000), true);
    assert_eq!(now(&mut timeline, 110), at(110));
    hear(&mut timeline, 120, at(9_010));
    see(&mut timeline, 130, at(9_020), true);
    assert_eq!(now(&mut timeline, 130), at(9_020));
}

#[test]
fn without_a_synchronised_kernel_the_cloud_corrects_the_drift() {
    let mut timeline = Timeline::new(None);
    hear(&mut timeline, 0, at(0));
    hear(&mut timeline, 10_000, at(10_001));
    assert!(now(&mut timeline, 10_000) < at(10_001), "less than the error of a date");
    hear(&mut timeline, 86_400, at(86_410));
    assert!(now(&mut timeline, 86_400) >= at(86_410));
}

#[test]
fn a_daemon_that_starts_again_knows_the_time_of_its_boot() {
    let mut timeline = Timeline::new(Some(DAY));
    assert_eq!((timeline.trust(), now(&mut timeline, 60)), (Trust::Resumed, at(60)));
}

#[test]
fn boots_without_a_time_are_placed_in_order_between_what_is_known() {
    let (floor, mut boots) = (at(0), Boots::default());
    for boot in 1..=3_u128 {
        boots.record(after_boot(boot, 5), floor);
        boots.record(after_boot(boot, 600), floor);
    }
    assert_eq!(boots.wall_time(after_boot(1, 5)), None);
    // The third boot learns that it began at 10:50.
    assert_eq!(boots.pin(BootId(3), DAY + 3_000_000).len(), 3);
    let time = |boot, uptime_s: u64| boots.wall_time(after_boot(boot, uptime_s)).unwrap();
    let times: Vec<_> = (1..=3).flat_map(|boot| [time(boot, 5), time(boot, 600)]).collect();
    assert!(times.is_sorted_by(|one, next| one < next) && times[0] > floor, "{times:?}");
    assert_eq!(time(3, 5), at(3_005));
    assert_eq!(time(2, 600), at(2_990));
}

#[test]
fn an_anchor_is_pinned_once() {
    let mut boots = Boots::default();
    boots.record(after_boot(1, 5), at(0));
    boots.pin(BootId(1), DAY);
    assert_eq!(boots.pin(BootId(1), DAY + 5_000), []);
    assert_eq!(boots.wall_time(after_boot(1, 5)), Some(at(5)));
}

#[test]
fn a_boot_is_not_placed_before_what_was_stored_if_there_is_room() {
    let mut boots = Boots::default();
    boots.record(after_boot(1, 100), at(1_000));
    boots.record(after_boot(1, 200), at(1_000));
    boots.record(after_boot(2, 1), at(1_000));
    boots.pin(BootId(2), DAY + 1_105_000);
    let first = boots.wall_time(after_boot(1, 100)).unwrap();
    let last = boots.wall_time(after_boot(1, 200)).unwrap();
    assert!(first > at(1_000) && last < at(1_105), "{first} {last}");
}

#[test]
fn a_state_from_the_future_moves_no_boot_there() {
    let mut boots = Boots::default();
    let future = at(86_400);
    for boot in 1..=3 {
        boots.record(after_boot(boot, 5), future);
        boots.record(after_boot(boot, 600), future);
    }
    boots.pin(BootId(3), DAY + 3_000_000);
    let time = |boot, uptime_s: u64| boots.wall_time(after_boot(boot, uptime_s)).unwrap();
    let times: Vec<_> = (1..=3).flat_map(|boot| [time(boot, 5), time(boot, 600)]).collect();
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    assert_eq!(time(3, 600), at(3_600));
}

#[test]
fn the_boots_that_are_remembered_are_bounded() {
    let mut boots = Boots::default();
    let gone =
        (0..1_000).filter(|boot| boots.record(after_boot(*boot, 1), at(0)).forgotten.is_some());
    assert_eq!(gone.count(), 1_000 - BOOTS_MAX);
}
