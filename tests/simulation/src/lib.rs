//! Simulated worlds that test the promises of delivery and commands with the pure machines over
//! virtual time.
//!
//! A seed makes a world: devices that measure, a link that fails, a cloud that refuses, a clock
//! that is wrong and steps, a full disk, a daemon that is killed and a computer that loses power.
//! The world checks the promises while it runs and again when all faults are over. `SEEDS=10000`
//! runs more worlds, `SEED=17` runs one.

#![cfg(test)]

mod cloud;
mod commands;
mod daemon;
mod disk;
mod scenario;
mod world;

use std::time::Duration;

use scenario::{Figures, Scenario};
use world::World;

/// The default number of worlds.
const SEEDS: u64 = 50;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Returns the scenario of a seed. Every fifth world has kills at full throughput. In
/// every seventh, the cloud has an error for one device.
fn scenario(seed: u64) -> Scenario {
    let faults = if seed % 5 == 4 { Scenario::busy() } else { Scenario::with_faults() };
    Scenario { has_broken_device: seed % 7 == 3, ..faults }
}

#[test]
fn delivery_promises_hold_in_every_world() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let mut sum = Figures::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| World::new(seed, &scenario(seed)).run());
        match ran {
            Ok(figures) => sum.add(&figures),
            Err(panic) => {
                eprintln!("the world of seed {seed} broke a promise; SEED={seed} runs it again");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{count} worlds: {sum:?}");
    if count >= SEEDS {
        assert!(sum.is_eventful(), "too little happened: {sum:?}");
    }
}

/// Drains a backlog of each device over a link without faults.
fn drain(devices: u8, answer_time: Duration) -> Figures {
    let scenario = Scenario { devices, answer_time, backlog: 40_000, ..Scenario::without_faults() };
    World::new(1, &scenario).run()
}

#[test]
fn backlog_uses_all_calls_and_new_states_do_not_wait() {
    // A call counts until 15.05 s after its end: with answers after 1 s, 15 / 16.05 can be used.
    for (devices, answer_ms, use_min) in [
        (1, 20, 0.97),
        (1, 100, 0.97),
        (1, 400, 0.95),
        (1, 600, 0.95),
        (1, 1_000, 0.9),
        (10, 100, 0.97),
        (10, 300, 0.95),
        (10, 600, 0.95),
        (10, 1_000, 0.9),
    ] {
        let figures = drain(devices, Duration::from_millis(answer_ms));
        let (used, delay) = (figures.throttle_use, figures.live_delay_max);
        eprintln!("{devices} devices, answers after {answer_ms} ms: {used:.3}, {delay:?}");
        assert!(used >= use_min, "{devices} devices, {answer_ms} ms: {used:.3}");
        assert!(delay < Duration::from_secs(8), "{devices} devices, {answer_ms} ms: {delay:?}");
    }
}

#[test]
fn all_devices_recover_together_after_the_cloud_answered_503() {
    for seed in 1..20 {
        let scenario = Scenario {
            devices: 20,
            backlog: 2_000,
            unavailable_until: Duration::from_secs(600),
            ..Scenario::without_faults()
        };
        let figures = World::new(seed, &scenario).run();
        let (spread, failed) = (figures.first_stored_spread, figures.unavailable);
        eprintln!("seed {seed}: {failed} failed calls, all devices within {spread:?}");
        assert!(spread < Duration::from_secs(2), "seed {seed}: {spread:?}");
        assert!(failed < 40, "seed {seed}: {failed} probes in 580 s");
    }
}

#[test]
fn device_with_permanent_errors_costs_the_others_nothing() {
    let scenario = Scenario {
        devices: 10,
        backlog: 40_000,
        has_broken_device: true,
        ..Scenario::without_faults()
    };
    let figures = World::new(1, &scenario).run();
    let (used, delay) = (figures.throttle_use, figures.live_delay_max);
    eprintln!("one of 10 devices fails: {used:.3}, {delay:?}");
    assert!(used >= 0.97 * 0.9, "{used:.3}");
    assert!(delay < Duration::from_secs(8), "{delay:?}");
}
