//! Full segments that wait in the journal before they are packed.

use super::*;

/// Segments of 8 KiB, of which some wait in the journal.
const WAITING: Options = Options { segment_bytes: 8 << 10, journal_bytes: 24 << 10, ..OPTIONS };

#[test]
fn flow_that_leaves_soon_is_never_packed() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), WAITING).unwrap();
    let text = |number: u64| {
        (1..40).map(|n| ((number + n).pow(4) % 7_919).to_string()).collect::<String>()
    };
    for number in 1..=400_u64 {
        outbox.append(&commit(1, "a", &[&text(number)])).unwrap();
        // The waiting states take about 10 KB of the journal.
        if number > 30 {
            outbox.ack(device(1), number - 30, number - 30).unwrap();
        }
    }
    assert_eq!(outbox.disk().next_store, 1, "no store was ever built");
    assert_eq!(outbox.queue_sizes().total.states, 30);
    let copy = copy_of(directory.path());
    drop(outbox);
    for path in [copy.path(), directory.path()] {
        let outbox = Outbox::open(path, WAITING).unwrap();
        assert!(!outbox.disk().full.is_empty(), "full segments wait");
        assert_eq!(texts(&outbox, 1).len(), 30);
        assert_consistent(&outbox);
    }
}

#[test]
fn journal_stays_within_its_bound() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), WAITING).unwrap();
    for number in 0..400_u64 {
        let text = "x".repeat(usize::try_from(number % 97).unwrap()) + &number.to_string();
        let texts: Vec<_> = (0..9).map(|n| format!("{n} {text}")).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        outbox.append(&commit(1 + (number % 5) as u8, "a", &texts)).unwrap();
        let full = outbox.disk().full.values().map(|file| file.metadata().unwrap().len()).sum();
        assert!((0..=WAITING.journal_bytes).contains(&full), "{full} bytes in full segments");
    }
    assert!(outbox.disk().next_store > 3, "the oldest segments were packed");
    assert_consistent(&outbox);
}

#[test]
fn many_small_blocks_are_packed_early() {
    let directory = TempDir::new().unwrap();
    let outbox =
        Outbox::open(directory.path(), Options { journal_bytes: u64::MAX, ..OPTIONS }).unwrap();
    let mut all = Commit::default();
    for number in 0..=u8::MAX {
        let one = commit(number, "a", &["x"]);
        all.states.extend(one.states);
        all.ledger.entry(bus("a")).or_default().add(&one.ledger["a"]);
    }
    for _ in 0..80 {
        outbox.append_unsynced(&all).unwrap();
    }
    let disk = outbox.disk();
    let waiting = disk.full.keys().map(|number| disk.index.blocks_in_segment(*number));
    let waiting: usize = waiting.sum();
    assert!((1..=16_384).contains(&waiting), "{waiting} blocks wait");
    assert!(disk.next_store > 1);
}

#[test]
fn nearly_full_file_system_packs_all_full_segments() {
    let directory = TempDir::new().unwrap();
    let options = Options { free_bytes_min: u64::MAX, ..WAITING };
    let outbox = Outbox::open(directory.path(), options).unwrap();
    for number in 0..60_u64 {
        outbox.append(&commit(1, "a", &[&number.to_string().repeat(300)])).unwrap();
        assert_eq!(outbox.disk().full.len(), 0);
    }
    assert_consistent(&outbox);
}
