//! Tests server errors of the cloud, and of one device while the others succeed.

use super::*;

const ERROR: ResponseClass = ResponseClass::ServerError(None);

fn number(call: &Call) -> u8 {
    call.device.as_bytes()[0]
}

/// Advances the time to the next timeout.
fn wait(world: &mut World) -> Duration {
    world.note();
    let at = world.reporter.poll_timeout().expect("a timer");
    let waited = at - world.now;
    world.now = at;
    waited
}

/// Returns a world in an outage: all six devices had a call in flight, which failed.
fn outage() -> World {
    let mut world = world();
    (1..=6).for_each(|number| world.backlog(number, 1_000));
    let calls: Vec<_> = (0..6).map(|_| world.poll().unwrap()).collect();
    world.pass(100);
    for call in &calls {
        world.end(call, ERROR);
    }
    world
}

#[test]
fn one_call_probes_an_outage_with_the_backoff_of_the_link() {
    let mut world = outage();
    assert!(world.reporter.is_outage());
    assert_eq!(world.reporter.online(), Some(false));
    let (mut longest, mut probed) = (Duration::ZERO, Vec::new());
    for _ in 0..30 {
        assert_eq!(world.poll(), None, "the link waits");
        longest = longest.max(wait(&mut world));
        let probe = world.poll().expect("a probe");
        assert_eq!(world.poll(), None, "one call probes");
        probed.push(number(&probe));
        world.end(&probe, ERROR);
    }
    let expected = Duration::from_secs(60)..=Duration::from_secs(300);
    assert!(expected.contains(&longest), "{longest:?}");
    assert_eq!(probed[..12], [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6], "devices take turns");
}

#[test]
fn all_lanes_start_at_once_after_an_outage() {
    let mut world = outage();
    for _ in 0..5 {
        wait(&mut world);
        world.fail(ERROR);
    }
    wait(&mut world);
    let probe = world.poll().unwrap();
    world.end(&probe, ResponseClass::Stored);
    assert!(!world.reporter.is_outage());
    let started: Vec<_> = std::iter::from_fn(|| world.poll()).map(|call| number(&call)).collect();
    assert_eq!(started.len(), 6, "no device keeps a wait: {started:?}");
}

#[test]
fn device_with_permanent_errors_stops_no_other() {
    let mut world = world();
    (1..=4).for_each(|number| world.backlog(number, 2_000));
    let (start, mut failed) = (world.now, 0);
    while (2..=4).any(|number| !world.queues[&number].waiting.is_empty()) {
        let Some(call) = world.poll() else {
            wait(&mut world);
            continue;
        };
        world.pass(10);
        let response = if number(&call) == 1 { ERROR } else { ResponseClass::Stored };
        failed += usize::from(response == ERROR);
        world.end(&call, response);
    }
    // 60 calls of 10 ms each, one after the other: the others never waited.
    assert!(world.now - start < Duration::from_secs(1), "{:?}", world.now - start);
    assert!((1..=2).contains(&failed), "{failed}");
    assert_eq!(world.reporter.online(), Some(true));
    for _ in 0..10 {
        world.come(2, 100);
        world.pass(60_000);
        while let Some(call) = world.poll() {
            let response = if number(&call) == 1 { ERROR } else { ResponseClass::Stored };
            failed += usize::from(response == ERROR);
            world.end(&call, response);
        }
        assert!(world.queues[&2].waiting.is_empty(), "new states of another device wait");
    }
    assert!(failed < 15, "the back-off of the device grows: {failed}");
}

#[test]
fn first_error_makes_another_device_probe_at_once() {
    let mut world = world();
    (1..=6).for_each(|number| world.backlog(number, 1_000));
    world.fail(ERROR);
    let probe = world.poll().expect("a probe without a wait");
    assert_eq!((number(&probe), world.poll()), (2, None));
    world.end(&probe, ResponseClass::Stored);
    let started = std::iter::from_fn(|| world.poll()).map(|call| number(&call));
    assert_eq!(started.collect::<Vec<_>>(), [3, 4, 5, 6, 2], "only the device of the error waits");
}

#[test]
fn device_keeps_its_own_backoff_through_an_outage() {
    let mut world = world();
    (1..=3).for_each(|number| world.backlog(number, 10_000));
    // Device 1 fails while the others succeed.
    for _ in 0..8 {
        while let Some(call) = world.poll() {
            let response = if number(&call) == 1 { ERROR } else { ResponseClass::Stored };
            world.end(&call, response);
        }
        wait(&mut world);
    }
    let held = world.reporter.devices[&device(1)].places(world.now, &limits(), false, false);
    world.pass(1_000);
    for _ in 0..2 {
        let call = world.poll().unwrap();
        assert_ne!(number(&call), 1);
        world.end(&call, ERROR);
    }
    assert!(world.reporter.is_outage());
    let after = world.reporter.devices[&device(1)].places(world.now, &limits(), false, false);
    assert_eq!(held.backlog, after.backlog);
}

#[test]
fn outage_lasts_as_long_as_retry_after_asks() {
    let mut world = world();
    (1..=3).for_each(|number| world.backlog(number, 1_000));
    world.fail(ResponseClass::ServerError(Some(Duration::from_secs(60))));
    world.fail(ERROR);
    assert_eq!(wait(&mut world), Duration::from_secs(60), "asked in the first answer");
    world.fail(ResponseClass::ServerError(Some(Duration::from_secs(20))));
    assert!(wait(&mut world) >= Duration::from_secs(20));
    assert_eq!(world.send().map(|sent| sent.0), Some(1), "the device of the first error, too");
    assert!(world.send().is_some());
}

#[test]
fn retry_after_of_one_device_holds_only_that_device() {
    let mut world = world();
    (1..=2).for_each(|number| world.backlog(number, 200));
    world.fail(ResponseClass::ServerError(Some(Duration::from_secs(60))));
    assert_eq!(world.send().map(|sent| sent.0), Some(2));
    assert_eq!(world.send().map(|sent| sent.0), Some(2));
    assert_eq!(wait(&mut world), Duration::from_secs(60));
    assert_eq!(world.send().map(|sent| sent.0), Some(1));
}

#[test]
fn only_device_waits_longer_after_each_error() {
    let mut world = world();
    world.backlog(1, 1_000);
    let mut longest = Duration::ZERO;
    for _ in 0..30 {
        world.fail(ERROR);
        longest = longest.max(wait(&mut world));
    }
    let expected = Duration::from_secs(60)..=Duration::from_secs(300);
    assert!(expected.contains(&longest), "{longest:?}");
    assert_eq!(world.reporter.online(), Some(false));
    assert!(world.send().is_some());
}

#[test]
fn probes_of_an_outage_use_few_lanes() {
    let mut world = world();
    (1..=50).for_each(|number| world.backlog(number, 1_000));
    let mut probed = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let probe = world.poll().unwrap();
        probed.insert(number(&probe));
        world.end(&probe, ERROR);
        wait(&mut world);
    }
    // The device of the first error probes no more: its error may be its own.
    let joined = 1 + 60 / usize::try_from(PROBES_PER_LANE).unwrap();
    assert!(probed.len() <= PROBE_LANES_MAX + joined, "{probed:?}");
    assert!(probed.len() > PROBE_LANES_MAX, "other lanes join: {probed:?}");
}

#[test]
fn devices_with_permanent_errors_cannot_prolong_an_outage() {
    let mut world = world();
    (1..=20).for_each(|number| world.backlog(number, 1_000));
    // The cloud is back, but the first twelve devices still fail.
    let mut failed = 0;
    loop {
        let Some(probe) = world.poll() else {
            wait(&mut world);
            continue;
        };
        if number(&probe) > 12 {
            world.end(&probe, ResponseClass::Stored);
            break;
        }
        failed += 1;
        world.end(&probe, ERROR);
    }
    assert!(failed <= 5 * PROBES_PER_LANE + 12, "{failed}");
    assert!(world.send().is_some());
}
