//! A full outbox that thins.

use serde_json::Value;

use super::*;

const BUCKET: Duration = Duration::from_secs(60);

fn thinning(bytes_max: u64) -> Options {
    Options { bytes_max, when_full: WhenFull::Downsample, downsample_bucket: BUCKET, ..OPTIONS }
}

/// One state of a device each second from `first` on.
fn numbers(number: u8, priority: Priority, (first, count): (u64, u64)) -> Commit {
    let state = |second: u64| {
        let time = WallTime::from_millis(i64::try_from(second).unwrap() * 1_000);
        Pending {
            device: device(number),
            bus: bus("a"),
            moment: ReadingTime::Wall(time),
            priority,
            readings: 1,
            json: Bytes::from(format!("{{\"time\":\"{time}\",\"data\":{{\"t\":{second}}}}}")),
        }
    };
    let account = Account { received: count, outbox_in: count, ..Account::default() };
    Commit {
        states: (first..first + count).map(state).collect(),
        ledger: BTreeMap::from([(bus("a"), account)]),
        ..Commit::default()
    }
}

fn states(outbox: &Outbox, number: u8) -> Vec<Value> {
    let entries = outbox.peek(device(number), 0, usize::MAX, usize::MAX).unwrap();
    entries.iter().map(|entry| serde_json::from_slice(&entry.json).unwrap()).collect()
}

/// How many measured values the states stand for.
fn weight(states: &[Value]) -> u64 {
    states.iter().map(|state| state["meta"]["downsampled"].as_u64().unwrap_or(1)).sum()
}

fn dropped(outbox: &Outbox, reason: Reason) -> u64 {
    outbox.ledger()["a"].dropped.get(&reason).copied().unwrap_or(0)
}

#[test]
fn old_numbers_become_means_and_nothing_of_high_priority_is_touched_while_low_is_there() {
    let directory = TempDir::new().unwrap();
    let options = thinning(64 << 10);
    let outbox = Outbox::open(directory.path(), options).unwrap();
    outbox.append(&numbers(2, Priority::High, (0, 100))).unwrap();
    for minute in 0..60 {
        outbox.append(&numbers(1, Priority::Low, (minute * 60, 60))).unwrap();
    }
    let (low, high) = (states(&outbox, 1), states(&outbox, 2));
    assert_eq!(high.len(), 100);
    assert_eq!(weight(&high), 100, "high priority is as it was");
    assert_eq!(weight(&low), 3_600, "each value is in a mean or as it was");
    assert!(low.len() < 1_500, "{} states of low priority", low.len());
    assert_eq!(dropped(&outbox, Reason::Downsampled), 3_600 - low.len() as u64);
    assert_eq!(dropped(&outbox, Reason::OutboxFull), 0);
    assert!(outbox.backlog().total.bytes <= options.bytes_max);
    let first = low.iter().find(|state| state["time"] == "1970-01-01T00:00:00.000Z").unwrap();
    assert_eq!((&first["data"]["t"], &first["meta"]["max"]["t"]), (&29.5.into(), &59.0.into()));
    assert_ledger_agrees(&outbox);

    drop(outbox);
    let outbox = Outbox::open(directory.path(), options).unwrap();
    assert_eq!((states(&outbox, 1), states(&outbox, 2)), (low, high), "after a restart");
    assert_ledger_agrees(&outbox);
}

#[test]
fn where_nothing_is_left_to_thin_the_oldest_are_dropped_low_priority_first() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), thinning(16 << 10)).unwrap();
    outbox.append(&numbers(2, Priority::Normal, (0, 30))).unwrap();
    for minute in 0..10 {
        outbox.append(&numbers(1, Priority::Low, (minute * 60, 60))).unwrap();
    }
    // More than there is room for, and no two in a bucket.
    for hour in 0..300 {
        outbox.append(&numbers(1, Priority::Low, (10_000 + hour * 3_600, 1))).unwrap();
    }
    assert_eq!(weight(&states(&outbox, 2)), 30);
    assert_eq!(states(&outbox, 2).len(), 30);
    assert!(dropped(&outbox, Reason::Downsampled) > 0);
    assert!(dropped(&outbox, Reason::OutboxFull) > 0);
    assert!(outbox.backlog().total.bytes <= 16 << 10);
    assert_ledger_agrees(&outbox);
}

#[test]
fn what_the_reporter_has_in_hand_is_not_downsampled() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), thinning(16 << 10)).unwrap();
    outbox.append(&numbers(1, Priority::Low, (0, 60))).unwrap();
    let in_hand = outbox.peek(device(1), 0, 60, usize::MAX).unwrap();
    for minute in 1..8 {
        outbox.append(&numbers(1, Priority::Low, (minute * 60, 60))).unwrap();
    }
    assert!(dropped(&outbox, Reason::Downsampled) > 0);
    let (first, last) = (in_hand[0].sequence, in_hand[59].sequence);
    let removed = outbox.ack(device(1), first, last).unwrap();
    assert_eq!(removed.states, 60, "they waited as they were given");
    assert_ledger_agrees(&outbox);
}

#[test]
fn what_is_no_number_is_not_downsampled() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), thinning(100)).unwrap();
    for text in ["one", "two", "three"] {
        outbox.append(&commit(1, "a", &[&text.repeat(15)])).unwrap();
    }
    assert_eq!(dropped(&outbox, Reason::Downsampled), 0);
    assert_eq!(dropped(&outbox, Reason::OutboxFull), 2);
    assert_ledger_agrees(&outbox);
}
