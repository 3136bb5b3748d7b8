//! The history: nothing is run twice, whatever is forgotten or cut off.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use tidegate_model::{Command, Source, WallTime};

const NOW: i64 = 1_777_629_600_000;

fn device(number: u8) -> DeviceId {
    DeviceId::from([number; 12])
}

fn command(time_ms: i64, payload: serde_json::Value) -> Command {
    let time = Some(WallTime::from_millis(time_ms));
    Command { device: device(7), name: "valve".to_owned(), time, payload, unread: None }
}

fn record(command: &Command) -> Record {
    Record::of(command, Source::Live, None, WallTime::from_millis(NOW).into())
}

fn knows(history: &History, command: &Command) -> Known {
    history.knows(command.device, command.time, digest(command, None))
}

/// A durable table, and a history that is read from it.
#[derive(Default)]
struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    fn write(&mut self, changes: Vec<Change>) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
    }

    fn load(&self) -> History {
        let table: Vec<_> =
            self.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        History::load(&table, 1_000, WallTime::from_millis(NOW).into()).unwrap()
    }
}

#[test]
fn a_command_is_known_however_its_keys_are_ordered() {
    let mut history = History::load(&[], 1, WallTime::from_millis(NOW).into()).unwrap();
    history.begin(record(&command(NOW, json!({"a": 1, "b": [2, 3]}))));
    for (again, expected) in [
        (command(NOW, json!({"b": [2, 3], "a": 1})), Known::Yes),
        (command(NOW, json!({"a": 1, "b": [23]})), Known::No),
        (command(NOW + 1, json!({"a": 1, "b": [2, 3]})), Known::No),
        (Command { device: device(8), ..command(NOW, json!({"a": 1, "b": [2, 3]})) }, Known::No),
        (Command { name: "v".into(), ..command(NOW, json!({"a": 1, "b": [2, 3]})) }, Known::No),
    ] {
        assert_eq!(knows(&history, &again), expected, "{again:?}");
    }
}

#[test]
fn an_id_makes_two_commands_the_same_whatever_their_times_are() {
    let (one, other) = (command(NOW, json!({"n": 1})), command(NOW + 9, json!({"n": 2})));
    assert_eq!(digest(&one, Some("a")), digest(&other, Some("a")));
    assert_ne!(digest(&one, Some("a")), digest(&one, Some("b")));
    assert_eq!(digest(&Command { time: None, ..one }, None), None);
}

#[test]
fn what_was_started_and_has_no_result_was_interrupted() {
    let (mut disk, mut history) = (Disk::default(), Disk::default().load());
    let number = history.begin(record(&command(NOW, json!(1))));
    let done = history.begin(record(&command(NOW, json!(2))));
    let ending = Ending { result: CommandResult::Executed, message: "", duration_ms: Some(3) };
    history.finish(done, ending, WallTime::from_millis(NOW).into());
    disk.write(history.take_changes());
    let mut history = disk.load();
    assert_eq!(history.record(number).unwrap().result, CommandResult::Interrupted);
    assert_eq!(history.record(done).unwrap().result, CommandResult::Executed);
    assert_eq!(knows(&history, &command(NOW, json!(1))), Known::Yes);
    disk.write(history.take_changes());
    assert_eq!(disk.load().begin(record(&command(NOW, json!(3)))), done + 1);
}

#[test]
fn what_cannot_be_read_lets_nothing_old_run() {
    let (mut disk, mut history) = (Disk::default(), Disk::default().load());
    history.begin(record(&command(NOW, json!(1))));
    history.begin(record(&command(NOW - 1, json!(2))));
    disk.write(history.take_changes());
    disk.0.insert(record_key(2), b"{".to_vec());
    let history = disk.load();
    assert_eq!(knows(&history, &command(NOW - 1, json!(2))), Known::Forgotten);
    assert_eq!(knows(&history, &command(NOW + 1, json!(2))), Known::No);
    disk.0.insert(b"v".to_vec(), vec![2]);
    let table: Vec<_> = disk.0.into_iter().collect();
    assert_eq!(
        History::load(&table, 1, WallTime::from_millis(NOW).into()).unwrap_err(),
        NewerHistory
    );
}

#[test]
fn what_was_heard_is_kept() {
    let (mut disk, mut history) = (Disk::default(), Disk::default().load());
    assert_eq!(history.heard(device(7)), None);
    let (first, until) = (WallTime::from_millis(NOW), WallTime::from_millis(NOW + 5));
    for time in [first, until, first] {
        history.hear(device(7), time);
    }
    disk.write(history.take_changes());
    assert_eq!(disk.load().heard(device(7)), Some(Heard { first, until }));
}

proptest! {
    /// Commands come in any order, again and again; the process dies at any time, with or without its last changes.
    #[test]
    fn nothing_runs_twice(
        events in prop::collection::vec((0_i64..300, any::<bool>(), any::<bool>(), 0_u8..20), 1..800),
    ) {
        let (mut disk, mut history) = (Disk::default(), Disk::default().load());
        let mut runs = BTreeMap::new();
        let (result, at) = (CommandResult::Refused, WallTime::from_millis(NOW));
        for (time, is_written, is_refused, crash) in events {
            let command = command(NOW + time, json!(time));
            if crash == 0 {
                history = disk.load();
            }
            if knows(&history, &command) != Known::No || !history.has_room(command.device) {
                continue;
            }
            let number = history.begin(record(&command));
            prop_assert!(history.records.len() <= history.lane_records_max);
            prop_assert!(history.record(number).is_some(), "what has no result is kept");
            if is_refused {
                history.finish(number, Ending { result, message: "", duration_ms: None }, at.into());
            } else if is_written {
                disk.write(history.take_changes());
                *runs.entry(time).or_insert(0) += 1;
                prop_assert_eq!(runs[&time], 1, "{} ran twice", time);
            } else {
                history = disk.load();
            }
        }
    }
}
