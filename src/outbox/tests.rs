//! The outbox by example.

mod model;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::model::{Account, BootId, Moment, Reason};

const OPTIONS: Options = Options { bytes_max: 1 << 20, cache_bytes: 1 << 20 };

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn bus(name: &str) -> Name {
    name.parse().unwrap()
}

fn open(path: &Path) -> Outbox {
    Outbox::open(path, OPTIONS).unwrap()
}

/// States of one device and bus with these texts, one reading each, with their part of the ledger.
fn commit(number: u8, bus_name: &str, texts: &[&str]) -> Commit {
    let state = |text: &&str| Pending {
        device: device(number),
        bus: bus(bus_name),
        moment: Moment::Wall(Timestamp::from_millis(1_000)),
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

fn assert_ledger_agrees(outbox: &Outbox) {
    let waiting: u64 = outbox.ledger().values().map(Account::waiting).sum();
    assert_eq!(waiting, outbox.backlog().total.readings);
}

/// What a killed process or a lost machine leaves: the files as they are, while the outbox is still open.
fn copy_of(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    std::fs::create_dir(copy.path().join("blobs")).unwrap();
    for place in ["", "blobs"] {
        for entry in std::fs::read_dir(directory.join(place)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let to = copy.path().join(place).join(entry.file_name());
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    copy
}

#[test]
fn what_was_appended_is_there_after_a_reopening_in_order_and_unchanged() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two"])).unwrap();
    outbox.append(&commit(2, "a", &["other"])).unwrap();
    outbox.append(&commit(1, "b", &["three"])).unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["one", "two", "three"]);
    assert_eq!(texts(&outbox, 2), ["other"]);
    assert_eq!(outbox.backlog().total, Amount { states: 4, readings: 4, bytes: 16 });
    assert_ledger_agrees(&outbox);
}

#[test]
fn an_acknowledgement_inside_a_group_leaves_the_rest() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two", "three"])).unwrap();
    assert_eq!(outbox.ack(device(1), 1, 2).unwrap(), Removed { states: 2, readings: 2 });
    assert_eq!(
        outbox.ack(device(1), 1, 2).unwrap(),
        Removed::default(),
        "a repeat changes nothing"
    );
    outbox.flush().unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["three"]);
    assert_eq!(outbox.ledger()["a"].stored, 2);
    assert_ledger_agrees(&outbox);
}

#[test]
fn sequence_numbers_never_repeat_even_when_all_is_gone() {
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
fn a_peek_keeps_to_its_bounds_but_always_gives_one() {
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
fn a_full_outbox_drops_the_oldest_of_all_devices_and_counts_it() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), Options { bytes_max: 10, ..OPTIONS }).unwrap();
    outbox.append(&commit(2, "a", &["old-2"])).unwrap();
    outbox.append(&commit(1, "b", &["old-1"])).unwrap();
    assert_eq!(
        outbox.append(&commit(1, "b", &["new-1"])).unwrap(),
        Removed { states: 1, readings: 1 }
    );
    assert_eq!(texts(&outbox, 2), [""; 0]);
    assert_eq!(texts(&outbox, 1), ["old-1", "new-1"]);
    assert_eq!(outbox.ledger()["a"].dropped, BTreeMap::from([(Reason::OutboxFull, 1)]));
    assert_ledger_agrees(&outbox);
}

#[test]
fn a_refused_state_is_kept_with_the_words_of_the_cloud() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["bad", "good"])).unwrap();
    let time = Timestamp::from_millis(0);
    assert!(matches!(outbox.reject(device(1), 3, "no", time), Err(Error::NotWaiting(3))));
    outbox.reject(device(1), 1, "Validation: no such attribute", time).unwrap();
    assert_eq!(texts(&outbox, 1), ["good"]);
    let rejects = outbox.rejects(10).unwrap();
    assert_eq!(
        (rejects[0].state.as_str(), rejects[0].why.as_str()),
        ("bad", "Validation: no such attribute")
    );
    assert_eq!(outbox.ledger()["a"].rejected, BTreeMap::from([(Reason::RefusedByCloud, 1)]));
    assert_ledger_agrees(&outbox);
}

#[test]
fn origins_stay_with_the_commit_that_brought_them() {
    let directory = TempDir::new().unwrap();
    let origins: Vec<_> =
        (0..5).map(|id| Origin { packet_id: id, digest: u32::MAX - u32::from(id) }).collect();
    let outbox = open(directory.path());
    let commit =
        Commit { origins: BTreeMap::from([(bus("a"), origins.clone())]), ..commit(1, "a", &["x"]) };
    outbox.append(&commit).unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.origins(&bus("a")), origins);
    assert_eq!(outbox.origins(&bus("b")), []);
}

#[test]
fn the_latest_time_of_a_device_is_known_after_all_is_gone() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one"])).unwrap();
    outbox.ack(device(1), 1, 1).unwrap();
    outbox.flush().unwrap();
    drop(outbox);
    assert_eq!(open(directory.path()).latest()[&device(1)], Timestamp::from_millis(1_000));
}

#[test]
fn a_second_daemon_on_the_same_outbox_is_refused_in_words() {
    let directory = TempDir::new().unwrap();
    let _first = open(directory.path());
    let second = Outbox::open(directory.path(), OPTIONS);
    assert!(matches!(second, Err(OpenError::Locked)), "{second:?}");
}

#[test]
fn a_newer_format_is_refused() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.store.meta.insert("format", &99_u64.to_be_bytes()).unwrap();
    outbox.flush().unwrap();
    drop(outbox);
    assert!(matches!(Outbox::open(directory.path(), OPTIONS), Err(OpenError::Newer(99))));
}

/// Flips a bit in the first group of a device.
fn damage(outbox: &Outbox, number: u8) {
    let groups = &outbox.store.groups;
    let (key, value) = groups.scan_prefix([number; 12]).next().unwrap().unwrap();
    let mut damaged = value.to_vec();
    damaged[30] ^= 1;
    groups.insert(&key, damaged).unwrap();
    outbox.flush().unwrap();
}

#[test]
fn a_damaged_group_is_set_aside_and_counted_for_its_bus_and_holds_up_nobody() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(2, "a", &["zero"])).unwrap();
    outbox.append(&commit(1, "b", &["one", "two"])).unwrap();
    outbox.append(&commit(1, "b", &["three"])).unwrap();
    damage(&outbox, 1);
    drop(outbox);
    for _ in 0..2 {
        let outbox = open(directory.path());
        assert_eq!(texts(&outbox, 1), ["three"]);
        assert_eq!(texts(&outbox, 2), ["zero"]);
        assert_eq!(outbox.store.damaged.len(), 1);
        assert_eq!(outbox.ledger()["a"].dropped, BTreeMap::new());
        assert_eq!(outbox.ledger()["b"].dropped, BTreeMap::from([(Reason::Damaged, 2)]));
        assert_ledger_agrees(&outbox);
    }
}

#[test]
fn a_lost_ledger_starts_again_with_what_waits() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two"])).unwrap();
    outbox.store.meta.insert(LEDGER_KEY, "no JSON").unwrap();
    outbox.flush().unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.ledger()["a"].received, 2);
    assert_ledger_agrees(&outbox);
}

#[test]
fn a_killed_process_leaves_all_that_was_appended() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    for _ in 0..40 {
        outbox.append(&commit(1, "a", &["one", "two"])).unwrap();
    }
    let copy = copy_of(directory.path());
    let left = open(copy.path());
    assert_eq!(left.backlog().total.states, 80);
    assert_eq!(left.ledger(), outbox.ledger());
}

#[test]
fn usual_states_stay_in_the_log_and_large_ones_are_synced_beside_it() {
    let directory = TempDir::new().unwrap();
    let blobs = || std::fs::read_dir(directory.path().join("blobs")).unwrap().count();
    let outbox = Outbox::open(directory.path(), Options { bytes_max: 1 << 30, ..OPTIONS }).unwrap();
    let usual = "x".repeat(200);
    for _ in 0..40 {
        outbox.append(&commit(1, "a", &vec![usual.as_str(); 256])).unwrap();
    }
    assert_eq!(blobs(), 0, "a leaf full of groups does not fit into sled's log");
    let large = "x".repeat(200 * 1024);
    outbox.append(&commit(1, "a", &[&large])).unwrap();
    assert!(blobs() > 0, "sled keeps large values elsewhere, too");
    assert_eq!(outbox.store.unsynced_blobs(), 0);
    assert_eq!(outbox.backlog().total.states, 40 * 256 + 1);
}

#[test]
fn after_a_change_that_failed_there_is_no_further_one() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one"])).unwrap();
    std::fs::remove_dir(directory.path().join("blobs")).unwrap();
    let failed = outbox.append(&commit(1, "a", &["two"]));
    assert!(matches!(failed, Err(Error::Sync(_))), "{failed:?}");
    assert_eq!(texts(&outbox, 1), ["one"], "what is not synced is not shown");
    assert_eq!(outbox.backlog().total.states, 1);
    assert!(matches!(outbox.append(&commit(1, "a", &["three"])), Err(Error::Broken)));
    assert!(matches!(outbox.ack(device(1), 1, 1), Err(Error::Broken)));
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["one", "two"], "it had come to the disk after all");
    assert_ledger_agrees(&outbox);
}

#[test]
fn a_path_that_is_a_file_is_refused_in_words() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Outbox::open(file.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
    assert!(error.to_string().contains("it must be a directory"), "{error}");
}

#[test]
fn a_store_that_comes_back_empty_is_refused_in_words() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    for _ in 0..50 {
        outbox.append(&commit(1, "a", &["x".repeat(4_000).as_str(); 8])).unwrap();
    }
    drop(outbox);
    let db = std::fs::File::options().write(true).open(directory.path().join("db")).unwrap();
    db.set_len(db.metadata().unwrap().len() / 2).unwrap();
    let error = Outbox::open(directory.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
}

#[test]
fn only_the_newest_rejects_are_kept_with_so_many_words() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    for key in 1..=REJECTS_MAX as u64 {
        outbox.store.rejects.insert(key.to_be_bytes(), "{}").unwrap();
    }
    outbox.append(&commit(1, "a", &["bad"])).unwrap();
    outbox.reject(device(1), 1, &"é".repeat(5_000), Timestamp::from_millis(0)).unwrap();
    assert_eq!(outbox.store.rejects.len(), REJECTS_MAX);
    let newest = outbox.rejects(1).unwrap();
    assert_eq!((newest[0].state.as_str(), newest[0].why.chars().count()), ("bad", WHY_CHARS_MAX));
}

#[test]
fn states_in_the_middle_can_be_acknowledged_and_rejected_across_a_reopening() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two", "three"])).unwrap();
    outbox.append(&commit(1, "a", &["four", "five", "six"])).unwrap();
    assert_eq!(outbox.ack(device(1), 3, 4).unwrap(), Removed { states: 2, readings: 2 });
    outbox.quarantine(device(1), 5, "too old", Timestamp::from_millis(0)).unwrap();
    let after = outbox.peek(device(1), 2, 10, 1_000).unwrap();
    assert_eq!(after.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [6]);
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["one", "two", "six"]);
    assert_eq!(outbox.ledger()["a"].rejected, BTreeMap::from([(Reason::TimeRefused, 1)]));
    assert_eq!(outbox.rejects(1).unwrap()[0].reason, Reason::TimeRefused);
    assert_eq!(outbox.ack(device(1), 1, 9).unwrap(), Removed { states: 3, readings: 3 });
    assert_ledger_agrees(&outbox);
}

#[test]
fn a_moment_without_a_clock_comes_back_and_is_no_latest_time() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let moment = Moment::Boot { boot: BootId(7 << 100), uptime_ms: 12 };
    let mut commit = commit(1, "a", &["{}"]);
    commit.states[0].moment = moment;
    outbox.append(&commit).unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.peek(device(1), 0, 1, 1).unwrap()[0].moment, moment);
    assert_eq!(outbox.latest(), BTreeMap::new());
}

#[test]
fn notes_come_back_in_the_order_of_their_keys_table_by_table() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let put = |key: &str, value: &str| (key.into(), Some(value.into()));
    outbox.note("pulses", &[put("b", "2"), put("a", "1"), put("c", "3")]).unwrap();
    outbox.note("pulses", &[("b".into(), None)]).unwrap();
    let notes = BTreeMap::from([("pace", vec![put("", "4")])]);
    outbox.append(&Commit { notes, ..commit(1, "a", &["one"]) }).unwrap();
    let large = outbox.note("pace", &[(vec![1], Some(vec![0; NOTE_BYTES_MAX + 1]))]);
    assert!(matches!(large, Err(Error::NoteTooLarge(_))), "{large:?}");
    drop(outbox);
    let outbox = open(directory.path());
    let is = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    assert_eq!(outbox.notes("pulses").unwrap(), [is("a", "1"), is("c", "3")]);
    assert_eq!(outbox.notes("pace").unwrap(), [is("", "4")]);
}
