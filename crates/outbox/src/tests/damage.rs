//! Bad storage: flipped bits, truncated and missing files, a failing disk.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::*;

/// Small segments, so that some are packed.
const SMALL: Options = Options { segment_bytes: 8 << 10, ..OPTIONS };

/// Creates an outbox with several stores and states in the journal: 40 commits of 10 states.
fn filled() -> (TempDir, Vec<String>) {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    for number in 0..40_u8 {
        let texts: Vec<_> = (0..10).map(|count| unpackable(number, count)).collect();
        let all: Vec<_> = texts.iter().map(String::as_str).collect();
        outbox.append(&commit(1 + number % 2, "a", &all)).unwrap();
    }
    let all = [texts(&outbox, 1), texts(&outbox, 2)].concat();
    drop(outbox);
    (directory, all)
}

/// Returns a text that LZ4 cannot compress.
fn unpackable(number: u8, count: u64) -> String {
    let seed = 977 * (u64::from(number) * 10 + count);
    (1..20).map(|n| ((seed + n).pow(3) % 65_521).to_string()).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found.retain(|path| !path.ends_with("lock"));
    found
}

/// Opens a damaged outbox: each state that it has was appended, and it still works. Returns the
/// numbers of lost and of counted states.
fn assert_salvaged(directory: &Path, all: &[String]) -> (usize, usize) {
    let outbox = Outbox::open(directory, SMALL).unwrap();
    let left = [texts(&outbox, 1), texts(&outbox, 2)].concat();
    assert!(left.iter().all(|text| all.contains(text)));
    assert_consistent(&outbox);
    let counted: u64 = outbox.ledger().values().flat_map(|account| account.dropped.values()).sum();
    outbox.append(&commit(3, "a", &["after"])).unwrap();
    drop(outbox);
    let outbox = Outbox::open(directory, SMALL).unwrap();
    assert_eq!(texts(&outbox, 3), ["after"]);
    assert_eq!([texts(&outbox, 1), texts(&outbox, 2)].concat(), left);
    (all.len() - left.len(), usize::try_from(counted).unwrap())
}

/// Damages a copy of an outbox in each 4 KiB of each file. Each damage may cost at most `worst`
/// states, which must be counted.
fn sweep(what: &str, worst: usize, damage: impl Fn(&File, u64)) {
    let (directory, all) = filled();
    let journal = files(directory.path()).into_iter().rfind(|path| !path.ends_with("spare"));
    let (mut costs, mut uncounted) = (Vec::new(), 0);
    for path in files(directory.path()) {
        let length = fs::metadata(&path).unwrap().len();
        for at in (0..length).step_by(4096) {
            let copy = copy_of(directory.path());
            let victim = copy.path().join(path.strip_prefix(directory.path()).unwrap());
            damage(&File::options().read(true).write(true).open(victim).unwrap(), at);
            let (lost, counted) = assert_salvaged(copy.path(), &all);
            let place = format!("{} at {at}: {lost} lost, {counted} counted", path.display());
            assert!(lost <= worst && counted <= lost, "{place}");
            // The last frame may be torn, and the newest segment has the newest counts.
            assert!(counted == lost || Some(&path) == journal.as_ref(), "{place}");
            costs.push(lost);
            uncounted += lost - counted;
        }
    }
    let free = costs.iter().filter(|lost| **lost == 0).count();
    let most = costs.iter().max().unwrap();
    eprintln!(
        "{} {what}: {free} cost nothing, the worst {most} of {} states, {uncounted} uncounted",
        costs.len(),
        all.len()
    );
}

#[test]
fn flipped_bit_costs_only_what_it_touches() {
    sweep("flipped bits", 40, |file, at| {
        let mut byte = [0];
        let at = at + 100;
        if file.read_at(&mut byte, at).unwrap() > 0 {
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
    });
}

#[test]
fn truncated_file_costs_only_what_was_behind() {
    sweep("cuts", 70, |file, at| file.set_len(at).unwrap());
}

#[test]
fn missing_file_costs_only_its_content() {
    let (directory, all) = filled();
    for path in files(directory.path()) {
        let copy = copy_of(directory.path());
        fs::remove_file(copy.path().join(path.strip_prefix(directory.path()).unwrap())).unwrap();
        let (lost, counted) = assert_salvaged(copy.path(), &all);
        assert!(lost <= 200 && counted <= lost, "{}: {lost} {counted}", path.display());
    }
}

#[test]
fn failing_disk_loses_nothing_and_recovers() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    outbox.append(&commit(1, "a", &["one"])).unwrap();
    // A directory in place of the next segment's file makes the disk fail.
    let spare = directory.path().join("spare");
    let numbers: Vec<_> = (1..3_000_u64).map(|n| (n.pow(5) % 65_521).to_string()).collect();
    let large = numbers.concat();
    fs::create_dir(&spare).unwrap();
    for _ in 0..3 {
        let refused = outbox.append(&commit(1, "a", &[&large]));
        assert!(matches!(refused, Err(Error::Disk(_))), "{refused:?}");
        assert_eq!(texts(&outbox, 1), ["one"], "queued states can still be read");
    }
    fs::remove_dir(&spare).unwrap();
    outbox.append(&commit(1, "a", &[&large])).unwrap();
    drop(outbox);
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    assert_eq!(texts(&outbox, 1), ["one".to_owned(), large]);
    assert_consistent(&outbox);
}

#[test]
fn acked_states_free_their_space() {
    let (directory, all) = filled();
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    assert!(fs::read_dir(directory.path().join("generations")).unwrap().count() > 0);
    for number in [1, 2] {
        outbox.ack(device(number), 1, u64::MAX).unwrap();
    }
    assert_eq!(outbox.ledger()["a"].stored, all.len() as u64);
    assert_eq!(fs::read_dir(directory.path().join("generations")).unwrap().count(), 0);
    assert_eq!(outbox.queue_sizes().total, Amount::default());
}

#[test]
fn damage_does_not_block_later_states() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    for text in ["first of all", "to be damaged", "last of all"] {
        outbox.append(&commit(1, "a", &[text])).unwrap();
    }
    flip(&directory.path().join("journal-0000000001"), b"to be damaged");
    let peek = |after| {
        let entries = outbox.peek(device(1), after, 10, 1_000).unwrap();
        entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>()
    };
    assert_eq!(peek(0), [1, 3]);
    assert_eq!(outbox.ledger()["a"].dropped, BTreeMap::from([(Reason::Damaged, 1)]));
    assert_consistent(&outbox);
    assert_eq!(peek(1), [3]);
    outbox.ack(device(1), 1, 1).unwrap();
    outbox.ack(device(1), 3, 3).unwrap();
    assert_eq!(peek(0), [0; 0]);
    assert_eq!(fs::read_dir(directory.path().join("damaged")).unwrap().count(), 1);
    drop(outbox);
    let outbox = open(directory.path());
    assert_eq!(outbox.ledger()["a"].dropped, BTreeMap::from([(Reason::Damaged, 1)]));
    assert_consistent(&outbox);
}

#[test]
fn damaged_segment_is_still_packed() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    outbox.append(&commit(1, "a", &["to be damaged"])).unwrap();
    flip(&directory.path().join("journal-0000000001"), b"to be damaged");
    for number in 0..400 {
        outbox.append(&commit(1, "a", &[&format!("number {number}")])).unwrap();
    }
    let segments = segment::numbers(directory.path()).unwrap();
    assert!(segments.len() <= 2, "{segments:?} were not packed");
    assert_eq!(texts(&outbox, 1).len(), 400);
    assert_eq!(outbox.ledger()["a"].dropped, BTreeMap::from([(Reason::Damaged, 1)]));
    assert_consistent(&outbox);
}

#[test]
fn damage_does_not_block_eviction() {
    let directory = TempDir::new().unwrap();
    let outbox = Outbox::open(directory.path(), Options { bytes_max: 30, ..OPTIONS }).unwrap();
    let mut mixed = commit(1, "a", &["to be damaged"]);
    let other = commit(1, "b", &["with this"]);
    mixed.states.extend(other.states);
    mixed.ledger.extend(other.ledger);
    outbox.append(&mixed).unwrap();
    flip(&directory.path().join("journal-0000000001"), b"to be damaged");
    let dropped = outbox.append(&commit(1, "b", &["new", "and newer"])).unwrap().dropped;
    assert_eq!(dropped, Removed::default(), "the outbox has room without the damaged states");
    assert_eq!(texts(&outbox, 1), ["new", "and newer"]);
    for bus in ["a", "b"] {
        assert_eq!(outbox.ledger()[bus].dropped, BTreeMap::from([(Reason::Damaged, 1)]));
    }
    assert_consistent(&outbox);
}

#[test]
fn removal_of_a_whole_block_of_one_bus_reads_nothing() {
    let directory = TempDir::new().unwrap();
    let outbox = open(directory.path());
    for text in ["to be damaged", "and evicted"] {
        outbox.append(&commit(1, "a", &[text])).unwrap();
    }
    flip(&directory.path().join("journal-0000000001"), b"to be damaged");
    outbox.ack(device(1), 1, 1).unwrap();
    flip(&directory.path().join("journal-0000000001"), b"and evicted");
    outbox.purge(device(1), 2, 2, Reason::Purged).unwrap();
    let account = &outbox.ledger()["a"];
    assert_eq!((account.stored, account.dropped[&Reason::Purged]), (1, 1));
    assert!(!directory.path().join("damaged").exists());
    assert_consistent(&outbox);
}

#[test]
fn older_version_is_refused_and_left_unchanged() {
    let (directory, bytes) = with_version(frame::VERSION - 1);
    let error = Outbox::open(directory.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::Older), "{error:?}");
    assert_eq!(fs::read(directory.path().join("journal-0000000001")).unwrap(), bytes);
}

#[test]
fn damaged_open_store_costs_only_what_it_touches() {
    let (directory, all) = filled();
    let (mut repaired, mut salvaged) = (0, 0);
    for path in files(&directory.path().join("generations")) {
        let whole = fs::read(&path).unwrap();
        let blocks = whole.windows(4).enumerate().filter(|(_, window)| window == block::MAGIC);
        // The bytes before a block belong to sled.
        for at in blocks.flat_map(|(at, _)| [at.saturating_sub(30), at + 30]) {
            let copy = copy_of(directory.path());
            let outbox = Outbox::open(copy.path(), SMALL).unwrap();
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(copy.path().join(path.strip_prefix(directory.path()).unwrap()), bytes)
                .unwrap();
            let left = [read_through(&outbox, 1), read_through(&outbox, 2)].concat();
            assert!(left.iter().all(|text| all.contains(text)));
            let lost = all.len() - left.len();
            let dropped = outbox.ledger()["a"].dropped.get(&Reason::Damaged).copied();
            assert_eq!(dropped.unwrap_or(0), lost as u64, "at {at}");
            assert_consistent(&outbox);
            drop(outbox);
            // The bytes of sled are not read; the next start finds damage there.
            if copy.path().join("damaged").exists() {
                assert!(lost <= 100, "{lost} lost at {at}");
                repaired += 1;
                salvaged += u32::from(lost == 0);
                assert_eq!(assert_salvaged(copy.path(), &all), (lost, lost), "at {at}");
            }
        }
    }
    eprintln!("{repaired} repairs, {salvaged} without a loss");
    assert!(repaired > 0);
}

/// Reads all states of a device; each peek ends before the next damaged block.
fn read_through(outbox: &Outbox, number: u8) -> Vec<String> {
    let (mut after, mut texts) = (0, Vec::new());
    loop {
        let entries = outbox.peek(device(number), after, 1_000, 1 << 20).unwrap();
        let Some(last) = entries.last() else { return texts };
        after = last.sequence;
        texts.extend(entries.iter().map(|one| String::from_utf8_lossy(&one.json).into_owned()));
    }
}

/// Flips one bit of these bytes in a file.
fn flip(path: &Path, victim: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(victim.len()).position(|window| window == victim).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn newer_version_is_rejected_and_left_unchanged() {
    let newer = frame::VERSION + 1;
    let (directory, bytes) = with_version(newer);
    let error = Outbox::open(directory.path(), OPTIONS).unwrap_err();
    assert!(matches!(error, OpenError::Newer(version) if version == u64::from(newer)), "{error:?}");
    assert!(error.to_string().contains("newer"), "{error}");
    assert_eq!(fs::read(directory.path().join("journal-0000000001")).unwrap(), bytes);
}

/// Creates an outbox whose first frames have this version. Returns the bytes of its segment.
fn with_version(version: u8) -> (TempDir, Vec<u8>) {
    let directory = TempDir::new().unwrap();
    open(directory.path()).append(&commit(1, "a", &["one"])).unwrap();
    let journal = directory.path().join("journal-0000000001");
    let mut bytes = fs::read(&journal).unwrap();
    // Both copies of the first frame: magic, version, segment, number, length, content, CRC-32.
    let length = 25 + u32::from_be_bytes(*bytes[21..].first_chunk().unwrap()) as usize;
    for begin in [0, (length + 4).next_multiple_of(16)] {
        bytes[begin + 4] = version;
        let checksum = crc32fast::hash(&bytes[begin..begin + length]);
        bytes[begin + length..begin + length + 4].copy_from_slice(&checksum.to_be_bytes());
    }
    fs::write(&journal, &bytes).unwrap();
    (directory, bytes)
}

#[test]
fn reading_opens_no_store_with_sled() {
    let (directory, all) = filled();
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    let verified = outbox.disk().stores.opened;
    assert!(verified >= 3, "the start verifies each store");
    for _ in 0..3 {
        assert_eq!([texts(&outbox, 1), texts(&outbox, 2)].concat(), all);
    }
    assert_eq!(outbox.disk().stores.opened, verified);
}

#[test]
fn moved_block_is_found_again_without_sled() {
    let (directory, all) = filled();
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    let verified = outbox.disk().stores.opened;
    // All blocks move by one page.
    for path in files(&directory.path().join("generations")) {
        if path.ends_with("db") {
            let moved = [vec![0; 4096], fs::read(&path).unwrap()].concat();
            fs::write(&path, moved).unwrap();
        }
    }
    assert_eq!([texts(&outbox, 1), texts(&outbox, 2)].concat(), all);
    assert_eq!(outbox.disk().stores.opened, verified);
}

/// sled writes when it opens a database, which a full disk prevents.
#[test]
fn store_is_readable_when_sled_cannot_open_it() {
    let (directory, all) = filled();
    let stores = fs::read_dir(directory.path().join("generations")).unwrap();
    let held: Vec<_> = stores
        .map(|entry| {
            let config = sled::Config::new().path(entry.unwrap().path());
            let config = config.segment_size(64 << 10).mode(sled::Mode::LowSpace);
            config.flush_every_ms(None).open().unwrap()
        })
        .collect();
    assert!(held.len() >= 3, "{} stores", held.len());
    let outbox = Outbox::open(directory.path(), SMALL).unwrap();
    assert_eq!([texts(&outbox, 1), texts(&outbox, 2)].concat(), all);
    assert_consistent(&outbox);
    assert!(!directory.path().join("damaged").exists());
}
