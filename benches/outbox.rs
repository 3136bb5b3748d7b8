//! How fast the outbox takes states, and what the disk pays for it.
//!
//! Each line is one run into a new outbox: states a second, processor time for each, bytes handed to the disk for each byte
//! of state, and the memory of the process afterwards. Then a backlog of a million is made, opened again and drained, and steady
//! rates with the default commit interval are counted through. The outbox is made in the current directory: what counts is a real disk. Run it with `make bench`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate::model::{Account, DeviceId, Moment, Name, Priority, Timestamp};
use tidegate::outbox::{Commit, Options, Outbox, Pending};

/// Long enough to level out the disk's moods.
const RUN: Duration = Duration::from_secs(3);

/// Bytes of one state: two attributes, a usual size.
const STATE_BYTES: f64 = 78.0;

/// The backlog that is opened and drained.
const BACKLOG: u64 = 1_000_000;

/// `outbox.commit_interval` is 500 ms.
const COMMITS_PER_SECOND: usize = 2;

/// `reporter.batch_age` is 2 s: so often the cloud confirms while it answers.
const COMMITS_PER_BATCH: u64 = 4;

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
        let directory = tempfile::tempdir_in(".")?;
        let options = Options { bytes_max: 1 << 40, ..Options::default() };
        let outbox = Outbox::open(directory.path(), options)?;
        let (started, written_before, mut appended) = (Instant::now(), written(), 0_u64);
        let cpu_before = cpu_seconds();
        while started.elapsed() < RUN {
            outbox.append(&commit(&bus, states, appended))?;
            appended += states as u64;
        }
        let rate = appended as f64 / started.elapsed().as_secs_f64();
        let amplification = (written() - written_before) as f64 / (appended as f64 * STATE_BYTES);
        let cpu = (cpu_seconds() - cpu_before) * 1e6 / appended as f64;
        println!(
            "{states:>9}    {rate:>8.0}    {cpu:>12.1}    {amplification:>12.1}    {}",
            memory()
        );
    }
    backlog(&bus)?;
    println!("\nreadings/s    cloud    written/byte    MB a day");
    for (readings, commits) in [(1_000, 1_000), (10, 4_000)] {
        paced(&bus, readings, commits, false)?;
        paced(&bus, readings, commits, true)?;
    }
    Ok(())
}

/// What a steady rate of readings, a state each, costs the disk with the default commit interval: only commits write, so there is
/// no need to wait between them.
#[expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark divides counts and prints"
)]
fn paced(
    bus: &Name,
    readings_per_second: usize,
    commits: u64,
    is_online: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir_in(".")?;
    let options = Options { bytes_max: 1 << 40, ..Options::default() };
    let outbox = Outbox::open(directory.path(), options)?;
    let (device, states) = (DeviceId::from([1; 12]), readings_per_second / COMMITS_PER_SECOND);
    let (before, mut appended) = (written(), 0);
    for number in 1..=commits {
        outbox.append(&commit(bus, states, appended))?;
        appended += states as u64;
        if is_online && number % COMMITS_PER_BATCH == 0 {
            outbox.ack(device, 1, appended)?;
        }
    }
    let cost = (written() - before) as f64;
    println!(
        "{readings_per_second:>10}    {:>5}    {:>12.2}    {:>8.1}",
        if is_online { "on" } else { "dark" },
        cost / (appended as f64 * STATE_BYTES),
        cost / commits as f64 * COMMITS_PER_SECOND as f64 * 86_400.0 / 1e6
    );
    Ok(())
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]
fn backlog(bus: &Name) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir_in(".")?;
    let options = Options { bytes_max: 1 << 40, ..Options::default() };
    let (device, started) = (DeviceId::from([1; 12]), Instant::now());
    let outbox = Outbox::open(directory.path(), options)?;
    for done in (0..BACKLOG).step_by(500) {
        outbox.append(&commit(bus, 500, done))?;
    }
    println!(
        "\n{BACKLOG} states wait after {:.1} s: {} on the disk, memory {}",
        started.elapsed().as_secs_f64(),
        bytesize::ByteSize(disk_use(directory.path())?),
        memory()
    );
    drop(outbox);
    let started = Instant::now();
    let outbox = Outbox::open(directory.path(), options)?;
    println!("opened again in {:.2} s, memory {}", started.elapsed().as_secs_f64(), memory());
    let started = Instant::now();
    while let [first, .., last] = outbox.peek(device, 0, 100, 200_000)?.as_slice() {
        outbox.ack(device, first.sequence, last.sequence)?;
    }
    println!(
        "drained in {:.1} s: {} on the disk, memory {}",
        started.elapsed().as_secs_f64(),
        bytesize::ByteSize(disk_use(directory.path())?),
        memory()
    );
    Ok(())
}

fn disk_use(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_use(&entry.path())? } else { 512 * metadata.blocks() };
    }
    Ok(bytes)
}

/// States whose values wander, one a second from the `first` on.
fn commit(bus: &Name, states: usize, first: u64) -> Commit {
    let state = |number: u64| Pending {
        device: DeviceId::from([1; 12]),
        bus: bus.clone(),
        moment: Moment::Wall(time(number)),
        priority: Priority::default(),
        readings: 2,
        json: Bytes::from(format!(
            r#"{{"time":"{}","data":{{"humidity":{}.{},"temperature":{}.{:02}}}}}"#,
            time(number),
            40 + number * 7 % 11,
            number * 13 % 10,
            20 + number * 5 % 3,
            number * 37 % 100
        )),
    };
    let readings = 2 * states as u64;
    let account = Account { received: readings, outbox_in: readings, ..Account::default() };
    Commit {
        states: (first..).take(states).map(state).collect(),
        ledger: BTreeMap::from([(bus.clone(), account)]),
        ..Commit::default()
    }
}

fn time(second: u64) -> Timestamp {
    Timestamp::from_millis(1_777_629_600_000).plus(Duration::from_secs(second))
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
