//! What is done when an outbox is opened: the journal is read back, every group is looked at, and the ledger is balanced.
//!
//! Where the newest state is gone, damaged with its segment, an older one is taken and everything that is found is put together
//! again; what was confirmed meanwhile is then sent once more. What sled cannot read is searched for groups, byte by byte. So
//! damage costs what it touches, and that is counted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use tracing::{error, warn};

use super::block::Group;
use super::disk::Disk;
use super::frame::{self, Scan};
use super::index::{Home, Index};
use super::repair::balance;
use super::segment::{self, Segment, file_of};
use super::state::State;
use super::store::{Generations, groups_in, key};
use super::thin::Thinning;
use super::{OpenError, Options};
use tidegate_model::Name;

/// So often the lock is tried, [`LOCK_PAUSE`] apart.
const LOCK_TRIES_MAX: u32 = 20;

/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What is being put together.
struct Recovery {
    disk: Disk,
    /// Readings that wait, for each bus.
    waiting: BTreeMap<Name, u64>,
    is_damaged: bool,
}

/// A group that was found.
struct Found {
    segment: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// Opens what is in the directory.
pub(super) fn recover(directory: &Path, options: Options) -> Result<Disk, OpenError> {
    let lock = lock(directory)?;
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    if directory.join("db").exists() {
        return Err(OpenError::Older);
    }
    let generations = Generations::new(directory).map_err(failed)?;
    let disk = Disk {
        directory: directory.to_owned(),
        options,
        lock,
        active: None,
        full: BTreeMap::new(),
        generations,
        is_suspect: false,
        thinning: Thinning::default(),
        unsynced: Vec::new(),
        index: Index::default(),
        state: State::default(),
        next_segment: 1,
        next_generation: 1,
    };
    let mut recovery = Recovery { disk, waiting: BTreeMap::new(), is_damaged: false };
    recovery.run().map_err(|error| match error {
        Failure::Newer(version) => OpenError::Newer(u64::from(version)),
        Failure::Io(source) => failed(source),
    })?;
    let Recovery { mut disk, waiting, .. } = recovery;
    balance(&mut disk.state.ledger, &waiting);
    if disk.active.is_none()
        && let Err(error) = disk.rotate(0)
    {
        error!(%error, "the outbox cannot be written now; it takes readings when it can");
    }
    Ok(disk)
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let options = File::options().create(true).truncate(false).write(true).clone();
    let lock = options.open(directory.join("lock")).map_err(failed)?;
    let mut tries = 1;
    let locked = loop {
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            // A program that a killed daemon was about to start holds it for a moment longer.
            Err(rustix::io::Errno::WOULDBLOCK) if tries < LOCK_TRIES_MAX => {
                std::thread::sleep(LOCK_PAUSE);
                tries += 1;
            }
            locked => break locked,
        }
    };
    match locked {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked),
        Err(error) => Err(failed(error.into())),
    }
}

/// Why nothing can be put together.
enum Failure {
    Newer(u8),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Recovery {
    fn run(&mut self) -> Result<(), Failure> {
        let directory = self.disk.directory.clone();
        let numbers = segment::numbers(&directory)?;
        let built = self.disk.generations.numbers()?;
        self.disk.next_segment = numbers.last().map_or(1, |last| last + 1);
        self.disk.next_generation = built.last().map_or(1, |last| last + 1);
        let found = self.read_newest(&directory, &numbers)?;
        for one in found {
            let home = (one.segment, one.offset);
            self.take(&one.bytes, |length| Home::Segment {
                number: home.0,
                offset: home.1,
                length,
            });
        }
        self.read_generations(&built);
        self.read_full(&directory, &numbers)?;
        self.clear_away(&directory, &numbers, &built)?;
        Ok(())
    }

    /// Reads the newest state, and what came after it. Returns the groups there.
    fn read_newest(&mut self, directory: &Path, numbers: &[u64]) -> Result<Vec<Found>, Failure> {
        for number in numbers.iter().rev() {
            let bytes = fs::read(file_of(directory, *number))?;
            let scan = frame::scan(&bytes, *number);
            if let Some(version) = scan.newer {
                return Err(Failure::Newer(version));
            }
            // A segment without any frame was being made when the power was cut.
            let Some(last) = scan.frames.last() else { continue };
            let (end, next) = (last.end, last.number + 1);
            if !self.replay(&scan) {
                warn!(
                    segment = number,
                    "the state in the journal is damaged; an older one is taken"
                );
                self.is_damaged = true;
                self.disk.state.segments.insert(*number, u64::MAX);
                continue;
            }
            if scan.has_gap {
                self.is_damaged = true;
                self.disk.set_aside(&file_of(directory, *number));
            }
            if self.is_damaged {
                self.disk.state.segments.insert(*number, end);
                return Ok(Vec::new());
            }
            self.disk.active = Some(Segment::resume(directory, *number, (end, next))?);
            return Ok(groups_of(&scan, *number, u64::MAX));
        }
        self.read_spare(directory)?;
        Ok(Vec::new())
    }

    /// Where no segment has a state, the one before may still have its own.
    fn read_spare(&mut self, directory: &Path) -> Result<(), Failure> {
        let bytes = match fs::read(directory.join("spare")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes?,
        };
        let Some(number) = frame::segment_of(&bytes) else { return Ok(()) };
        warn!("the newest segment of the journal is gone; the one before is taken");
        self.is_damaged = true;
        fs::rename(directory.join("spare"), file_of(directory, number))?;
        let scan = frame::scan(&bytes, number);
        if let Some(version) = scan.newer {
            return Err(Failure::Newer(version));
        }
        self.replay(&scan);
        let end = scan.frames.last().map_or(0, |frame| frame.end);
        self.disk.state.segments.insert(number, end);
        self.disk.next_segment = self.disk.next_segment.max(number + 2);
        Ok(())
    }

    /// Applies a state and the changes after it; false where there is no state.
    fn replay(&mut self, scan: &Scan<'_>) -> bool {
        let Some((first, changes)) = scan.frames.split_first() else { return false };
        let state = postcard::from_bytes::<State>(first.change);
        let (0, Ok(state)) = (first.number, state) else { return false };
        // Segments that were found damaged on the way here.
        let damaged = std::mem::take(&mut self.disk.state.segments);
        self.disk.state = state;
        self.disk.state.segments.extend(damaged);
        for frame in changes {
            match postcard::from_bytes(frame.change) {
                Ok(change) => self.disk.state.apply(&change),
                Err(error) => {
                    warn!(%error, "a change in the journal cannot be understood");
                    self.is_damaged = true;
                }
            }
        }
        true
    }

    fn read_generations(&mut self, built: &[u64]) {
        let listed = self.disk.state.generations.clone();
        // Those that are not listed were not finished; where the list is old, they were.
        let is_list_old = self.is_damaged;
        for number in built.iter().filter(|one| is_list_old || listed.contains_key(one)) {
            let (mut groups, mut bad) = (Vec::new(), 0_u64);
            let read =
                self.disk.generations.read_all(*number, |bytes| match Group::decode(bytes) {
                    Ok(group) => groups.push((group.device, group.first, group.last())),
                    Err(_) => bad += 1,
                });
            let expected = listed.get(number).copied().unwrap_or_default();
            let is_whole = read.is_ok() && bad == 0 && groups.len() as u64 >= expected;
            if !is_whole {
                let error = read.err().map(|error| error.to_string()).unwrap_or_default();
                warn!(
                    generation = number,
                    error, "a part of the outbox is damaged; salvaging what is whole"
                );
                let raw = self.disk.generations.raw(*number).unwrap_or_default();
                self.salvage(*number, &raw);
                continue;
            }
            self.disk.state.generations.insert(*number, groups.len() as u64);
            for (device, first, _) in groups {
                if let Ok(Some(bytes)) = self.disk.generations.get(*number, 0, &key(device, first))
                {
                    self.take(&bytes, |_| Home::Generation(*number));
                }
            }
        }
        self.disk.generations.close();
        for number in listed.keys().filter(|number| !built.contains(number)) {
            warn!(generation = number, "a part of the outbox is missing");
            self.disk.state.generations.remove(number);
        }
    }

    /// Builds a generation anew from the groups that are whole, and sets the damaged one aside.
    fn salvage(&mut self, number: u64, raw: &[Vec<u8>]) {
        let groups = groups_in(raw);
        self.disk.state.generations.remove(&number);
        let fresh = self.disk.next_generation;
        self.disk.next_generation += 1;
        let built = self.disk.generations.begin(fresh).and_then(|mut builder| {
            groups.iter().try_for_each(|(key, bytes)| builder.insert(key.clone(), bytes))?;
            builder.finish()
        });
        if let Err(error) = built {
            // It stays listed as it is, and the next start tries again.
            self.disk.state.generations.insert(number, u64::MAX);
            error!(%error, generation = number, "a damaged part of the outbox cannot be salvaged now");
            return;
        }
        self.disk.state.generations.insert(fresh, groups.len() as u64);
        for bytes in groups.values() {
            self.take(bytes, |_| Home::Generation(fresh));
        }
        self.is_damaged = true;
        let path = self.disk.generations.path(number);
        self.disk.set_aside(&path);
        if let Err(error) = self.disk.generations.remove(number) {
            warn!(%error, "a damaged generation cannot be removed");
        }
    }

    /// Reads the groups of the full segments.
    fn read_full(&mut self, directory: &Path, numbers: &[u64]) -> Result<(), Failure> {
        if self.is_damaged {
            // The list may be old. What is in none of the other places is taken from wherever it is.
            let active = self.disk.active.take();
            for number in numbers {
                self.disk.state.segments.entry(*number).or_insert(u64::MAX);
            }
            if let Some(active) = active {
                self.disk.state.segments.insert(active.number, active.end);
                self.disk.full.insert(active.number, active.file);
            }
        }
        for (number, end) in self.disk.state.segments.clone() {
            let path = file_of(directory, number);
            let bytes = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    warn!(segment = number, "a part of the journal is missing");
                    self.disk.state.segments.remove(&number);
                    continue;
                }
                bytes => bytes?,
            };
            let scan = frame::scan(&bytes, number);
            if scan.has_gap {
                self.disk.set_aside(&path);
            }
            self.disk.full.insert(number, File::open(&path)?);
            for one in groups_of(&scan, number, end) {
                let offset = one.offset;
                self.take(&one.bytes, |length| Home::Segment { number, offset, length });
            }
        }
        Ok(())
    }

    /// Takes a group into the index if something of it waits and it stands nowhere else, and counts that.
    fn take(&mut self, bytes: &[u8], home: impl FnOnce(usize) -> Home) {
        let Ok(group) = Group::decode(bytes) else { return };
        let disk = &mut self.disk;
        disk.state.commit = disk.state.commit.max(group.commit);
        let lane = disk.state.lanes.entry(*group.device.as_bytes()).or_default();
        lane.last = lane.last.max(group.last());
        let is_gone = lane.gone.covers(group.first, group.last());
        if is_gone || disk.index.has_any(group.device, group.first, group.last()) {
            return;
        }
        for (sequence, record) in (group.first..).zip(&group.records) {
            if !lane.gone.covers(sequence, sequence) {
                lane.amount.add(record);
                *self.waiting.entry(record.bus.clone()).or_default() += u64::from(record.readings);
            }
        }
        disk.index.insert((group.device, group.first), group.spot(home(bytes.len())));
    }

    /// Removes what a crash left half-way.
    fn clear_away(&mut self, directory: &Path, numbers: &[u64], built: &[u64]) -> io::Result<()> {
        let active = self.disk.active.as_ref().map(|active| active.number);
        let state = &self.disk.state;
        for number in numbers {
            if Some(*number) != active && !state.segments.contains_key(number) {
                segment::release(directory, *number, self.disk.options.segment_bytes)?;
            }
        }
        for number in built.iter().filter(|number| !state.generations.contains_key(number)) {
            self.disk.generations.remove(*number)?;
        }
        Ok(())
    }
}

/// The groups of a segment up to where it counts.
fn groups_of(scan: &Scan<'_>, segment: u64, end: u64) -> Vec<Found> {
    let counted = scan.frames.iter().filter(|frame| frame.end <= end);
    let groups = counted.flat_map(|frame| &frame.groups);
    groups
        .map(|(offset, bytes)| Found { segment, offset: *offset, bytes: bytes.to_vec() })
        .collect()
}
