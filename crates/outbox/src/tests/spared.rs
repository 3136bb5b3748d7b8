//! Appends that are not synced while the cloud answers.

use super::*;

#[test]
fn what_the_cloud_has_before_the_window_ends_is_never_synced() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["synced"])).unwrap();
    assert!(outbox.settle(false).unwrap());
    outbox.append_unsynced(&commit(1, "a", &["one", "two"])).unwrap();
    outbox.append_unsynced(&commit(2, "a", &["three"])).unwrap();
    assert!(!outbox.settle(false).unwrap());
    outbox.ack(device(1), 1, 3).unwrap();
    assert!(!outbox.settle(false).unwrap(), "device 2 still waits");
    outbox.ack(device(2), 1, 1).unwrap();
    assert!(outbox.settle(false).unwrap());
    assert_ledger_agrees(&outbox);
}

#[test]
fn what_still_waits_is_synced_when_it_must_be_and_with_the_next_commit_that_is() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append_unsynced(&commit(1, "a", &["one"])).unwrap();
    assert!(outbox.settle(true).unwrap());
    outbox.append_unsynced(&commit(1, "a", &["two"])).unwrap();
    assert!(!outbox.settle(false).unwrap());
    outbox.append(&commit(1, "a", &["three"])).unwrap();
    assert!(outbox.settle(false).unwrap());
}

#[test]
fn a_full_segment_is_synced_before_another_takes_its_place() {
    let directory = TempDir::new().unwrap();
    let options = Options { segment_bytes: 8 << 10, ..OPTIONS };
    let outbox = Outbox::open(directory.path(), options).unwrap();
    let text = "x".repeat(500);
    for _ in 0..100 {
        outbox.append_unsynced(&commit(1, "a", &[&text])).unwrap();
    }
    assert!(outbox.settle(true).unwrap());
    drop(outbox);
    let outbox = Outbox::open(directory.path(), options).unwrap();
    assert_eq!(texts(&outbox, 1).len(), 100);
    assert_ledger_agrees(&outbox);
}
