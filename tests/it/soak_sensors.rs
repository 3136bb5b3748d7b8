//! Twenty-two sensors of all kinds while plugs are pulled at random: nothing leaks, nothing sticks, the ledger adds up.
//!
//! Some seconds in the tests; `make soak-sensors` for half an hour. `SOAK_SECONDS` sets the time and
//! `SOAK_SEED` what happens in it.

mod instruments;
mod world;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate_sandbox::Sandbox;

use crate::memory::environment;
use crate::support::{Daemon, assert_content, cloud, values};
use instruments::attributes;
use world::World;

/// What the daemon may grow by, in kB, once all is running: buffers that find their size. A leak of one reading in each round
/// shows in half an hour.
const GROWTH_KB_MAX: u64 = 12_000;

/// How often the memory in use is told.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Waits until every sensor has told something new.
async fn assert_all_tell(world: &mut World, cloud: &Sandbox) {
    let before: Vec<_> =
        attributes().into_iter().map(|name| (values(cloud, &name).len(), name)).collect();
    let deadline = now() + crate::support::PATIENCE;
    loop {
        world.speak().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let is_stuck = |(count, name): &&(usize, String)| values(cloud, name).len() <= *count;
        let stuck: Vec<_> = before.iter().filter(is_stuck).map(|(_, name)| name).collect();
        if stuck.is_empty() {
            return;
        }
        assert!(now() < deadline, "stuck: {stuck:?}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test waits in real time, because there are sockets"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn sensors_of_all_kinds_survive_pulled_plugs() {
    let seed = number("SOAK_SEED", 5);
    let seconds = number("SOAK_SECONDS", 8);
    eprintln!("SOAK_SEED={seed} SOAK_SECONDS={seconds}");
    let (cloud, mut rng) = (cloud().await, StdRng::seed_from_u64(seed));
    let mut world = World::new(&cloud);
    let daemon = world.site.start_with(&environment());
    daemon.wait_for_log("listening for pushes");
    assert_all_tell(&mut world, &cloud).await;
    let before_kb = daemon.memory_kb();
    let end = now() + Duration::from_secs(seconds);
    let (mut pulled, mut report) = (0, now() + REPORT_INTERVAL);
    while now() < end {
        world.speak().await;
        if rng.random_bool(0.5) {
            world.pull(&mut rng);
            pulled += 1;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..300))).await;
        if now() >= report {
            report += REPORT_INTERVAL;
            eprintln!("{:?} after {pulled} plugs", daemon.memory());
        }
    }
    world.mend_all();
    assert_all_tell(&mut world, &cloud).await;
    finish(daemon, &world, &cloud, (before_kb, pulled));
}

fn finish(daemon: Daemon, world: &World, cloud: &Sandbox, (before_kb, pulled): (u64, u32)) {
    let growth_kb = daemon.memory_kb().saturating_sub(before_kb);
    let lines = daemon.log().lines().filter(|line| line.contains("WARN")).count();
    assert!(daemon.terminate().success());
    let ledger = world.site.outbox()["ledger"].clone();
    let sum = |key: &str| -> u64 {
        ledger.as_object().unwrap().values().map(|account| account[key].as_u64().unwrap()).sum()
    };
    let (received, stored) = (sum("received"), sum("stored"));
    eprintln!(
        "{pulled} plugs pulled, {received} received, {stored} stored, {growth_kb} kB more, {lines} warnings"
    );
    for (bus, account) in ledger.as_object().unwrap() {
        eprintln!("{bus}: {account}");
    }
    assert!(growth_kb < GROWTH_KB_MAX, "{growth_kb} kB more than at the beginning");
    assert_content(cloud);
}
