//! Appends without a sync.

use super::*;

#[test]
fn acked_states_need_no_sync() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["synced"])).unwrap();
    assert_eq!(outbox.first_unsynced(), None);
    let first = outbox.append_unsynced(&commit(1, "a", &["one", "two"])).unwrap().commit;
    let second = outbox.append_unsynced(&commit(2, "a", &["three"])).unwrap().commit;
    assert!(first < second);
    assert_eq!(outbox.first_unsynced(), Some(first));
    outbox.ack(device(1), 1, 2).unwrap();
    assert_eq!(outbox.first_unsynced(), Some(first), "state two is still queued");
    outbox.ack(device(1), 3, 3).unwrap();
    assert_eq!(outbox.first_unsynced(), Some(second), "the state of device 2 is still queued");
    outbox.ack(device(2), 1, 1).unwrap();
    assert_eq!(outbox.first_unsynced(), None);
    assert_consistent(&outbox);
}

#[test]
fn unsynced_states_are_synced_with_the_next_commit() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append_unsynced(&commit(1, "a", &["one"])).unwrap();
    outbox.sync_states().unwrap();
    assert_eq!(outbox.first_unsynced(), None);
    outbox.append_unsynced(&commit(1, "a", &["two"])).unwrap();
    assert!(outbox.first_unsynced().is_some());
    outbox.append(&commit(1, "a", &["three"])).unwrap();
    assert_eq!(outbox.first_unsynced(), None);
}

#[test]
fn commit_that_only_counts_is_not_synced() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append_unsynced(&commit(1, "a", &["one"])).unwrap();
    let account =
        Account { received: 1, rejected: [(Reason::Noise, 1)].into(), ..Account::default() };
    let ledger = [("a".parse().unwrap(), account)].into();
    let rows = [("table", Vec::new())].into();
    outbox.append(&Commit { ledger, rows, ..Commit::default() }).unwrap();
    assert!(outbox.first_unsynced().is_some());
}

#[test]
fn ignored_values_count_as_rejected() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append(&commit(1, "a", &["one", "two"])).unwrap();
    let ignored = [(2, [(Reason::WrongType, 1)].into())].into();
    outbox.ack_except(device(1), 1, 2, &ignored).unwrap();
    let account = &outbox.ledger()[&"a".parse::<Name>().unwrap()];
    assert_eq!((account.stored, account.rejected[&Reason::WrongType]), (1, 1));
    assert_consistent(&outbox);
}

#[test]
fn rotation_syncs_the_full_segment() {
    let directory = TempDir::new().unwrap();
    let options = Options { segment_bytes: 8 << 10, ..OPTIONS };
    let outbox = Outbox::open(directory.path(), options).unwrap();
    let text = "x".repeat(500);
    for _ in 0..100 {
        outbox.append_unsynced(&commit(1, "a", &[&text])).unwrap();
    }
    outbox.sync_states().unwrap();
    assert_eq!(outbox.first_unsynced(), None);
    drop(outbox);
    let outbox = Outbox::open(directory.path(), options).unwrap();
    assert_eq!(outbox.first_unsynced(), None);
    assert_eq!(texts(&outbox, 1).len(), 100);
    assert_consistent(&outbox);
}

#[test]
fn later_acked_commit_does_not_hide_an_earlier_one() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    let first = outbox.append_unsynced(&commit(1, "a", &["one"])).unwrap().commit;
    outbox.append_unsynced(&commit(2, "a", &["two"])).unwrap();
    let third = outbox.append_unsynced(&commit(3, "a", &["three"])).unwrap().commit;
    outbox.ack(device(2), 1, 1).unwrap();
    assert_eq!(outbox.first_unsynced(), Some(first));
    outbox.ack(device(1), 1, 1).unwrap();
    assert_eq!(outbox.first_unsynced(), Some(third), "the second commit left before");
    outbox.sync_states().unwrap();
    assert_eq!(outbox.first_unsynced(), None);
}

#[test]
fn sync_without_the_lock_covers_only_earlier_commits() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    outbox.append_unsynced(&commit(1, "a", &["one"])).unwrap();
    let running = outbox.disk().begin_sync().unwrap();
    let second = outbox.append_unsynced(&commit(1, "a", &["two"])).unwrap().commit;
    assert_eq!(texts(&outbox, 1), ["one", "two"], "a read does not wait for the sync");
    outbox.disk().end_sync(&running, Ok(())).unwrap();
    assert_eq!(outbox.disk().first_unsynced(), Some(second));
    outbox.sync_states().unwrap();
    assert_eq!(outbox.first_unsynced(), None);
}

#[test]
fn failed_sync_without_the_lock_writes_its_states_elsewhere() {
    let directory = TempDir::new().unwrap();
    let options = Options { journal_bytes: 1 << 20, ..OPTIONS };
    let outbox = Outbox::open(directory.path(), options).unwrap();
    let first = outbox.append_unsynced(&commit(1, "a", &["one"])).unwrap().commit;
    let running = outbox.disk().begin_sync().unwrap();
    outbox.append_unsynced(&commit(1, "a", &["two"])).unwrap();
    let failure = std::io::Error::from(std::io::ErrorKind::Other);
    outbox.disk().end_sync(&running, Err(failure)).unwrap_err();
    assert_eq!(outbox.first_unsynced(), Some(first));
    let failed = directory.path().join("journal-0000000001");
    assert!(failed.exists());
    outbox.sync_states().unwrap();
    assert_eq!(outbox.first_unsynced(), None);
    assert!(!failed.exists(), "the states are in a store");
    assert_eq!(texts(&outbox, 1), ["one", "two"]);
    drop(outbox);
    assert_eq!(texts(&open(directory.path()), 1), ["one", "two"]);
}

#[test]
fn rotation_during_a_sync_keeps_later_commits_unsynced() {
    let directory = TempDir::new().unwrap();
    let options = Options { segment_bytes: 1, journal_bytes: 1 << 20, ..OPTIONS };
    let outbox = Outbox::open(directory.path(), options).unwrap();
    outbox.append_unsynced(&commit(1, "a", &["one"])).unwrap();
    let running = outbox.disk().begin_sync().unwrap();
    let begun = outbox.disk().next_segment;
    let mut last = 0;
    while outbox.disk().next_segment == begun {
        last = outbox.append_unsynced(&commit(1, "a", &["x"])).unwrap().commit;
    }
    outbox.disk().end_sync(&running, Ok(())).unwrap();
    assert_eq!(outbox.disk().first_unsynced(), Some(last), "it is in the new segment");
    assert_consistent(&outbox);
}
