//! Power cuts: opens images of the disk as a power cut may leave them, before each sync.
//!
//! A watcher records the synced content of each file and directory. An image mixes, for each page
//! of 4 KiB, the synced content with the content written since; it has the old or the new length
//! of each file, and the synced or the current names of each directory. In each image the outbox
//! must have all states whose append returned.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::{assert_consistent, commit, device};
use crate::{Options, Outbox};

/// Small segments, so that the journal rotates often; two full ones wait before they are packed.
const OPTIONS: Options =
    Options { segment_bytes: 8 << 10, journal_bytes: 16 << 10, ..super::OPTIONS };

/// A page of the kernel's cache, the unit of a write.
const PAGE: usize = 4096;

/// Identifies a file regardless of its name: its inode, and the time when the inode was created,
/// because inodes are reused.
type FileId = (u64, Option<SystemTime>);

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// The synced content of the disk.
struct Watcher {
    root: PathBuf,
    files: BTreeMap<FileId, Vec<u8>>,
    directories: BTreeMap<FileId, BTreeMap<OsString, FileId>>,
    /// The text of each state, by device and sequence number, whose append returned and which was
    /// not acknowledged.
    promised: BTreeMap<(u8, u64), String>,
    rng: StdRng,
    images_left: usize,
    images: usize,
}

/// A state whose commit was not synced when its append returned.
struct UnsyncedState {
    commit: u64,
    text: String,
}

/// Runs before each sync: checks an image at random, then records the content as synced.
pub(crate) fn before_sync(file: &File) {
    // The watcher is absent while an image is open.
    let Some(mut watcher) = WATCHER.with_borrow_mut(Option::take) else { return };
    if watcher.images_left > 0 && watcher.rng.random_bool(0.2) {
        watcher.check_image();
    }
    watcher.record_synced(file);
    WATCHER.set(Some(watcher));
}

fn id(metadata: &Metadata) -> FileId {
    (metadata.ino(), metadata.created().ok())
}

fn listing(directory: &Path) -> BTreeMap<OsString, FileId> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), id(&entry.metadata().unwrap()))).collect()
}

/// Finds all files and directories below a directory.
fn all_below(directory: &Path, found: &mut BTreeMap<FileId, PathBuf>) {
    found.insert(id(&fs::metadata(directory).unwrap()), directory.to_owned());
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all_below(&path, found);
        } else {
            found.insert(id(&entry.metadata().unwrap()), path);
        }
    }
}

impl Watcher {
    fn record_synced(&mut self, file: &File) {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        if !path.starts_with(&self.root) {
            return;
        }
        let id = id(&file.metadata().unwrap());
        if path.is_dir() {
            self.directories.insert(id, listing(&path));
        } else {
            self.files.insert(id, fs::read(path).unwrap());
        }
    }

    /// Creates an image and opens it.
    fn check_image(&mut self) {
        (self.images_left, self.images) = (self.images_left - 1, self.images + 1);
        let image = TempDir::new().unwrap();
        let mut there = BTreeMap::new();
        all_below(&self.root, &mut there);
        let root = id(&fs::metadata(&self.root).unwrap());
        self.make_directory(root, &there, image.path());
        let outbox = Outbox::open(image.path(), OPTIONS).unwrap();
        for number in 1..=3 {
            let found: BTreeMap<_, _> = outbox
                .peek(device(number), 0, usize::MAX, usize::MAX)
                .unwrap()
                .into_iter()
                .map(|entry| (entry.sequence, String::from_utf8(entry.json.to_vec()).unwrap()))
                .collect();
            let promised = self.promised.iter().filter(|((device, _), _)| *device == number);
            for ((_, sequence), text) in promised {
                let found = found.get(sequence);
                assert_eq!(
                    found,
                    Some(text),
                    "image {}, state {sequence} of {number}",
                    self.images
                );
            }
        }
        assert_consistent(&outbox);
    }

    fn make_directory(&mut self, one: FileId, there: &BTreeMap<FileId, PathBuf>, to: &Path) {
        let synced = self.directories.get(&one).cloned().unwrap_or_default();
        let current = there.get(&one).map(|path| listing(path));
        let is_current = self.rng.random_bool(0.5);
        let entries = current.filter(|_| is_current).unwrap_or(synced);
        for (name, entry) in entries {
            let to = to.join(name);
            if self.directories.contains_key(&entry)
                || there.get(&entry).is_some_and(|path| path.is_dir())
            {
                fs::create_dir(&to).unwrap();
                self.make_directory(entry, there, &to);
            } else {
                let current = there.get(&entry).map(|path| fs::read(path).unwrap());
                fs::write(to, self.mix(entry, current)).unwrap();
            }
        }
    }

    /// Returns the content of a file as a power cut may leave it.
    fn mix(&mut self, one: FileId, current: Option<Vec<u8>>) -> Vec<u8> {
        let synced = self.files.get(&one).cloned().unwrap_or_default();
        let current = current.unwrap_or_else(|| synced.clone());
        let length = if self.rng.random_bool(0.5) { synced.len() } else { current.len() };
        let mut mixed = vec![0; length];
        for at in (0..length).step_by(PAGE) {
            let from = if self.rng.random_bool(0.5) { &synced } else { &current };
            let end = (at + PAGE).min(length).min(from.len());
            if at < end {
                mixed[at..end].copy_from_slice(&from[at..end]);
            }
        }
        mixed
    }
}

fn with_watcher(work: impl FnOnce(&mut Watcher)) {
    WATCHER.with_borrow_mut(|watcher| work(watcher.as_mut().unwrap()));
}

/// Appends and acknowledges states until so many images were checked. Returns their number.
fn run(seed: u64, images: usize) -> usize {
    let directory = TempDir::new().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let watcher = Watcher {
        root: directory.path().to_owned(),
        files: BTreeMap::new(),
        directories: BTreeMap::new(),
        promised: BTreeMap::new(),
        rng: StdRng::seed_from_u64(seed + 1),
        images_left: images,
        images: 0,
    };
    WATCHER.set(Some(watcher));
    let outbox = Outbox::open(directory.path(), OPTIONS).unwrap();
    let mut last = BTreeMap::<u8, u64>::new();
    // States that were appended without a sync, so that they are not promised.
    let mut unsynced = BTreeMap::new();
    for step in 0.. {
        if WATCHER.with_borrow(|watcher| watcher.as_ref().unwrap().images_left == 0) {
            break;
        }
        let number = rng.random_range(1..=3_u8);
        if rng.random_bool(0.7) {
            let text = |count| format!("step {step}, {count}, {}", "x".repeat(step % 200));
            let texts: Vec<_> = (0..rng.random_range(1..12)).map(text).collect();
            let all: Vec<_> = texts.iter().map(String::as_str).collect();
            let commit = commit(number, "a", &all);
            // A sync without the lock may run while the commit is written.
            let running = outbox.disk().begin_sync().filter(|_| rng.random_bool(0.2));
            let synced = running.as_ref().map(|running| crate::sync::data(&running.file));
            let appended = if rng.random_bool(0.4) {
                outbox.append_unsynced(&commit).unwrap()
            } else {
                outbox.append(&commit).unwrap()
            };
            if let Some((running, synced)) = running.zip(synced) {
                outbox.disk().end_sync(&running, synced).unwrap();
                outbox.ack(device(9), 1, 1).unwrap();
            }
            for text in texts {
                let last = last.entry(number).or_default();
                *last += 1;
                unsynced.insert((number, *last), UnsyncedState { commit: appended.commit, text });
            }
            if rng.random_bool(0.1) {
                outbox.sync_states().unwrap();
            }
            // Each commit before the first unsynced one is promised.
            let first = outbox.first_unsynced().unwrap_or(u64::MAX);
            with_watcher(|watcher| {
                unsynced.retain(|key, UnsyncedState { commit, text }| {
                    let is_safe = *commit < first;
                    if is_safe {
                        watcher.promised.insert(*key, std::mem::take(text));
                    }
                    !is_safe
                });
            });
        } else {
            let waiting = outbox.peek(device(number), 0, rng.random_range(1..60), 1 << 20).unwrap();
            let Some((first, end)) = waiting.first().zip(waiting.last()) else { continue };
            let range = first.sequence..=end.sequence;
            let stays = |(device, at): &(u8, u64)| *device != number || !range.contains(at);
            unsynced.retain(|key, _| stays(key));
            with_watcher(|watcher| watcher.promised.retain(|key, _| stays(key)));
            outbox.ack(device(number), first.sequence, end.sequence).unwrap();
        }
    }
    WATCHER.take().unwrap().images
}

#[test]
fn power_cut_loses_no_promised_state() {
    let count = |name| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let images = count("TIDEGATE_IMAGES").unwrap_or(40);
    let seed = count("TIDEGATE_SEED").unwrap_or(1) as u64;
    eprintln!("seed {seed}: set TIDEGATE_SEED={seed} to repeat");
    let tried = run(seed, images);
    eprintln!("{tried} images checked, no state lost");
}
