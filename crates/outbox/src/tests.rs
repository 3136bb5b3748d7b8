//! Tests of the outbox through its public interface.

mod counts;
mod damage;
mod downsample;
mod model;
pub(super) mod power_cut;
mod rejects;
mod unsynced;
mod waiting;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::index::Location;
use tidegate_model::{
    Account, BootId, BootTime, DeviceId, FingerprintChanges, MessageFingerprint, Name, Priority,
    ReadingTime, Reason, WallTime, WhenFull,
};

const OPTIONS: Options = Options {
    bytes_max: 1 << 20,
    segment_bytes: 64 << 10,
    journal_bytes: 0,
    when_full: WhenFull::DropOldest,
    downsample_bucket: Duration::from_secs(600),
    free_bytes_min: 0,
};

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn bus(name: &str) -> Name {
    name.parse().unwrap()
}

fn open(path: &Path) -> Outbox {
    Outbox::open(path, OPTIONS).unwrap()
}

/// Returns a commit with these texts as states of one device and bus, one reading each.
fn commit(number: u8, bus_name: &str, texts: &[&str]) -> Commit {
    let state = |text: &&str| NewState {
        device: device(number),
        bus: bus(bus_name),
        moment: ReadingTime::Wall(WallTime::from_millis(1_000)),
        priority: Priority::default(),
        readings: 1,
        json: Bytes::copy_from_slice(text.as_bytes()),
    };
    let readings = texts.len() as u64;
    let account = Account { received: readings, outbox_in: readings, ..Account::default() };
    Commit {
        states: texts.iter().map(state).collect(),
        ledger: BTreeMap::from([(bus(bus_name), account)]),
        ..Commit::default()
    }
}

fn texts(outbox: &Outbox, number: u8) -> Vec<String> {
    let entries = outbox.peek(device(number), 0, usize::MAX, usize::MAX).unwrap();
    entries.iter().map(|entry| String::from_utf8(entry.json.to_vec()).unwrap()).collect()
}

/// Asserts the invariants of an outbox: for each bus the ledger agrees with the readings that its
/// files hold, each queue has the size of its states, and the index is consistent.
fn assert_consistent(outbox: &Outbox) {
    let waiting: u64 = outbox.ledger().values().map(Account::waiting).sum();
    assert_eq!(waiting, outbox.queue_sizes().total.readings);
    let mut disk = outbox.disk();
    assert_eq!(disk.catalog.imbalance(), None);
    assert_eq!(disk.index.violation(), None);
    let (mut amounts, mut readings) = (BTreeMap::new(), BTreeMap::new());
    for entry in disk.index.all() {
        let is_known = match entry.meta.location {
            Location::Store { number, .. } => disk.catalog.stores.contains_key(&number),
            Location::Segment { number, .. } => {
                let active = disk.active.as_ref().map(|active| active.number);
                active == Some(number) || disk.full.contains_key(&number)
            }
        };
        assert!(is_known, "{entry:?} is in no file of the outbox");
        let block = disk.block(entry).unwrap();
        assert_eq!(block.last(), entry.meta.last);
        let facts = block.facts();
        let totals = disk.index.totals(&entry).map(|(bus, amount)| (bus.clone(), amount));
        assert_eq!(totals, facts.bus.map(|bus| (bus, facts.amount)));
        let queue = &disk.catalog.queues[block.device.as_bytes()];
        let mut queued = 0;
        for (sequence, record) in (block.first..).zip(&block.records) {
            if !queue.removed.contains(sequence) {
                let amount: &mut Amount = amounts.entry(*block.device.as_bytes()).or_default();
                *amount = amount.plus(record.amount());
                *readings.entry(record.bus.clone()).or_default() += u64::from(record.readings);
                queued += 1;
            }
        }
        assert!(queued > 0, "{entry:?} has no queued state");
    }
    let queues = disk.catalog.queues.iter().filter(|(_, queue)| queue.amount.states > 0);
    assert_eq!(
        queues.map(|(device, queue)| (*device, queue.amount)).collect::<BTreeMap<_, _>>(),
        amounts
    );
    assert_eq!(amounts.values().map(|amount| amount.bytes).sum::<u64>(), disk.catalog.bytes());
    let counted = disk.catalog.waiting.iter().filter(|(_, readings)| **readings > 0);
    assert_eq!(
        counted.map(|(bus, count)| (bus.clone(), *count)).collect::<BTreeMap<_, _>>(),
        readings
    );
}

/// Copies the files of an open outbox, as a killed process leaves them.
fn copy_of(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_all(directory, copy.path());
    copy
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn reopened_outbox_keeps_states_in_order() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two"])).unwrap();
    outbox.append(&commit(2, "a", &["other"])).unwrap();
    outbox.append(&commit(1, "b", &["three"])).unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["one", "two", "three"]);
    assert_eq!(texts(&outbox, 2), ["other"]);
    assert_eq!(outbox.queue_sizes().total, Amount { states: 4, readings: 4, bytes: 16 });
    assert_consistent(&outbox);
}

#[test]
fn ack_during_rotation_keeps_merged_neighbours() {
    let directory = TempDir::new().unwrap();
    let mut outbox =
        Outbox::open(directory.path(), Options { segment_bytes: 1, ..OPTIONS }).unwrap();
    // With segments of a few KiB, some of these acknowledgements rotate the journal first.
    for round in 0..100_u64 {
        let first = 2 * round + 1;
        outbox.append(&commit(1, "a", &["confirmed"])).unwrap();
        outbox.append(&commit(1, "a", &["waits"])).unwrap();
        outbox.ack(device(1), first, first).unwrap();
        assert_eq!(texts(&outbox, 1), ["waits"], "in round {round}");
        outbox.ack(device(1), first + 1, first + 1).unwrap();
    }
    outbox.append(&commit(1, "a", &["last"])).unwrap();
    drop(outbox);
    outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["last"]);
    assert_consistent(&outbox);
}

#[test]
fn ack_inside_a_block_keeps_the_rest() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two", "three"])).unwrap();
    assert_eq!(outbox.ack(device(1), 1, 2).unwrap(), Removed { states: 2, readings: 2 });
    assert_eq!(
        outbox.ack(device(1), 1, 2).unwrap(),
        Removed::default(),
        "a repeated ack changes nothing"
    );
    outbox.flush().unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["three"]);
    assert_eq!(outbox.ledger()["a"].stored, 2);
    assert_consistent(&outbox);
}

#[test]
fn sequence_numbers_never_repeat() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one"])).unwrap();
    outbox.ack(device(1), 1, 1).unwrap();
    outbox.flush().unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["two"])).unwrap();
    assert_eq!(outbox.peek(device(1), 0, 1, 1).unwrap()[0].sequence, 2);
}

#[test]
fn peek_keeps_its_bounds_but_returns_one_state() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["1234", "1234", "1234"])).unwrap();
    let count = |states, bytes| outbox.peek(device(1), 0, states, bytes).unwrap().len();
    assert_eq!(count(2, 100), 2);
    assert_eq!(count(9, 10), 2, "four bytes and a comma each");
    assert_eq!(count(9, 1), 1);
    assert_eq!(count(9, 15), 3);
}

#[test]
fn full_outbox_drops_the_oldest_of_all_devices() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), Options { bytes_max: 10, ..OPTIONS }).unwrap();
    outbox.append(&commit(2, "a", &["old-2"])).unwrap();
    outbox.append(&commit(1, "b", &["old-1"])).unwrap();
    assert_eq!(
        outbox.append(&commit(1, "b", &["new-1"])).unwrap().dropped,
        Removed { states: 1, readings: 1 }
    );
    assert_eq!(texts(&outbox, 2), [""; 0]);
    assert_eq!(texts(&outbox, 1), ["old-1", "new-1"]);
    assert_eq!(outbox.ledger()["a"].dropped, BTreeMap::from([(Reason::OutboxFull, 1)]));
    assert_consistent(&outbox);
}

#[test]
fn fingerprints_survive_reopening() {
    let directory = TempDir::new().unwrap();
    let fingerprints: Vec<_> = (0..5)
        .map(|id| MessageFingerprint { packet_id: id, digest: u32::MAX - u32::from(id) })
        .collect();
    let outbox = open(directory.path());
    let append = |outbox: &Outbox, added: &[MessageFingerprint], forgotten| {
        let change = FingerprintChanges { added: added.to_vec(), forgotten };
        let fingerprints = BTreeMap::from([(bus("a"), change)]);
        outbox.append(&Commit { fingerprints, ..commit(1, "a", &["x"]) }).unwrap();
    };
    append(&outbox, &fingerprints[..3], 0);
    append(&outbox, &fingerprints[3..], 1);
    assert_eq!(outbox.fingerprints(&bus("a")), fingerprints[1..]);
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.fingerprints(&bus("a")), fingerprints[1..]);
    append(&outbox, &[], 4);
    assert_eq!(outbox.fingerprints(&bus("a")), []);
    assert_eq!(outbox.fingerprints(&bus("b")), []);
}

#[test]
fn second_process_cannot_open_the_outbox() {
    let directory = TempDir::new().unwrap();
    let _first = open(directory.path());
    let second = Outbox::open(directory.path(), OPTIONS);
    assert!(matches!(second, Err(OpenError::Locked)), "{second:?}");
}

#[test]
fn killed_process_loses_no_state() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    for _ in 0..40 {
        outbox.append(&commit(1, "a", &["one", "two"])).unwrap();
    }
    let copy = copy_of(directory.path());
    let left = open(copy.path());
    assert_eq!(left.queue_sizes().total.states, 80);
    assert_eq!(left.ledger(), outbox.ledger());
}

#[test]
fn rejects_a_path_that_is_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Outbox::open(file.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
    assert!(error.to_string().contains("it must be a directory"), "{error}");
}

#[test]
fn boot_moment_survives_and_is_no_latest_time() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let moment = ReadingTime::Boot(BootTime { boot: BootId(7 << 100), uptime_ms: 12 });
    let mut commit = commit(1, "a", &["{}"]);
    commit.states[0].moment = moment;
    outbox.append(&commit).unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.peek(device(1), 0, 1, 1).unwrap()[0].moment, moment);
    assert_eq!(outbox.latest(), BTreeMap::new());
}

#[test]
fn rows_survive_reopening_ordered_by_key() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let put = |key: &str, value: &str| (key.into(), Some(value.into()));
    outbox.write_rows("pulses", &[put("b", "2"), put("a", "1"), put("c", "3")]).unwrap();
    outbox.write_rows("pulses", &[("b".into(), None)]).unwrap();
    let rows = BTreeMap::from([("pace", vec![put("", "4")])]);
    outbox.append(&Commit { rows, ..commit(1, "a", &["one"]) }).unwrap();
    let large = outbox.write_rows("pace", &[(vec![1], Some(vec![0; ROW_BYTES_MAX + 1]))]);
    assert!(matches!(large, Err(Error::RowTooLarge(_))), "{large:?}");
    drop(outbox);
    let outbox = open(directory.path());
    let is = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    assert_eq!(outbox.rows("pulses").unwrap(), [is("a", "1"), is("c", "3")]);
    assert_eq!(outbox.rows("pace").unwrap(), [is("", "4")]);
}

#[test]
fn purged_states_are_counted_with_their_reason() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two", "three"])).unwrap();
    let purged = outbox.purge(device(1), 2, u64::MAX, Reason::Purged).unwrap();
    assert_eq!(purged, Removed { states: 2, readings: 2 });
    assert_eq!(texts(&outbox, 1), ["one"]);
    assert_eq!(outbox.ledger()[&bus("a")].dropped, BTreeMap::from([(Reason::Purged, 2)]));
    assert_consistent(&outbox);
}

/// Returns a commit of states with these texts and this priority.
fn ranked(priority: Priority, texts: &[&str]) -> Commit {
    let mut commit = commit(1, "a", texts);
    commit.states.iter_mut().for_each(|state| state.priority = priority);
    commit
}

#[test]
fn eviction_starts_with_low_priority() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), Options { bytes_max: 12, ..OPTIONS }).unwrap();
    outbox.append(&ranked(Priority::High, &["hi1"])).unwrap();
    let mut mixed = ranked(Priority::Low, &["lo1"]);
    mixed.states.extend(ranked(Priority::Normal, &["no1"]).states);
    outbox.append(&Commit { ledger: commit(1, "a", &["", ""]).ledger, ..mixed }).unwrap();
    outbox.append(&ranked(Priority::Low, &["lo2"])).unwrap();
    assert_eq!(texts(&outbox, 1), ["hi1", "lo1", "no1", "lo2"]);
    let evicted = outbox.append(&ranked(Priority::Low, &["lo3"])).unwrap().dropped;
    assert_eq!(evicted.states, 1, "a commit may be evicted in parts");
    assert_eq!(texts(&outbox, 1), ["hi1", "no1", "lo2", "lo3"]);
    outbox.append(&ranked(Priority::Normal, &["no2", "no3"])).unwrap();
    assert_eq!(texts(&outbox, 1), ["hi1", "no1", "no2", "no3"]);
    assert_consistent(&outbox);
}

#[test]
fn drop_newest_keeps_queued_states_of_equal_priority() {
    let directory = TempDir::new().unwrap();
    let options = Options { bytes_max: 9, when_full: WhenFull::DropNewest, ..OPTIONS };
    let outbox = Outbox::open(directory.path(), options).unwrap();
    outbox.append(&ranked(Priority::Normal, &["no1", "no2"])).unwrap();
    let dropped = outbox.append(&ranked(Priority::Normal, &["no3", "no4"])).unwrap().dropped;
    assert_eq!(dropped, Removed { states: 1, readings: 1 });
    assert_eq!(texts(&outbox, 1), ["no1", "no2", "no3"], "states that fit are admitted");
    assert_eq!(outbox.append(&ranked(Priority::Low, &["lo1"])).unwrap().dropped.states, 1);
    outbox.append(&ranked(Priority::High, &["hi1"])).unwrap();
    assert_eq!(texts(&outbox, 1), ["no3", "hi1"], "the block of the first two was evicted");
    outbox.append(&ranked(Priority::High, &["hi2", "hi3", "hi4"])).unwrap();
    assert_eq!(texts(&outbox, 1), ["hi1", "hi2", "hi3"]);
    assert_consistent(&outbox);
    let account = &outbox.ledger()[&bus("a")];
    assert_eq!((account.received, account.dropped[&Reason::OutboxFull]), (9, 6));
}

#[test]
fn nearly_full_file_system_stops_growth() {
    let directory = TempDir::new().unwrap();
    let options = Options { segment_bytes: 6, free_bytes_min: u64::MAX, ..OPTIONS };
    let outbox = Outbox::open(directory.path(), options).unwrap();
    for text in ["one", "two", "six"] {
        outbox.append(&commit(1, "a", &[text])).unwrap();
    }
    assert_eq!(texts(&outbox, 1), ["two", "six"]);
    assert_consistent(&outbox);
}

#[test]
fn expiry_drops_old_states_but_none_without_time() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let at = |device, second, text| {
        let mut commit = commit(device, "a", &[text]);
        commit.states[0].moment = second;
        outbox.append(&commit).unwrap();
    };
    let wall = |second: i64| ReadingTime::Wall(WallTime::from_millis(second * 1_000));
    at(1, wall(1), "old");
    at(1, wall(9), "new");
    at(1, wall(2), "late");
    at(2, ReadingTime::Boot(BootTime { boot: BootId(1), uptime_ms: 5 }), "timeless");
    at(3, wall(3), "old");
    let dropped = outbox.expire(WallTime::from_millis(5_000)).unwrap();
    assert_eq!(dropped, Removed { states: 2, readings: 2 });
    assert_eq!(texts(&outbox, 1), ["new", "late"], "an old state behind a new one stays");
    assert_eq!((texts(&outbox, 2).len(), texts(&outbox, 3).len()), (1, 0));
    assert_eq!(outbox.ledger()[&bus("a")].dropped, BTreeMap::from([(Reason::TooOld, 2)]));
    assert_consistent(&outbox);
}
