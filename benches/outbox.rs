//! How fast the outbox takes states, and what the disk pays for it.
//!
//! Each line is one run into a new outbox: states a second, processor time for each, bytes handed to the disk for each byte
//! of state, and the memory of the process afterwards. Run it with `make bench`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate::model::{Account, DeviceId, Moment, Name, Timestamp};
use tidegate::outbox::{Commit, Options, Outbox, Pending, Priority};

/// Long enough to level out the disk's moods.
const RUN: Duration = Duration::from_secs(3);

/// One state of a usual size: two attributes.
const STATE: &[u8] =
    br#"{"time":"2026-05-01T10:00:00.000Z","data":{"humidity":48.1,"temperature":21.42},"meta":{"a":1}}"#;

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock, divides counts and prints"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus: Name = "bench".parse()?;
    println!("commit of    states/s    CPU us/state    written/byte    memory");
    for states in [1, 16, 256] {
        let directory = tempfile::tempdir()?;
        let options = Options { bytes_max: 1 << 40, cache_bytes: 4 << 20 };
        let outbox = Outbox::open(directory.path(), options)?;
        let commit = commit(&bus, states);
        let (started, written_before, mut appended) = (Instant::now(), written(), 0_u64);
        let cpu_before = cpu_seconds();
        while started.elapsed() < RUN {
            outbox.append(&commit)?;
            appended += states as u64;
        }
        let rate = appended as f64 / started.elapsed().as_secs_f64();
        let amplification =
            (written() - written_before) as f64 / (appended as f64 * STATE.len() as f64);
        let cpu = (cpu_seconds() - cpu_before) * 1e6 / appended as f64;
        println!(
            "{states:>9}    {rate:>8.0}    {cpu:>12.1}    {amplification:>12.1}    {}",
            memory()
        );
    }
    Ok(())
}

fn commit(bus: &Name, states: usize) -> Commit {
    let pending = Pending {
        device: DeviceId::from([1; 12]),
        bus: bus.clone(),
        moment: Moment::Wall(Timestamp::from_millis(1_777_629_600_000)),
        priority: Priority::default(),
        readings: 2,
        json: Bytes::from_static(STATE),
    };
    let readings = 2 * states as u64;
    let account = Account { received: readings, outbox_in: readings, ..Account::default() };
    Commit {
        states: vec![pending; states],
        ledger: BTreeMap::from([(bus.clone(), account)]),
        ..Commit::default()
    }
}

/// Processor time of this process in user and kernel mode; the kernel counts it in 1/100 s.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Bytes that this process has handed to the disk, as the kernel counts them.
fn written() -> u64 {
    field("/proc/self/io", "write_bytes:").parse().unwrap_or(0)
}

fn memory() -> String {
    field("/proc/self/status", "VmRSS:")
}

fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().to_owned()
}
