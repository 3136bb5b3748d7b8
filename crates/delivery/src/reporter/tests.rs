//! Tests the machine with scripted backlogs and results.
#![expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

mod server_errors;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::throttle::CALLS_MAX;

struct World {
    reporter: Reporter,
    now: Instant,
    /// The queue of each device.
    queues: BTreeMap<u8, Queued>,
}

/// The states of one device.
#[derive(Default)]
struct Queued {
    /// The sequence numbers of the states in the outbox.
    waiting: Vec<u64>,
    /// The last assigned sequence number.
    last: u64,
}

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn limits() -> Limits {
    Limits {
        batch_states_max: 100,
        batch_bytes_max: 100_000,
        batch_age_max: Duration::from_secs(2),
        retry_min: Duration::from_secs(1),
        retry_max: Duration::from_secs(300),
        ..Limits::default()
    }
}

fn world() -> World {
    let now = Instant::now();
    World {
        reporter: Reporter::new(limits(), StdRng::seed_from_u64(7), now),
        now,
        queues: BTreeMap::new(),
    }
}

impl World {
    /// Adds a device with `states` in the outbox at the start.
    fn backlog(&mut self, number: u8, states: u64) {
        self.queues.insert(number, Queued { waiting: (1..=states).collect(), last: states });
        let waiting = self.waiting(number);
        self.reporter.resume(device(number), waiting, Throttle::default());
    }

    /// Adds `states` new states of a device.
    fn come(&mut self, number: u8, states: u64) {
        let queue = self.queues.entry(number).or_default();
        queue.waiting.extend(queue.last + 1..=queue.last + states);
        queue.last += states;
        self.note();
    }

    fn waiting(&self, number: u8) -> Waiting {
        let queue = &self.queues[&number];
        let states = queue.waiting.len() as u64;
        Waiting { states, bytes: states * 100, last: queue.last }
    }

    fn note(&mut self) {
        for number in self.queues.keys() {
            self.reporter.handle_waiting(device(*number), self.waiting(*number), self.now);
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn poll(&mut self) -> Option<Call> {
        self.note();
        self.reporter.handle_timeout(self.now);
        self.check_schedule();
        if let Some(call) = self.reporter.poll_action() {
            let batch = self.batch(&call);
            let last = batch.last().copied().unwrap_or_default();
            self.reporter.handle_loaded(&call, batch.len(), last, self.now);
            return Some(call);
        }
        let timeout = self.reporter.poll_timeout();
        assert!(timeout.is_none_or(|at| at > self.now), "a timeout in the past would spin");
        None
    }

    /// Asserts that the schedule agrees with a walk over all devices.
    fn check_schedule(&self) {
        let reporter = &self.reporter;
        for (id, device) in &reporter.devices {
            let is_slow = reporter.is_slow();
            let Places { live, backlog } =
                device.places(self.now, &reporter.limits, reporter.is_draining, is_slow);
            for (lane, walked) in [(Lane::Live, live), (Lane::Backlog, backlog)] {
                let lane = LaneId { device: *id, lane };
                let mut place = reporter.schedule.place(lane);
                let is_due = place.is_some_and(|place| place.at <= self.now);
                assert_eq!(reporter.schedule.is_due(lane), is_due, "{lane:?}");
                if let Some(place) = &mut place {
                    place.at = place.at.max(self.now);
                }
                assert_eq!(place, walked, "{lane:?}");
            }
        }
    }

    /// Returns the sequence numbers of the states in a call.
    fn batch(&self, call: &Call) -> Vec<u64> {
        let queue = &self.queues[&call.device.as_bytes()[0]];
        let is_in_range = |number: &&u64| **number > call.after && **number <= call.through;
        queue.waiting.iter().filter(is_in_range).take(call.states_max).copied().collect()
    }

    fn end(&mut self, call: &Call, response: ResponseClass) -> Disposal {
        let batch = self.batch(call);
        let (states, last) = (batch.len(), batch.last().copied().unwrap_or_default());
        let may_count = response != ResponseClass::Offline;
        let finished = FinishedCall { states, last, response, may_count };
        let disposal = self.reporter.handle_result(call, &finished, self.now);
        if disposal != Disposal::Keep {
            let queue = self.queues.get_mut(&call.device.as_bytes()[0]).unwrap();
            queue.waiting.retain(|number| batch.binary_search(number).is_err());
        }
        disposal
    }

    /// Makes and confirms the next call. Returns its device, lane, and first and last number.
    fn send(&mut self) -> Option<(u8, Lane, u64, u64)> {
        let call = self.poll()?;
        let batch = self.batch(&call);
        self.end(&call, ResponseClass::Stored);
        Some((call.device.as_bytes()[0], call.lane, *batch.first()?, *batch.last()?))
    }

    fn fail(&mut self, response: ResponseClass) -> Disposal {
        let call = self.poll().unwrap();
        self.end(&call, response)
    }
}

#[test]
fn partial_batch_waits_and_full_batch_does_not() {
    let mut world = world();
    world.come(1, 1);
    assert_eq!(world.send(), None);
    world.pass(2_000);
    assert_eq!(world.send(), Some((1, Lane::Live, 1, 1)));
    world.come(2, 100);
    assert_eq!(world.send(), Some((2, Lane::Live, 1, 100)));
}

#[test]
fn flush_sends_only_waiting_states_at_once() {
    let mut world = world();
    world.come(1, 3);
    assert_eq!(world.send(), None);
    world.reporter.handle_flush(world.now);
    assert_eq!(world.send(), Some((1, Lane::Live, 1, 3)));
    world.come(1, 1);
    assert_eq!(world.send(), None);
    world.backlog(2, 1);
    world.fail(ResponseClass::Offline);
    assert_eq!(world.send(), None, "the link is waiting");
    world.reporter.handle_flush(world.now);
    assert!(world.send().is_some());
}

#[test]
fn batch_is_full_by_bytes_too() {
    let mut world = world();
    let waiting = Waiting { states: 3, bytes: 150_000, last: 3 };
    world.reporter.handle_waiting(device(1), waiting, world.now);
    assert!(world.reporter.poll_action().is_some());
}

#[test]
fn devices_take_turns() {
    let mut world = world();
    (1..=3).for_each(|number| world.backlog(number, 1_000));
    let turns: Vec<_> = (0..6).map(|_| world.send().unwrap().0).collect();
    assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn failing_device_does_not_delay_the_others() {
    let mut world = world();
    (1..=4).for_each(|number| world.backlog(number, 1_000));
    for response in
        [ResponseClass::Throttled(None), ResponseClass::Blocked, ResponseClass::ServerError(None)]
    {
        assert_eq!(world.fail(response), Disposal::Keep);
    }
    let turns: Vec<_> = (0..3).map(|_| world.send().unwrap().0).collect();
    assert_eq!(turns, [4, 4, 4]);
    world.pass(16_000);
    let turns: Vec<_> = (0..2).map(|_| world.send().unwrap().0).collect();
    assert_eq!(turns, [1, 3]);
}

#[test]
fn obeys_retry_after_up_to_a_bound() {
    for (asked_s, waits_s) in [(1, 16), (60, 60), (86_400, 15 * 60)] {
        let mut world = world();
        world.backlog(1, 1);
        world.fail(ResponseClass::Throttled(Some(Duration::from_secs(asked_s))));
        let until = world.now + Duration::from_secs(waits_s);
        assert_eq!(world.reporter.poll_action(), None);
        assert_eq!(world.reporter.poll_timeout(), Some(until), "{asked_s} s");
    }
}

#[test]
fn sends_new_states_before_backlog_and_both_in_order() {
    let mut world = world();
    world.backlog(1, 1_000);
    assert_eq!(world.send(), Some((1, Lane::Backlog, 1, 100)));
    world.come(1, 3);
    assert_eq!(
        world.send(),
        Some((1, Lane::Backlog, 101, 200)),
        "the live batch may still fill up"
    );
    world.pass(2_000);
    assert_eq!(world.send(), Some((1, Lane::Live, 1_001, 1_003)));
    assert_eq!(world.send(), Some((1, Lane::Backlog, 201, 300)));
}

#[test]
fn new_states_do_not_starve_the_backlog() {
    let mut world = world();
    world.backlog(1, 100_000);
    let mut lanes = Vec::new();
    for _ in 0..20 {
        world.come(1, 100);
        lanes.push(world.send().unwrap().1);
    }
    let backlog = lanes.iter().filter(|lane| **lane == Lane::Backlog).count();
    assert_eq!(backlog, 4, "{lanes:?}");
}

#[test]
fn backlog_burst_leaves_room_for_live_calls() {
    let mut world = world();
    world.backlog(1, 1_000_000);
    let mut burst = 0;
    while world.send().is_some() {
        burst += 1;
    }
    assert!((15..CALLS_MAX - 5).contains(&burst), "{burst}");
    for _ in 0..5 {
        world.come(1, 1);
        world.pass(2_000);
        assert_eq!(world.send().map(|(_, lane, ..)| lane), Some(Lane::Live));
    }
}

#[test]
fn never_makes_more_calls_than_losant_allows() {
    let mut world = world();
    world.come(1, 1);
    let mut calls = 0;
    for _ in 0..100 {
        world.come(1, 100);
        calls += usize::from(world.send().is_some());
    }
    assert_eq!(calls, CALLS_MAX);
    world.pass(15_000);
    assert_eq!(world.send(), None);
    world.pass(100);
    assert!(world.send().is_some());
}

#[test]
fn states_from_an_outage_become_backlog() {
    let mut world = world();
    world.come(1, 1);
    world.pass(2_000);
    world.fail(ResponseClass::Offline);
    world.come(1, 5_000);
    world.pass(300_000);
    assert_eq!(world.send(), Some((1, Lane::Live, 4_902, 5_001)));
    assert_eq!(world.send(), Some((1, Lane::Backlog, 1, 100)));
}

#[test]
fn each_lane_has_one_call_in_flight_with_its_own_states() {
    let mut world = world();
    world.backlog(1, 50);
    world.come(1, 150);
    let live = world.poll().unwrap();
    let backlog = world.poll().unwrap();
    assert_eq!((live.lane, backlog.lane), (Lane::Live, Lane::Backlog));
    assert_eq!(world.poll(), None);
    world.come(1, 5_000);
    assert_eq!(world.poll(), None, "the live call is still in flight");
    assert_eq!(world.batch(&live), (51..=150).collect::<Vec<_>>());
    assert_eq!(world.batch(&backlog), (1..=50).collect::<Vec<_>>());
    world.end(&backlog, ResponseClass::Stored);
    world.end(&live, ResponseClass::Stored);
    assert!(world.poll().is_some());
}

/// Returns a world with a high average response time.
fn slow_world(devices: u8, states: u64) -> World {
    let mut world = world();
    (1..=devices).for_each(|number| world.backlog(number, states));
    for _ in 0..8 {
        let call = world.poll().unwrap();
        world.pass(1_000);
        world.end(&call, ResponseClass::Stored);
    }
    world
}

#[test]
fn bounds_calls_in_flight_and_reserves_some_for_new_states() {
    for (mut world, calls_max) in
        [(world(), CALLS_UNDER_WAY_FAST), (slow_world(30, 1_000), CALLS_UNDER_WAY_MAX)]
    {
        (31..=60).for_each(|number| world.backlog(number, 1_000));
        let under_way = (0..100).take_while(|_| world.poll().is_some()).count();
        assert_eq!(under_way, calls_max - CALLS_RESERVED);
        world.come(1, 100);
        assert_eq!(world.poll().map(|call| call.lane), Some(Lane::Live));
    }
}

#[test]
fn slow_link_allows_two_consecutive_backlog_calls() {
    let mut world = slow_world(1, 2_000);
    let (first, second) = (world.poll().unwrap(), world.poll().unwrap());
    assert_eq!(world.poll(), None);
    let (one, next) = (world.batch(&first), world.batch(&second));
    assert_eq!(one.last().map(|last| last + 1), next.first().copied());
    world.end(&second, ResponseClass::Stored);
    world.end(&first, ResponseClass::Stored);
    let third = world.poll().unwrap();
    assert_eq!(world.batch(&third)[0], next.last().unwrap() + 1);
}

#[test]
fn slow_backlog_uses_one_call_after_a_failure() {
    let mut world = slow_world(1, 2_000);
    let (first, second) = (world.poll().unwrap(), world.poll().unwrap());
    let batch = world.batch(&first);
    world.end(&first, ResponseClass::Malformed);
    assert_eq!(world.poll(), None, "the second call is still in flight");
    world.end(&second, ResponseClass::Stored);
    let half = world.poll().unwrap();
    assert_eq!(world.batch(&half), batch[..50], "the search continues");
    assert_eq!(world.poll(), None);
}

#[test]
fn starts_no_third_call_when_all_states_are_in_flight() {
    let mut world = slow_world(1, 1_000);
    let (first, second) = (world.poll().unwrap(), world.poll().unwrap());
    world.end(&first, ResponseClass::Stored);
    assert_eq!(world.poll(), None);
    world.end(&second, ResponseClass::Stored);
    assert_eq!(world.reporter.poll_action(), None);
    assert_eq!(world.reporter.poll_timeout(), None);
}

#[test]
fn wait_for_the_link_grows_to_its_bound() {
    let mut world = world();
    world.backlog(1, 1_000);
    let mut longest = Duration::ZERO;
    for _ in 0..30 {
        assert_eq!(world.fail(ResponseClass::Offline), Disposal::Keep);
        assert_eq!(world.reporter.poll_action(), None);
        let at = world.reporter.poll_timeout().unwrap();
        longest = longest.max(at - world.now);
        world.now = at;
    }
    let expected = Duration::from_secs(60)..=Duration::from_secs(300);
    assert!(expected.contains(&longest), "{longest:?}");
    assert_eq!(world.reporter.online(), Some(false));
}

#[test]
fn simultaneous_failures_count_once_and_one_call_probes() {
    let mut world = world();
    (1..=6).for_each(|number| world.backlog(number, 1_000));
    let calls: Vec<_> = (0..6).map(|_| world.poll().unwrap()).collect();
    world.pass(100);
    for call in &calls {
        world.end(call, ResponseClass::Offline);
    }
    world.pass(2_000);
    let probe = world.poll().expect("the first wait is 2 s at most");
    assert_eq!(world.poll(), None, "one call probes the link");
    world.end(&probe, ResponseClass::Stored);
    assert!(world.poll().is_some() && world.poll().is_some());
}

#[test]
fn halving_isolates_a_bad_state() {
    for lane in [Lane::Live, Lane::Backlog] {
        let (mut world, bad) = (world(), 64);
        match lane {
            Lane::Live => world.come(1, 100),
            Lane::Backlog => world.backlog(1, 100),
        }
        let (mut stored, mut rejected, mut calls) = (Vec::new(), Vec::new(), 0);
        while !world.queues[&1].waiting.is_empty() {
            world.pass(2_000);
            let Some(call) = world.poll() else { continue };
            calls += 1;
            let batch = world.batch(&call);
            let response =
                if batch.contains(&bad) { ResponseClass::Malformed } else { ResponseClass::Stored };
            match world.end(&call, response) {
                Disposal::Delete => stored.extend(batch),
                Disposal::Reject => rejected.extend(batch),
                Disposal::Keep => {}
            }
        }
        assert_eq!(rejected, [bad]);
        assert_eq!(stored.len(), 99);
        assert!(stored.is_sorted());
        assert!(calls <= 25, "{calls} calls to find one bad state in 100");
    }
}

#[test]
fn halves_too_large_batch_and_remembers_the_size() {
    let mut world = world();
    world.backlog(1, 151);
    assert_eq!(world.fail(ResponseClass::TooLarge), Disposal::Keep);
    for through in [50, 100, 150] {
        assert_eq!(world.send(), Some((1, Lane::Backlog, through - 49, through)));
    }
    assert_eq!(world.fail(ResponseClass::TooLarge), Disposal::Reject);
}

#[test]
fn reports_device_with_too_many_gaps_in_order() {
    let mut world = world();
    world.backlog(1, 150);
    world.come(1, 100);
    world.reporter.handle_scattered(device(1), world.now);
    for (first, last) in [(1, 100), (101, 200), (201, 250)] {
        assert_eq!(world.send(), Some((1, Lane::Backlog, first, last)));
    }
    world.come(1, 100);
    assert_eq!(world.send().map(|(_, lane, ..)| lane), Some(Lane::Live));
}

#[test]
fn drain_sends_partial_batches() {
    let mut world = world();
    world.come(1, 1);
    assert_eq!(world.poll(), None);
    world.reporter.handle_drain(world.now);
    world.fail(ResponseClass::Offline);
    assert_eq!(world.poll(), None);
    world.reporter.handle_drain(world.now);
    assert_eq!(world.send(), Some((1, Lane::Live, 1, 1)), "a last try although the link was down");
}

#[test]
fn unreadable_states_do_not_cause_a_busy_loop() {
    let mut world = world();
    world.backlog(1, 1);
    let call = world.poll().unwrap();
    let finished = FinishedCall {
        states: 0,
        last: 0,
        response: ResponseClass::Unauthorized,
        may_count: false,
    };
    world.reporter.handle_result(&call, &finished, world.now);
    assert_eq!(world.poll(), None);
    world.pass(1_000);
    assert!(world.poll().is_some());
}
