//! No command runs twice, whichever records are removed or lost.

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
    Record::new(command, Source::Live, None, WallTime::from_millis(NOW).into())
}

fn check(history: &History, command: &Command) -> DuplicateCheck {
    history.check_duplicate(command.device, command.time, command_digest(command, None))
}

/// A durable table, and a history that is read from it.
#[derive(Default)]
struct Disk(BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    fn write(&mut self, changes: Vec<TableChange>) {
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
fn key_order_does_not_change_the_identity() {
    let mut history = History::load(&[], 1, WallTime::from_millis(NOW).into()).unwrap();
    history.add(record(&command(NOW, json!({"a": 1, "b": [2, 3]}))));
    for (again, expected) in [
        (command(NOW, json!({"b": [2, 3], "a": 1})), DuplicateCheck::Duplicate),
        (command(NOW, json!({"a": 1, "b": [23]})), DuplicateCheck::New),
        (command(NOW + 1, json!({"a": 1, "b": [2, 3]})), DuplicateCheck::New),
        (
            Command { device: device(8), ..command(NOW, json!({"a": 1, "b": [2, 3]})) },
            DuplicateCheck::New,
        ),
        (
            Command { name: "v".into(), ..command(NOW, json!({"a": 1, "b": [2, 3]})) },
            DuplicateCheck::New,
        ),
    ] {
        assert_eq!(check(&history, &again), expected, "{again:?}");
    }
}

#[test]
fn equal_ids_make_commands_equal() {
    let (one, other) = (command(NOW, json!({"n": 1})), command(NOW + 9, json!({"n": 2})));
    assert_eq!(command_digest(&one, Some("a")), command_digest(&other, Some("a")));
    assert_ne!(command_digest(&one, Some("a")), command_digest(&one, Some("b")));
    assert_eq!(command_digest(&Command { time: None, ..one }, None), None);
}

#[test]
fn unfinished_command_is_interrupted_after_a_restart() {
    let (mut disk, mut history) = (Disk::default(), Disk::default().load());
    let number = history.add(record(&command(NOW, json!(1))));
    let done = history.add(record(&command(NOW, json!(2))));
    let outcome = CommandEnd { result: CommandResult::Executed, message: "", duration_ms: Some(3) };
    history.finish(done, outcome, WallTime::from_millis(NOW).into());
    disk.write(history.take_changes());
    let mut history = disk.load();
    assert_eq!(history.record(number).unwrap().result, CommandResult::Interrupted);
    assert_eq!(history.record(done).unwrap().result, CommandResult::Executed);
    assert_eq!(check(&history, &command(NOW, json!(1))), DuplicateCheck::Duplicate);
    disk.write(history.take_changes());
    assert_eq!(disk.load().add(record(&command(NOW, json!(3)))), done + 1);
}

#[test]
fn damaged_record_refuses_older_commands() {
    let (mut disk, mut history) = (Disk::default(), Disk::default().load());
    history.add(record(&command(NOW, json!(1))));
    history.add(record(&command(NOW - 1, json!(2))));
    disk.write(history.take_changes());
    disk.0.insert(record_key(2), b"{".to_vec());
    let history = disk.load();
    assert_eq!(check(&history, &command(NOW - 1, json!(2))), DuplicateCheck::Forgotten);
    assert_eq!(check(&history, &command(NOW + 1, json!(2))), DuplicateCheck::New);
    disk.0.insert(b"v".to_vec(), vec![2]);
    let table: Vec<_> = disk.0.into_iter().collect();
    assert_eq!(
        History::load(&table, 1, WallTime::from_millis(NOW).into()).unwrap_err(),
        NewerHistory
    );
}

#[test]
fn coverage_survives_a_restart() {
    let (mut disk, mut history) = (Disk::default(), Disk::default().load());
    assert_eq!(history.coverage(device(7)), None);
    let (since, until) = (WallTime::from_millis(NOW), WallTime::from_millis(NOW + 5));
    for time in [since, until, since] {
        history.extend_coverage(device(7), time);
    }
    disk.write(history.take_changes());
    assert_eq!(disk.load().coverage(device(7)), Some(Coverage { since, until }));
}

proptest! {
    /// Commands arrive in any order and repeatedly. The process dies at any time, with or without
    /// its last changes.
    #[test]
    fn no_command_runs_twice_after_crashes(
        events in prop::collection::vec(
            (0_i64..300, any::<bool>(), any::<bool>(), 0_u8..20),
            1..800,
        ),
    ) {
        let (mut disk, mut history) = (Disk::default(), Disk::default().load());
        let mut runs = BTreeMap::new();
        let (result, at) = (CommandResult::Refused, WallTime::from_millis(NOW));
        for (time, is_written, is_refused, crash) in events {
            let command = command(NOW + time, json!(time));
            if crash == 0 {
                history = disk.load();
            }
            let is_new = check(&history, &command) == DuplicateCheck::New;
            if !is_new || !history.has_room(command.device) {
                continue;
            }
            let number = history.add(record(&command));
            prop_assert!(history.records.len() <= history.device_records_max);
            prop_assert!(history.record(number).is_some(), "records without a result are kept");
            if is_refused {
                let outcome = CommandEnd { result, message: "", duration_ms: None };
                history.finish(number, outcome, at.into());
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
