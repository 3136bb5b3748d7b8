//! Rejects: states that Losant does not accept.

use super::*;

#[test]
fn reject_keeps_the_message_of_the_server() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["bad", "good"])).unwrap();
    let time = WallTime::from_millis(0);
    assert!(matches!(outbox.reject(device(1), 3, "no", time), Err(Error::NotQueued(3))));
    outbox.reject(device(1), 1, "Validation: no such attribute", time).unwrap();
    assert_eq!(texts(&outbox, 1), ["good"]);
    let rejects = outbox.rejects(10).unwrap();
    assert_eq!(
        (rejects[0].state.as_str(), rejects[0].why.as_str()),
        ("bad", "Validation: no such attribute")
    );
    assert_eq!(outbox.ledger()["a"].rejected, BTreeMap::from([(Reason::RefusedByCloud, 1)]));
    assert_consistent(&outbox);
}

#[test]
fn acks_and_rejects_states_inside_a_queue() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two", "three"])).unwrap();
    outbox.append(&commit(1, "a", &["four", "five", "six"])).unwrap();
    assert_eq!(outbox.ack(device(1), 3, 4).unwrap(), Removed { states: 2, readings: 2 });
    let refusal = Refusal {
        sequence: 5,
        reason: Reason::TimeRefused,
        other_reasons: BTreeMap::new(),
        message: "too old".to_owned(),
    };
    outbox.quarantine(device(1), &refusal, WallTime::EPOCH).unwrap();
    let after = outbox.peek(device(1), 2, 10, 1_000).unwrap();
    assert_eq!(after.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [6]);
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["one", "two", "six"]);
    assert_eq!(outbox.ledger()["a"].rejected, BTreeMap::from([(Reason::TimeRefused, 1)]));
    assert_eq!(outbox.rejects(1).unwrap()[0].reason, Reason::TimeRefused);
    assert_eq!(outbox.ack(device(1), 1, 9).unwrap(), Removed { states: 3, readings: 3 });
    assert_consistent(&outbox);
}

#[test]
fn values_of_a_reject_are_counted_under_their_own_reasons() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let mut commit = commit(1, "a", &["one"]);
    commit.states[0].readings = 3;
    for account in commit.ledger.values_mut() {
        (account.received, account.outbox_in) = (3, 3);
    }
    outbox.append(&commit).unwrap();
    let refusal = Refusal {
        sequence: 1,
        reason: Reason::WrongType,
        other_reasons: [(Reason::Undeclared, 2)].into(),
        message: "ignored".to_owned(),
    };
    outbox.quarantine(device(1), &refusal, WallTime::EPOCH).unwrap();
    let rejected = |outbox: &Outbox| outbox.ledger()["a"].rejected.clone();
    let counts = BTreeMap::from([(Reason::WrongType, 1), (Reason::Undeclared, 2)]);
    assert_eq!(rejected(&outbox), counts);
    let number = outbox.rejects(1).unwrap()[0].number;
    outbox.requeue(&[number]).unwrap();
    assert!(rejected(&outbox).values().all(|values| *values == 0));
    assert_consistent(&outbox);
}

#[test]
fn keeps_only_the_newest_rejects() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let states: Vec<_> = (0..=REJECTS_MAX).map(|number| format!("bad {number}")).collect();
    outbox.append(&commit(1, "a", &states.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    for sequence in 1..=states.len() as u64 {
        outbox.reject(device(1), sequence, &"é".repeat(1_001), WallTime::from_millis(0)).unwrap();
    }
    let rejects = outbox.rejects(usize::MAX).unwrap();
    assert_eq!(rejects.len(), REJECTS_MAX);
    assert_eq!((rejects[0].state.as_str(), rejects[0].why.chars().count()), ("bad 1000", 1_000));
    assert_eq!(rejects[REJECTS_MAX - 1].state, "bad 1");
}

#[test]
fn requeued_reject_is_queued_unchanged() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two", "three"])).unwrap();
    let mut unknown = commit(1, "a", &["four"]);
    let moment = ReadingTime::Boot(BootTime { boot: BootId(u128::MAX), uptime_ms: 7 });
    (unknown.states[0].moment, unknown.states[0].priority) = (moment, Priority::High);
    outbox.append(&unknown).unwrap();
    for sequence in [2, 3, 4] {
        outbox.reject(device(1), sequence, "no", WallTime::from_millis(0)).unwrap();
    }
    let numbers: Vec<u64> = outbox.rejects(9).unwrap().iter().map(|one| one.number).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(outbox.delete_rejects(&[2, 9]).unwrap().states, 1);
    assert_eq!(outbox.requeue(&[3, 1, 1, 9]).unwrap(), Removed { states: 2, readings: 2 });
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(texts(&outbox, 1), ["one", "two", "four"]);
    assert_eq!(outbox.peek(device(1), 5, 1, 99).unwrap()[0].moment, moment);
    assert_eq!(outbox.rejects(9).unwrap(), []);
    let rejected = BTreeMap::from([(Reason::RefusedByCloud, 1)]);
    assert_eq!(outbox.ledger()[&bus("a")].rejected, rejected, "the deleted reject was rejected");
    outbox.reject(device(1), 1, "no", WallTime::from_millis(0)).unwrap();
    assert_eq!(outbox.rejects(9).unwrap()[0].number, 4, "numbers are never reused");
    assert_consistent(&outbox);
}
