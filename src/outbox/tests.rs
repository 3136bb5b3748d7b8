//! The outbox by example, and against a model that does the same in the simplest way.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::{Account, Reason};

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
        time: Timestamp::from_millis(1_000),
        readings: 1,
        json: Bytes::copy_from_slice(text.as_bytes()),
    };
    let readings = texts.len() as u64;
    let account = Account { received: readings, outbox_in: readings, ..Account::default() };
    Commit {
        states: texts.iter().map(state).collect(),
        ledger: BTreeMap::from([(bus(bus_name), account)]),
        origins: BTreeMap::new(),
    }
}

fn texts(outbox: &Outbox, number: u8) -> Vec<String> {
    let entries = outbox.peek(device(number), usize::MAX, usize::MAX).unwrap();
    entries.iter().map(|entry| String::from_utf8(entry.json.to_vec()).unwrap()).collect()
}

fn assert_ledger_agrees(outbox: &Outbox) {
    let waiting: u64 = outbox.ledger().values().map(Account::waiting).sum();
    assert_eq!(waiting, outbox.backlog().total.readings);
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
    assert_eq!(outbox.ack(device(1), 2).unwrap(), Removed { states: 2, readings: 2 });
    assert_eq!(outbox.ack(device(1), 2).unwrap(), Removed::default(), "a repeat changes nothing");
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
    outbox.ack(device(1), 1).unwrap();
    outbox.flush().unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["two"])).unwrap();
    assert_eq!(outbox.peek(device(1), 1, 1).unwrap()[0].sequence, 2);
}

#[test]
fn a_peek_keeps_to_its_bounds_but_always_gives_one() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["1234", "1234", "1234"])).unwrap();
    let count = |states, bytes| outbox.peek(device(1), states, bytes).unwrap().len();
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
    assert!(matches!(outbox.reject(device(1), 2, "no", time), Err(Error::NotOldest(2))));
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
    outbox.ack(device(1), 1).unwrap();
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

#[test]
fn a_damaged_group_is_set_aside_counted_and_does_not_hold_up_the_others() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two"])).unwrap();
    outbox.append(&commit(1, "a", &["three"])).unwrap();
    let (key, value) = outbox.store.groups.first().unwrap().unwrap();
    let mut damaged = value.to_vec();
    damaged[30] ^= 1;
    outbox.store.groups.insert(&key, damaged).unwrap();
    outbox.flush().unwrap();
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["three"]);
    assert_eq!(outbox.store.damaged.len(), 1);
    assert_eq!(outbox.ledger()["a"].dropped, BTreeMap::from([(Reason::Damaged, 2)]));
    assert_ledger_agrees(&outbox);
}

/// The outbox in the simplest way.
#[derive(Default)]
struct Model {
    lanes: BTreeMap<u8, VecDeque<(u64, String)>>,
    last: BTreeMap<u8, u64>,
    received: u64,
    stored: u64,
    rejected: u64,
}

#[derive(Debug, Clone)]
enum Action {
    Append { number: u8, states: usize },
    Ack { number: u8, states: usize },
    Reject { number: u8 },
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1..4_u8, 0..6_usize).prop_map(|(number, states)| Action::Append { number, states }),
        3 => (1..4_u8, 0..8_usize).prop_map(|(number, states)| Action::Ack { number, states }),
        1 => (1..4_u8).prop_map(|number| Action::Reject { number }),
        1 => Just(Action::Reopen),
    ]
}

impl Model {
    fn apply(&mut self, action: &Action, outbox: &Outbox) {
        match *action {
            Action::Append { number, states } => {
                let last = self.last.entry(number).or_default();
                let texts: Vec<_> =
                    (1..=states as u64).map(|i| format!("{number}-{}", *last + i)).collect();
                let lane = self.lanes.entry(number).or_default();
                lane.extend(
                    texts.iter().enumerate().map(|(i, text)| (*last + 1 + i as u64, text.clone())),
                );
                *last += states as u64;
                self.received += states as u64;
                let texts: Vec<_> = texts.iter().map(String::as_str).collect();
                outbox.append(&commit(number, "a", &texts)).unwrap();
            }
            Action::Ack { number, states } => {
                let lane = self.lanes.entry(number).or_default();
                let states = states.min(lane.len());
                let Some((through, _)) = lane.drain(..states).next_back() else { return };
                self.stored += states as u64;
                assert_eq!(outbox.ack(device(number), through).unwrap().states, states as u64);
            }
            Action::Reject { number } => {
                let Some((sequence, _)) = self.lanes.entry(number).or_default().pop_front() else {
                    return;
                };
                self.rejected += 1;
                outbox.reject(device(number), sequence, "no", Timestamp::from_millis(0)).unwrap();
            }
            Action::Reopen => {}
        }
    }

    fn assert_same(&self, outbox: &Outbox) {
        for (number, lane) in &self.lanes {
            let entries = outbox.peek(device(*number), usize::MAX, usize::MAX).unwrap();
            let entries = entries
                .into_iter()
                .map(|e| (e.sequence, String::from_utf8(e.json.to_vec()).unwrap()));
            assert!(entries.eq(lane.iter().cloned()), "device {number}");
        }
        let ledger = outbox.ledger();
        let account = ledger.get("a").cloned().unwrap_or_default();
        assert_eq!((account.received, account.stored), (self.received, self.stored));
        assert_eq!(account.rejected.values().sum::<u64>(), self.rejected);
        assert_ledger_agrees(outbox);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_outbox_does_what_the_model_does(actions in prop::collection::vec(action(), 1..40)) {
        let directory = TempDir::new().unwrap();
        let mut model = Model::default();
        let mut outbox = Some(open(directory.path()));
        for action in &actions {
            if matches!(action, Action::Reopen) {
                drop(outbox.take());
            }
            let outbox = outbox.get_or_insert_with(|| open(directory.path()));
            model.apply(action, outbox);
            model.assert_same(outbox);
        }
    }
}
