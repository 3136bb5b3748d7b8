//! The counts that can be read without waiting for the disk.

use super::*;

#[test]
fn latest_time_survives_an_empty_queue() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one"])).unwrap();
    outbox.ack(device(1), 1, 1).unwrap();
    outbox.flush().unwrap();
    drop(outbox);
    assert_eq!(open(directory.path()).latest()[&device(1)], WallTime::from_millis(1_000));
}

#[test]
fn queue_changes_name_only_what_changed() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    for number in 1..=3 {
        outbox.append(&commit(number, "a", &["one", "two"])).unwrap();
    }
    let all = outbox.queue_changes(0);
    assert_eq!(all.queues.len(), 3);
    assert_eq!(outbox.queue_changes(all.version).queues, []);
    outbox.ack(device(2), 1, 1).unwrap();
    outbox.append(&commit(1, "a", &["three"])).unwrap();
    let changes = outbox.queue_changes(all.version);
    let amount = |states, bytes| Amount { states, readings: states, bytes };
    let changed: Vec<_> = changes.queues.iter().map(|one| (one.device, one.amount)).collect();
    assert_eq!(changed, [(device(2), amount(1, 3)), (device(1), amount(3, 11))]);
    assert_eq!(changes.queues[1].last, 3);
    assert_eq!(changes.total, outbox.queue_sizes().total);
    drop(outbox);
    assert_eq!(open(directory.path()).queue_changes(0).queues.len(), 3);
}
