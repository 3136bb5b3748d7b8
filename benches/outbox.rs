//! How fast the outbox takes states, and what the disk pays for it.
//!
//! First as fast as it can, the best of three runs: states a second, processor time for each, bytes handed to the disk for
//! each byte of state, and the memory of the process afterwards. Then at the pace of readings that are committed each
//! [`COMMIT_INTERVAL`], without waiting in between: commits are what writes, not time. Then a backlog of a million is made,
//! opened again and drained. It fails when a gate is missed. The outbox is made in the current directory: what counts is a
//! real disk. Run it with `make bench`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_model::{Account, DeviceId, Name, Priority, ReadingTime, WallTime};
use tidegate_outbox::{Commit, Options, Outbox, Pending};

/// Long enough to level out the disk's moods.
const RUN: Duration = Duration::from_secs(3);

/// Bytes of one state: two attributes, a usual size.
const STATE_BYTES: f64 = 78.0;

/// Of so many runs as fast as it can the best counts: what else the computer does makes the others slower.
const RUNS: u32 = 3;

/// The usual one of the configuration.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Commits in a call while the cloud answers: those of 2 s, the usual age of a batch.
const CALL_COMMITS: u64 = 4;

/// Readings in a state.
const STATE_READINGS: u16 = 2;

/// The backlog that is opened and drained.
const BACKLOG: u64 = 1_000_000;

/// At least so many states a second in commits of 256, or half of what the disk's syncs allow.
const RATE_MIN: f64 = 200_000.0;

/// At most so many bytes to the disk for each byte of state, at 1,000 readings a second.
const WRITTEN_MAX: f64 = 2.0;

/// At most so long to open the backlog.
const REOPEN_MAX: Duration = Duration::from_secs(2);

/// At most so many bytes on the disk after the drain: three segments.
const DRAINED_MAX: u64 = 3 * tidegate_outbox::SEGMENT_BYTES;

/// What is said when a gate is missed.
type Missed = Vec<String>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus: Name = "bench".parse()?;
    let mut missed = Missed::new();
    fastest(&bus, &mut missed)?;
    paced(&bus, &mut missed)?;
    backlog(&bus, &mut missed)?;
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ").into()) }
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock, divides counts and prints"
)]
fn fastest(bus: &Name, missed: &mut Missed) -> Result<(), Box<dyn std::error::Error>> {
    let syncs = syncs_per_second(&tempfile::tempfile_in(".")?)?;
    println!("the disk alone: {syncs:.0} syncs/s of 4 KiB\n");
    println!("commit of    states/s    CPU us/state    written/byte    memory");
    for states in [1, 16, 256] {
        let (mut best, mut line) = (0.0, String::new());
        for _ in 0..RUNS {
            let directory = tempfile::tempdir_in(".")?;
            let outbox = open(directory.path())?;
            let (started, written_before, mut appended) = (Instant::now(), written(), 0_u64);
            let cpu_before = cpu_seconds();
            while started.elapsed() < RUN {
                outbox.append(&commit(bus, states, appended))?;
                appended += states as u64;
            }
            let rate = appended as f64 / started.elapsed().as_secs_f64();
            if rate > best {
                let amplification =
                    (written() - written_before) as f64 / (appended as f64 * STATE_BYTES);
                let cpu = (cpu_seconds() - cpu_before) * 1e6 / appended as f64;
                best = rate;
                line =
                    format!("{rate:>8.0}    {cpu:>12.1}    {amplification:>12.1}    {}", memory());
            }
        }
        println!("{states:>9}    {line}");
        let least = RATE_MIN.min(256.0 * syncs / 2.0);
        if states == 256 && best < least {
            missed.push(format!("{best:.0} states/s in commits of 256; at least {least:.0}"));
        }
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark divides counts and prints"
)]
fn paced(bus: &Name, missed: &mut Missed) -> Result<(), Box<dyn std::error::Error>> {
    println!("\nreadings/s    cloud      written/byte      MB/day");
    for (readings, seconds) in [(1_000, 500), (10, 2_000)] {
        for cloud in ["answers", "dark"] {
            let directory = tempfile::tempdir_in(".")?;
            let outbox = open(directory.path())?;
            let written_before = written();
            let states = pace(&outbox, bus, (readings, seconds), cloud == "answers")?;
            drop(outbox);
            let bytes = (written() - written_before) as f64;
            let amplification = bytes / (states as f64 * STATE_BYTES);
            let day = bytes / seconds as f64 * 86_400.0 / 1e6;
            println!("{readings:>10}    {cloud:<7}    {amplification:>12.2}    {day:>8.0}");
            if readings == 1_000 && amplification > WRITTEN_MAX {
                missed.push(format!(
                    "{amplification:.2} bytes written for each at 1,000 readings/s, cloud {cloud}; at most {WRITTEN_MAX}"
                ));
            }
        }
    }
    Ok(())
}

/// What so many seconds bring at so many readings a second, a state each; returns the states. Sent is what waits, if the cloud answers.
fn pace(
    outbox: &Outbox,
    bus: &Name,
    (readings, seconds): (u64, u64),
    is_sent: bool,
) -> Result<u64, Box<dyn std::error::Error>> {
    let device = DeviceId::from([1; 12]);
    let commits = Duration::from_secs(seconds).as_millis() / COMMIT_INTERVAL.as_millis();
    let mut done = 0;
    for number in 1..=u64::try_from(commits)? {
        let through = number * readings * seconds / u64::try_from(commits)?;
        outbox.append(&commit(bus, usize::try_from(through - done)?, done))?;
        done = through;
        if is_sent && number.is_multiple_of(CALL_COMMITS) {
            let sent = outbox.peek(device, 0, 10_000, 10 << 20)?;
            if let (Some(first), Some(last)) = (sent.first(), sent.last()) {
                outbox.ack(device, first.sequence, last.sequence)?;
            }
        }
    }
    Ok(done)
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]
fn backlog(bus: &Name, missed: &mut Missed) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir_in(".")?;
    let (device, started) = (DeviceId::from([1; 12]), Instant::now());
    let outbox = open(directory.path())?;
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
    let mut fastest = Duration::MAX;
    for _ in 0..RUNS {
        let started = Instant::now();
        drop(open(directory.path())?);
        fastest = fastest.min(started.elapsed());
    }
    println!("opened again in {:.2} s, memory {}", fastest.as_secs_f64(), memory());
    if fastest > REOPEN_MAX {
        missed.push(format!("{fastest:.1?} to open {BACKLOG} states; at most {REOPEN_MAX:?}"));
    }
    let outbox = open(directory.path())?;
    let started = Instant::now();
    while let [first, .., last] = outbox.peek(device, 0, 100, 200_000)?.as_slice() {
        outbox.ack(device, first.sequence, last.sequence)?;
    }
    let left = disk_use(directory.path())?;
    println!(
        "drained in {:.1} s: {} on the disk, memory {}",
        started.elapsed().as_secs_f64(),
        bytesize::ByteSize(left),
        memory()
    );
    if left > DRAINED_MAX {
        missed.push(format!("{left} bytes are left after the drain; at most {DRAINED_MAX}"));
    }
    Ok(())
}

/// How often the disk syncs a page that is overwritten.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn syncs_per_second(file: &File) -> std::io::Result<f64> {
    let (started, mut syncs) = (Instant::now(), 0_u32);
    while started.elapsed() < RUN {
        file.write_all_at(&[1; 4 << 10], 0)?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(f64::from(syncs) / started.elapsed().as_secs_f64())
}

fn open(directory: &Path) -> Result<Outbox, tidegate_outbox::OpenError> {
    Outbox::open(directory, Options { bytes_max: 1 << 40, ..Options::default() })
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
        moment: ReadingTime::Wall(time(number)),
        priority: Priority::default(),
        readings: STATE_READINGS,
        json: Bytes::from(format!(
            r#"{{"time":"{}","data":{{"humidity":{}.{},"temperature":{}.{:02}}}}}"#,
            time(number),
            40 + number * 7 % 11,
            number * 13 % 10,
            20 + number * 5 % 3,
            number * 37 % 100
        )),
    };
    let readings = u64::from(STATE_READINGS) * states as u64;
    let account = Account { received: readings, outbox_in: readings, ..Account::default() };
    Commit {
        states: (first..).take(states).map(state).collect(),
        ledger: BTreeMap::from([(bus.clone(), account)]),
        ..Commit::default()
    }
}

fn time(second: u64) -> WallTime {
    WallTime::from_millis(1_777_629_600_000).plus(Duration::from_secs(second))
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
