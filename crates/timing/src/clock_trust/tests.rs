//! Tests with clocks that are right, wrong, set, and corrected.

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

fn add_date(timeline: &mut Timeline, uptime_s: u64, date: WallTime) {
    let (began, ended) = (s(uptime_s), s(uptime_s) + Duration::from_millis(100));
    timeline.add_cloud_date(CloudDate { began, ended, date });
}

#[test]
fn does_not_trust_an_unconfirmed_clock() {
    let mut timeline = Timeline::new(None);
    for (uptime_s, system) in [(5, WallTime::from_millis(0)), (6, at(-86_400)), (7, at(0))] {
        see(&mut timeline, uptime_s, system, false);
        assert_eq!(timeline.now(s(uptime_s)), None);
    }
    see(&mut timeline, 8, WallTime::from_millis(8_000), true);
    assert_eq!(timeline.trust(), Trust::Waiting, "a kernel that is synchronised to 1970 is not");
}

#[test]
fn trusts_a_synchronised_kernel_or_the_cloud() {
    let mut timeline = Timeline::new(None);
    see(&mut timeline, 20, at(20), true);
    assert_eq!((timeline.trust(), now(&mut timeline, 30)), (Trust::Kernel, at(30)));
    let mut timeline = Timeline::new(None);
    add_date(&mut timeline, 20, at(20));
    assert_eq!(timeline.trust(), Trust::Cloud);
    let error_ms = now(&mut timeline, 30).as_millis() - at(30).as_millis();
    assert!((0..1_000).contains(&error_ms), "{error_ms} ms");
}

#[test]
fn ignores_the_date_of_a_slow_response() {
    let mut timeline = Timeline::new(None);
    timeline.add_cloud_date(CloudDate { began: s(10), ended: s(25), date: at(0) });
    assert_eq!(timeline.trust(), Trust::Waiting);
}

#[test]
fn ignores_a_clock_set_by_hand() {
    let mut timeline = Timeline::new(None);
    see(&mut timeline, 20, at(20), true);
    for system in [at(9_000), at(-9_000), WallTime::from_millis(0)] {
        see(&mut timeline, 30, system, false);
        assert_eq!(now(&mut timeline, 30), at(30));
    }
}

#[test]
fn follows_a_synchronised_clock() {
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
fn follows_a_step_unless_the_cloud_contradicts_it() {
    let mut timeline = Timeline::new(None);
    see(&mut timeline, 0, at(0), true);
    add_date(&mut timeline, 100, at(100));
    see(&mut timeline, 110, at(9_000), true);
    assert_eq!(now(&mut timeline, 110), at(110));
    add_date(&mut timeline, 120, at(9_010));
    see(&mut timeline, 130, at(9_020), true);
    assert_eq!(now(&mut timeline, 130), at(9_020));
}

#[test]
fn cloud_date_corrects_drift_of_an_unsynchronised_clock() {
    let mut timeline = Timeline::new(None);
    add_date(&mut timeline, 0, at(0));
    add_date(&mut timeline, 10_000, at(10_001));
    assert!(now(&mut timeline, 10_000) < at(10_001), "less than the error of a date");
    add_date(&mut timeline, 86_400, at(86_410));
    assert!(now(&mut timeline, 86_400) >= at(86_410));
}

#[test]
fn restarted_daemon_resumes_the_anchor() {
    let mut timeline = Timeline::new(Some(DAY));
    assert_eq!((timeline.trust(), now(&mut timeline, 60)), (Trust::Resumed, at(60)));
}

#[test]
fn places_boots_without_a_time_in_order() {
    let (floor, mut boots) = (at(0), Boots::default());
    for boot in 1..=3_u128 {
        boots.record(after_boot(boot, 5), floor);
        boots.record(after_boot(boot, 600), floor);
    }
    assert_eq!(boots.wall_time(after_boot(1, 5)), None);
    // The anchor of the third boot is 10:50.
    assert_eq!(boots.pin(BootId(3), DAY + 3_000_000).len(), 3);
    let time = |boot, uptime_s: u64| boots.wall_time(after_boot(boot, uptime_s)).unwrap();
    let times: Vec<_> = (1..=3).flat_map(|boot| [time(boot, 5), time(boot, 600)]).collect();
    assert!(times.is_sorted_by(|one, next| one < next) && times[0] > floor, "{times:?}");
    assert_eq!(time(3, 5), at(3_005));
    assert_eq!(time(2, 600), at(2_990));
}

#[test]
fn sets_an_anchor_once() {
    let mut boots = Boots::default();
    boots.record(after_boot(1, 5), at(0));
    boots.pin(BootId(1), DAY);
    assert_eq!(boots.pin(BootId(1), DAY + 5_000), []);
    assert_eq!(boots.wall_time(after_boot(1, 5)), Some(at(5)));
}

#[test]
fn places_a_boot_after_the_stored_states() {
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
fn future_state_does_not_move_boots() {
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
fn bounds_the_number_of_boots() {
    let mut boots = Boots::default();
    let gone =
        (0..1_000).filter(|boot| boots.record(after_boot(*boot, 1), at(0)).forgotten.is_some());
    assert_eq!(gone.count(), 1_000 - BOOTS_MAX);
}
