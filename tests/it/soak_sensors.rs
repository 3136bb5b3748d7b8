//! Twenty-two sensors of all kinds survive random disconnections without leaks or stuck sensors.
//!
//! The test runs for some seconds, and with `make soak-sensors` for half an hour. `SOAK_SECONDS`
//! sets the time, and `SOAK_SEED` the random choices.

mod instruments;
mod world;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate_sandbox::Sandbox;

use crate::memory::environment;
use crate::support::{Daemon, TIMEOUT, assert_content, cloud, env_number, values};
use instruments::attributes;
use world::World;

/// The most growth of the daemon's memory after all sensors report, in kB, while buffers grow.
///
/// A leak of one reading per round shows in half an hour.
const GROWTH_KB_MAX: u64 = 12_000;

/// Time between two reports of the memory in use.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Waits until every sensor has reported a new value.
async fn assert_all_report(world: &mut World, cloud: &Sandbox) {
    let before: Vec<_> =
        attributes().into_iter().map(|name| (values(cloud, &name).len(), name)).collect();
    let deadline = now() + TIMEOUT;
    loop {
        world.write_values().await;
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
    let seed = env_number("SOAK_SEED", 5);
    let seconds = env_number("SOAK_SECONDS", 8);
    eprintln!("SOAK_SEED={seed} SOAK_SECONDS={seconds}");
    let (cloud, mut rng) = (cloud().await, StdRng::seed_from_u64(seed));
    let mut world = World::new(&cloud);
    let daemon = world.site.start_with(&environment());
    daemon.wait_for_log("listening for pushes");
    assert_all_report(&mut world, &cloud).await;
    let before_kb = daemon.memory_kb();
    let end = now() + Duration::from_secs(seconds);
    let (mut disturbances, mut report) = (0, now() + REPORT_INTERVAL);
    while now() < end {
        world.write_values().await;
        if rng.random_bool(0.5) {
            world.disturb(&mut rng);
            disturbances += 1;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..300))).await;
        if now() >= report {
            report += REPORT_INTERVAL;
            eprintln!("{:?} after {disturbances} disturbances", daemon.memory());
        }
    }
    world.repair_all();
    assert_all_report(&mut world, &cloud).await;
    let growth_kb = daemon.memory_kb().saturating_sub(before_kb);
    eprintln!("{disturbances} disturbances, {growth_kb} kB more");
    assert_ledger_adds_up(daemon, &world);
    assert!(growth_kb < GROWTH_KB_MAX, "{growth_kb} kB more than at the beginning");
    assert_content(&cloud);
}

/// Ends the daemon, asserts that its ledger adds up, and prints figures.
fn assert_ledger_adds_up(daemon: Daemon, world: &World) {
    let lines = daemon.log().lines().filter(|line| line.contains("WARN")).count();
    assert!(daemon.terminate().success());
    let ledger = world.site.outbox()["ledger"].clone();
    let sum = |key: &str| -> u64 {
        ledger.as_object().unwrap().values().map(|account| account[key].as_u64().unwrap()).sum()
    };
    let (received, stored) = (sum("received"), sum("stored"));
    eprintln!("{received} received, {stored} stored, {lines} warnings");
    for (bus, account) in ledger.as_object().unwrap() {
        eprintln!("{bus}: {account}");
    }
}
