//! Reading a backlog writes nothing to disk. The kernel counts the writes of the whole process, so
//! this is the only test of its program.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_model::{DeviceId, Ledger, Priority, ReadingTime, WallTime};
use tidegate_outbox::{Commit, NewState, Options, Outbox};

const DEVICES: u8 = 20;

/// Small segments, so that there are many stores.
const OPTIONS: Options = Options {
    bytes_max: 1 << 30,
    segment_bytes: 64 << 10,
    journal_bytes: 128 << 10,
    when_full: tidegate_model::WhenFull::DropOldest,
    downsample_bucket: std::time::Duration::from_secs(600),
    free_bytes_min: 0,
};

/// The bytes of a state that sled stores in a file of its own.
const LARGE_BYTES: usize = 60_000;

/// Returns a text of digits that LZ4 cannot compress.
fn digits(seed: u64, length: usize) -> String {
    let mut number = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let digit = |_| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        char::from(b'0' + u8::try_from(number % 10).unwrap_or_default())
    };
    (0..length).map(digit).collect()
}

fn commit(seed: u64, length: usize) -> Commit {
    let state = |device: u8| NewState {
        device: DeviceId::from([device; 12]),
        bus: "a".parse().unwrap(),
        moment: ReadingTime::Wall(WallTime::from_millis(1_000)),
        priority: Priority::default(),
        readings: 1,
        json: Bytes::from(digits(seed + u64::from(device) * 1_000, length)),
    };
    let mut ledger = Ledger::default();
    let account = ledger.entry("a".parse().unwrap()).or_default();
    (account.received, account.outbox_in) = (DEVICES.into(), DEVICES.into());
    Commit { states: (0..DEVICES).map(state).collect(), ledger, ..Commit::default() }
}

/// Returns the time of the last change and the length of each file.
fn files(directory: &Path, found: &mut BTreeMap<PathBuf, (SystemTime, u64)>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            files(&entry.path(), found);
        }
        found.insert(entry.path(), (metadata.modified().unwrap(), metadata.len()));
    }
}

fn written() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

fn peek_all(outbox: &Outbox) -> u64 {
    let mut states = 0;
    for device in 0..DEVICES {
        let device = DeviceId::from([device; 12]);
        let mut after = 0;
        while let Some(last) = outbox.peek(device, after, 50, 1 << 20).unwrap().last() {
            after = last.sequence;
        }
        states += after;
    }
    states
}

#[test]
fn reading_a_backlog_writes_nothing() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), OPTIONS).unwrap();
    let mut commits = 0;
    let mut append = |outbox: &Outbox, length| {
        commits += 1;
        outbox.append(&commit(commits, length)).unwrap();
        commits * u64::from(DEVICES)
    };
    append(&outbox, LARGE_BYTES);
    let states = (0..200).map(|_| append(&outbox, 300)).last().unwrap();
    let assert_unwritten = |outbox: &Outbox| {
        let stores = fs::read_dir(directory.path().join("generations")).unwrap().count();
        assert!(stores >= 5, "{stores} stores");
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        files(directory.path(), &mut before);
        let written_before = written();
        for _ in 0..20 {
            assert_eq!(peek_all(outbox), states);
            outbox.ledger();
            outbox.rejects(10).unwrap();
        }
        assert_eq!(written() - written_before, 0, "bytes written");
        files(directory.path(), &mut after);
        assert_eq!(before, after);
    };
    assert_unwritten(&outbox);
    drop(outbox);
    assert_unwritten(&Outbox::open(directory.path(), OPTIONS).unwrap());
}
