//! Simulated worlds that test the promises of delivery and commands: the pure machines over virtual time.
//!
//! A seed makes a world: devices that measure, a link that fails, a cloud that refuses, a clock that is
//! wrong and steps, a full disk, a daemon that is killed and a computer that loses power. The world checks
//! the promises while it runs and again when all faults are over. `SEEDS=10000` runs more worlds, `SEED=17`
//! runs one.

#![cfg(test)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by a panic, in its helpers too"
)]

mod cloud;
mod commands;
mod daemon;
mod disk;
mod weather;
mod world;

use std::time::Duration;

use weather::{Figures, Weather};
use world::World;

/// How many worlds are run if nothing is said.
const SEEDS: u64 = 50;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Every fifth world is one of kills while all calls are used.
fn weather(seed: u64) -> Weather {
    if seed % 5 == 4 { Weather::busy() } else { Weather::rough() }
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
        let ran = std::panic::catch_unwind(|| World::new(seed, &weather(seed)).run());
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

/// A backlog of ten devices over a calm link: how much of the calls that Losant allows are made, and the longest that a new
/// state took to arrive.
fn drain(devices: u8, answer_time: Duration) -> (f64, Duration) {
    let weather = Weather { devices, answer_time, backlog: 40_000, ..Weather::calm() };
    let figures = World::new(1, &weather).run();
    (figures.use_while_draining, figures.live_delay_max)
}

#[test]
fn backlog_uses_all_calls_and_new_states_do_not_wait() {
    // A call takes room until 15.05 s after its end: with answers after 1 s no more than 15 / 16.05 can be used.
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
        let (used, delay) = drain(devices, Duration::from_millis(answer_ms));
        eprintln!("{devices} devices, answers after {answer_ms} ms: {used:.3}, {delay:?}");
        assert!(used >= use_min, "{devices} devices, {answer_ms} ms: {used:.3}");
        assert!(delay < Duration::from_secs(8), "{devices} devices, {answer_ms} ms: {delay:?}");
    }
}
