//! A full outbox that downsamples.

use std::ops::Range;

use serde_json::Value;

use super::*;

const BUCKET: Duration = Duration::from_secs(60);

fn downsampling(bytes_max: u64) -> Options {
    Options { bytes_max, when_full: WhenFull::Downsample, downsample_bucket: BUCKET, ..OPTIONS }
}

/// Returns a commit with one state of a device for each of these seconds.
fn numbers(number: u8, priority: Priority, seconds: Range<u64>) -> Commit {
    let state = |second: u64| {
        let time = WallTime::from_millis(i64::try_from(second).unwrap() * 1_000);
        NewState {
            device: device(number),
            bus: bus("a"),
            moment: ReadingTime::Wall(time),
            priority,
            readings: 1,
            json: Bytes::from(format!("{{\"time\":\"{time}\",\"data\":{{\"t\":{second}}}}}")),
        }
    };
    let count = seconds.end - seconds.start;
    let account = Account { received: count, outbox_in: count, ..Account::default() };
    Commit {
        states: seconds.map(state).collect(),
        ledger: BTreeMap::from([(bus("a"), account)]),
        ..Commit::default()
    }
}

fn states(outbox: &Outbox, number: u8) -> Vec<Value> {
    let entries = outbox.peek(device(number), 0, usize::MAX, usize::MAX).unwrap();
    entries.iter().map(|entry| serde_json::from_slice(&entry.json).unwrap()).collect()
}

/// Returns the number of measured values that the states represent.
fn weight(states: &[Value]) -> u64 {
    states.iter().map(|state| state["meta"]["downsampled"].as_u64().unwrap_or(1)).sum()
}

fn dropped(outbox: &Outbox, reason: Reason) -> u64 {
    outbox.ledger()["a"].dropped.get(&reason).copied().unwrap_or(0)
}

#[test]
fn full_outbox_downsamples_low_priority_first() {
    let directory = TempDir::new().unwrap();
    let options = downsampling(64 << 10);
    let outbox = Outbox::open(directory.path(), options).unwrap();
    outbox.append(&numbers(2, Priority::High, 0..100)).unwrap();
    for minute in 0..60 {
        outbox.append(&numbers(1, Priority::Low, minute * 60..minute * 60 + 60)).unwrap();
    }
    let (low, high) = (states(&outbox, 1), states(&outbox, 2));
    assert_eq!(high.len(), 100);
    assert_eq!(weight(&high), 100, "high priority is unchanged");
    assert_eq!(weight(&low), 3_600, "each value is in a mean or unchanged");
    assert!(low.len() < 1_500, "{} states of low priority", low.len());
    assert_eq!(dropped(&outbox, Reason::Downsampled), 3_600 - low.len() as u64);
    assert_eq!(dropped(&outbox, Reason::OutboxFull), 0);
    assert!(outbox.queue_sizes().total.bytes <= options.bytes_max);
    let first = low.iter().find(|state| state["time"] == "1970-01-01T00:00:00.000Z").unwrap();
    assert_eq!((&first["data"]["t"], &first["meta"]["max"]["t"]), (&29.5.into(), &59.0.into()));
    assert_consistent(&outbox);

    drop(outbox);
    let outbox = Outbox::open(directory.path(), options).unwrap();
    assert_eq!((states(&outbox, 1), states(&outbox, 2)), (low, high), "after a restart");
    assert_consistent(&outbox);
}

#[test]
fn drops_oldest_when_downsampling_is_exhausted() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), downsampling(16 << 10)).unwrap();
    outbox.append(&numbers(2, Priority::Normal, 0..30)).unwrap();
    for minute in 0..10 {
        outbox.append(&numbers(1, Priority::Low, minute * 60..minute * 60 + 60)).unwrap();
    }
    // These exceed the capacity, and no two of them share a bucket.
    for hour in 0..300 {
        outbox
            .append(&numbers(1, Priority::Low, 10_000 + hour * 3_600..10_001 + hour * 3_600))
            .unwrap();
    }
    assert_eq!(weight(&states(&outbox, 2)), 30);
    assert_eq!(states(&outbox, 2).len(), 30);
    assert!(dropped(&outbox, Reason::Downsampled) > 0);
    assert!(dropped(&outbox, Reason::OutboxFull) > 0);
    assert!(outbox.queue_sizes().total.bytes <= 16 << 10);
    assert_consistent(&outbox);
}

#[test]
fn states_in_flight_are_not_downsampled() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), downsampling(16 << 10)).unwrap();
    outbox.append(&numbers(1, Priority::Low, 0..60)).unwrap();
    let in_flight = outbox.peek(device(1), 0, 60, usize::MAX).unwrap();
    for minute in 1..8 {
        outbox.append(&numbers(1, Priority::Low, minute * 60..minute * 60 + 60)).unwrap();
    }
    assert!(dropped(&outbox, Reason::Downsampled) > 0);
    let (first, last) = (in_flight[0].sequence, in_flight[59].sequence);
    let removed = outbox.ack(device(1), first, last).unwrap();
    assert_eq!(removed.states, 60, "they are queued as they were read");
    assert_consistent(&outbox);
}

#[test]
fn texts_are_not_downsampled() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), downsampling(100)).unwrap();
    for text in ["one", "two", "three"] {
        outbox.append(&commit(1, "a", &[&text.repeat(15)])).unwrap();
    }
    assert_eq!(dropped(&outbox, Reason::Downsampled), 0);
    assert_eq!(dropped(&outbox, Reason::OutboxFull), 2);
    assert_consistent(&outbox);
}
