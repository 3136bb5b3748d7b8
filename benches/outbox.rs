//! Measures the outbox: states a second, processor time, bytes written to disk, and memory.
//!
//! The first part appends at full speed and reports the best of three runs. The second part commits
//! like a daemon with a commit each [`COMMIT_INTERVAL`], but without the pauses. The third part
//! fills the outbox with a million states, opens it again and drains it. The last part lets the
//! states of 50 devices flow through the outbox, and then wait in it while they are read again and
//! again. The benchmark fails if a result misses its limit. It creates the outbox in the current
//! directory, to measure a real disk. Run it with `make bench`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_model::{Account, DeviceId, Name, Priority, ReadingTime, WallTime};
use tidegate_outbox::{Commit, NewState, Options, Outbox};

/// The length of a run, long enough to average over the disk.
const RUN: Duration = Duration::from_secs(3);

/// The bytes of one state with two attributes.
const STATE_BYTES: f64 = 78.0;

/// The number of runs at full speed. The best one counts, because other work on the computer slows
/// some runs down.
const RUNS: u32 = 3;

/// The default of the configuration.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// The commits in one call to Losant: those of 2 s, the default age of a batch.
const CALL_COMMITS: u64 = 4;

/// The readings in a state.
const STATE_READINGS: u16 = 2;

/// The states of the backlog that is opened and drained.
const BACKLOG: u64 = 1_000_000;

/// The least states a second in commits of 256, unless the syncs of the disk allow less than twice
/// as many.
const RATE_MIN: f64 = 200_000.0;

/// The most bytes written for each byte of state, at 1,000 readings a second.
const WRITTEN_MAX: f64 = 2.0;

/// The longest time to open the backlog.
const REOPEN_MAX: Duration = Duration::from_secs(2);

/// The most bytes on disk after the drain: three segments.
const DRAINED_MAX: u64 = 3 * tidegate_outbox::SEGMENT_BYTES;

/// The devices of the last part.
const DEVICES: u8 = 50;

/// The states of the last part.
const DEVICE_STATES: u64 = 200_000;

/// The states in a commit of the last part.
const DEVICE_COMMIT: usize = 100;

/// A device has this many waiting states when it sends; one call takes all of them.
const DEVICE_CALL: u64 = 100;

/// The most bytes written for each state in a running flow.
const FLOW_WRITTEN_MAX: f64 = 200.0;

/// The most bytes written for [`DEVICE_STATES`] that wait.
const WAITING_WRITTEN_MAX: u64 = 40_000_000;

/// The limits that were missed, as messages.
type Missed = Vec<String>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus: Name = "bench".parse()?;
    let mut missed = Missed::new();
    fastest(&bus, &mut missed)?;
    paced(&bus, &mut missed)?;
    backlog(&bus, &mut missed)?;
    flow(&bus, &mut missed)?;
    waiting(&bus, &mut missed)?;
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
        for cloud in ["answers", "offline"] {
            let directory = tempfile::tempdir_in(".")?;
            let outbox = open(directory.path())?;
            let written_before = written();
            let states = pace(&outbox, bus, readings, seconds, cloud == "answers")?;
            drop(outbox);
            let bytes = (written() - written_before) as f64;
            let amplification = bytes / (states as f64 * STATE_BYTES);
            let day = bytes / seconds as f64 * 86_400.0 / 1e6;
            println!("{readings:>10}    {cloud:<7}    {amplification:>12.2}    {day:>8.0}");
            if readings == 1_000 && amplification > WRITTEN_MAX {
                missed.push(format!(
                    "{amplification:.2} bytes written for each at 1,000 readings/s, \
                     cloud {cloud}; at most {WRITTEN_MAX}"
                ));
            }
        }
    }
    Ok(())
}

/// Appends the states of this time, one for each reading. Acknowledges them if `is_sent`. Returns
/// their number.
fn pace(
    outbox: &Outbox,
    bus: &Name,
    readings_per_second: u64,
    seconds: u64,
    is_sent: bool,
) -> Result<u64, Box<dyn std::error::Error>> {
    let device = DeviceId::from([1; 12]);
    let commits = Duration::from_secs(seconds).as_millis() / COMMIT_INTERVAL.as_millis();
    let mut done = 0;
    for number in 1..=u64::try_from(commits)? {
        let through = number * readings_per_second * seconds / u64::try_from(commits)?;
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
        "\n{BACKLOG} states queued after {:.1} s: {} on the disk, memory {}",
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

/// Measures states of many devices that leave soon.
#[expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark divides counts and prints"
)]
fn flow(bus: &Name, missed: &mut Missed) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir_in(".")?;
    let outbox = open(directory.path())?;
    let (written_before, cpu_before) = (written(), cpu_seconds());
    let mut version = 0;
    for done in (0..DEVICE_STATES).step_by(DEVICE_COMMIT) {
        outbox.append(&commit_of(bus, DEVICE_COMMIT, done, DEVICES))?;
        let changes = outbox.queue_changes(version);
        version = changes.version;
        for queue in changes.queues.iter().filter(|one| one.amount.states >= DEVICE_CALL) {
            let sent = outbox.peek(queue.device, 0, 500, 1 << 20)?;
            if let (Some(first), Some(last)) = (sent.first(), sent.last()) {
                outbox.ack(queue.device, first.sequence, last.sequence)?;
            }
        }
    }
    let bytes = (written() - written_before) as f64 / DEVICE_STATES as f64;
    let cpu = (cpu_seconds() - cpu_before) * 1e6 / DEVICE_STATES as f64;
    println!("\nflow of {DEVICES} devices: {bytes:.0} bytes written and {cpu:.1} CPU us a state");
    if bytes > FLOW_WRITTEN_MAX {
        missed.push(format!("{bytes:.0} bytes a state in a flow; at most {FLOW_WRITTEN_MAX}"));
    }
    Ok(())
}

/// Measures states of many devices that wait, and are read for each failed call.
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]
fn waiting(bus: &Name, missed: &mut Missed) -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir_in(".")?;
    let outbox = open(directory.path())?;
    let written_before = written();
    for done in (0..DEVICE_STATES).step_by(DEVICE_COMMIT) {
        outbox.append(&commit_of(bus, DEVICE_COMMIT, done, DEVICES))?;
    }
    let filled = written() - written_before;
    let (written_before, started) = (written(), Instant::now());
    for _ in 0..10 {
        for device in 0..DEVICES {
            outbox.peek(DeviceId::from([device; 12]), 0, 500, 1 << 20)?;
        }
    }
    let (read, took) = (written() - written_before, started.elapsed());
    println!(
        "{DEVICE_STATES} states of {DEVICES} devices wait: {} written, memory {}; \
         {} written by 500 reads of 500 states, {:.2} ms each",
        bytesize::ByteSize(filled),
        memory(),
        bytesize::ByteSize(read),
        took.as_secs_f64() * 2.0
    );
    if filled > WAITING_WRITTEN_MAX {
        missed.push(format!("{filled} bytes written; at most {WAITING_WRITTEN_MAX}"));
    }
    if read > 0 {
        missed.push(format!("{read} bytes written by reads; a read writes nothing"));
    }
    Ok(())
}

/// Returns how often a second the disk syncs an overwritten page.
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

/// Returns a commit of states of one device, as [`commit_of`].
fn commit(bus: &Name, states: usize, first: u64) -> Commit {
    let mut commit = commit_of(bus, states, first, 1);
    commit.states.iter_mut().for_each(|state| state.device = DeviceId::from([1; 12]));
    commit
}

/// Returns a commit of states with changing values, one a second from `first` on, of each device in
/// turn.
fn commit_of(bus: &Name, states: usize, first: u64, devices: u8) -> Commit {
    let device = |number: u64| u8::try_from(number % u64::from(devices)).unwrap_or_default();
    let state = |number: u64| NewState {
        device: DeviceId::from([device(number); 12]),
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

/// Returns the processor time of this process in user and kernel mode, in seconds. The kernel
/// counts it in 1/100 s.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Returns the bytes that this process wrote to disk, as the kernel counts them.
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
