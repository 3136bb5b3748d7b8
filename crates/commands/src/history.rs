//! The history of commands: which commands arrived and with which result they ended.
//!
//! It is kept in memory and mirrored to a durable table. Each modification adds the changes of the
//! table to a list. The owner takes them with [`History::take_changes`] and writes them before it
//! executes a command.
//!
//! Invariants:
//! - A recorded command never runs again. While its record exists, the record identifies it. After
//!   its record was removed, the *floor* refuses it: the time of the newest removed record. No
//!   command with this time or an earlier one runs.
//! - A record without a result is not removed, so every result is reported.
//! - The number of records of each device is bounded, if the owner calls [`History::has_room`]
//!   before it adds a command that waits for its result.
//! - A record without a result that is read from the table belongs to an interrupted command.

mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use record::{AHEAD_MAX, Digest, Record, command_digest};

use record::MESSAGE_CHARS_MAX;
use tidegate_model::{CommandResult, DeviceId, ReadingTime, WallTime};

/// The name of the durable table.
pub const TABLE: &str = "commands";

/// The most records of all devices; the outbox bounds the size of a table.
const RECORDS_MAX: usize = 8_192;

/// The fewest records of a device, however many devices share the history.
const DEVICE_RECORDS_MIN: usize = 64;

/// The most records of a device.
const DEVICE_RECORDS_MAX: usize = 1_024;

/// The format of the table.
const VERSION: &[u8] = &[1];

/// One change of the durable table: a key with its new value, or with `None` to remove it.
pub type TableChange = (Vec<u8>, Option<Vec<u8>>);

/// Whether a command arrived before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateCheck {
    /// It did not arrive before.
    New,
    /// It arrived before.
    Duplicate,
    /// It is not newer than the floor, so it may have arrived before.
    Forgotten,
}

/// The end of a command.
#[derive(Debug, Clone, Copy)]
pub struct CommandEnd<'a> {
    /// The result.
    pub result: CommandResult,
    /// The reason, or the answer of the actuator.
    pub message: &'a str,
    /// How long the actuator took.
    pub duration_ms: Option<u64>,
}

/// The period in which every command of a device was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// When the first stream was opened. Older commands are never requested.
    pub since: WallTime,
    /// The end of the period.
    pub until: WallTime,
}

/// The table was written in a newer format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the command history was written by a newer version of tidegate; install that version")]
pub struct NewerHistory;

/// The history of all devices.
#[derive(Debug, Default)]
pub struct History {
    devices: BTreeMap<DeviceId, DeviceHistory>,
    records: BTreeMap<u64, Record>,
    device_records_max: usize,
    last: u64,
    changes: Vec<TableChange>,
}

/// The index of the records of one device.
#[derive(Debug, Default)]
struct DeviceHistory {
    /// Time and number of each record that has a result, oldest first.
    finished: BTreeSet<(i64, u64)>,
    /// The number of records without a result.
    unfinished: usize,
    digests: BTreeSet<Digest>,
    /// The time of the newest removed record.
    floor: Option<i64>,
    coverage: Option<Coverage>,
}

impl History {
    /// Reads the table and ends each record without a result as interrupted at `now`.
    ///
    /// An unreadable record may belong to any command. If there is one, the floor of each device
    /// rises to its newest record.
    ///
    /// # Errors
    /// Fails if a newer version of tidegate wrote the table.
    pub fn load(
        table: &[(Vec<u8>, Vec<u8>)],
        devices: usize,
        now: ReadingTime,
    ) -> Result<Self, NewerHistory> {
        let mut history = Self::default();
        history.set_device_count(devices);
        let mut is_damaged = false;
        match table.iter().find(|(key, _)| key == b"v") {
            Some((_, version)) if version != VERSION => return Err(NewerHistory),
            Some(_) => {}
            None => history.changes.push((b"v".to_vec(), Some(VERSION.to_vec()))),
        }
        for (key, value) in table.iter().filter(|(key, _)| key != b"v") {
            is_damaged |= history.read(key, value).is_none();
        }
        let is_started = |record: &&Record| record.result == CommandResult::Started;
        let started: Vec<u64> =
            history.records.values().filter(is_started).map(|record| record.number).collect();
        for number in started {
            let message = "tidegate ended before the command had a result";
            let result = CommandResult::Interrupted;
            history.finish(number, CommandEnd { result, message, duration_ms: None }, now);
        }
        if is_damaged {
            history.raise_floors();
        }
        Ok(history)
    }

    /// Divides the capacity among `devices`. Surplus records are removed with the next command.
    pub fn set_device_count(&mut self, devices: usize) {
        let share = RECORDS_MAX / devices.max(1);
        self.device_records_max = share.clamp(DEVICE_RECORDS_MIN, DEVICE_RECORDS_MAX);
    }

    /// Returns whether a command with this time and digest arrived for a device before.
    pub fn check_duplicate(
        &self,
        device: DeviceId,
        time: Option<WallTime>,
        digest: Option<Digest>,
    ) -> DuplicateCheck {
        let Some(known) = self.devices.get(&device) else { return DuplicateCheck::New };
        let is_forgotten = |time: WallTime| known.floor.is_some_and(|it| time.as_millis() <= it);
        if digest.is_some_and(|digest| known.digests.contains(&digest)) {
            DuplicateCheck::Duplicate
        } else if time.is_some_and(is_forgotten) {
            DuplicateCheck::Forgotten
        } else {
            DuplicateCheck::New
        }
    }

    /// Returns whether a device may have one more record without a result.
    pub fn has_room(&self, device: DeviceId) -> bool {
        let unfinished = self.devices.get(&device).map_or(0, |known| known.unfinished);
        unfinished < self.device_records_max
    }

    /// Adds the record of a command and returns its number.
    ///
    /// Removes the oldest finished records of the device while it has too many.
    pub fn add(&mut self, mut record: Record) -> u64 {
        self.last += 1;
        record.number = self.last;
        let device = record.device;
        self.write(&record);
        self.insert(record);
        let records_max = self.device_records_max;
        while self.devices.get(&device).is_some_and(|known| known.is_over(records_max)) {
            self.forget_oldest(device);
        }
        self.last
    }

    /// Records the end of a command. Does nothing if its record was removed.
    pub fn finish(&mut self, number: u64, outcome: CommandEnd<'_>, now: ReadingTime) {
        let Some(record) = self.records.get_mut(&number) else { return };
        let known = self.devices.entry(record.device).or_default();
        if record.result == CommandResult::Started {
            known.unfinished = known.unfinished.saturating_sub(1);
            known.finished.insert((record.order_ms(), number));
        }
        record.result = outcome.result;
        record.message = outcome.message.chars().take(MESSAGE_CHARS_MAX).collect();
        record.duration_ms = outcome.duration_ms;
        record.finished = Some(now);
        self.changes.push((record_key(number), Some(record.encode())));
    }

    /// Records that the report of the result is stored in the outbox.
    pub fn mark_reported(&mut self, number: u64) {
        let Some(record) = self.records.get_mut(&number) else { return };
        record.is_reported = true;
        self.changes.push((record_key(number), Some(record.encode())));
    }

    /// Records that all commands of a device were received until then.
    pub fn extend_coverage(&mut self, device: DeviceId, until: WallTime) {
        let known = self.devices.entry(device).or_default();
        let coverage = known.coverage.get_or_insert(Coverage { since: until, until });
        coverage.until = coverage.until.max(until);
        let times = [coverage.since, coverage.until].map(|time| time.as_millis().to_be_bytes());
        self.changes.push((device_key(b'h', device), Some(times.concat())));
    }

    /// Returns the coverage of a device; `None` before its first stream.
    pub fn coverage(&self, device: DeviceId) -> Option<Coverage> {
        self.devices.get(&device)?.coverage
    }

    /// Returns a record by its number.
    pub fn record(&self, number: u64) -> Option<&Record> {
        self.records.get(&number)
    }

    /// Returns all records, oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.values()
    }

    /// Takes the changes since the last call.
    ///
    /// The caller writes them to disk before it acts on what they record.
    pub fn take_changes(&mut self) -> Vec<TableChange> {
        std::mem::take(&mut self.changes)
    }

    /// Puts back changes that could not be written, before all later ones.
    pub fn restore_changes(&mut self, mut changes: Vec<TableChange>) {
        changes.append(&mut self.changes);
        self.changes = changes;
    }

    fn write(&mut self, record: &Record) {
        self.changes.push((record_key(record.number), Some(record.encode())));
    }

    fn insert(&mut self, record: Record) {
        let known = self.devices.entry(record.device).or_default();
        if record.result == CommandResult::Started {
            known.unfinished += 1;
        } else {
            known.finished.insert((record.order_ms(), record.number));
        }
        known.digests.extend(record.digest);
        self.last = self.last.max(record.number);
        self.records.insert(record.number, record);
    }

    /// Removes the oldest finished record of a device and raises the floor to its time.
    fn forget_oldest(&mut self, device: DeviceId) {
        let Some(known) = self.devices.get_mut(&device) else { return };
        let Some((time_ms, number)) = known.finished.pop_first() else { return };
        if let Some(record) = self.records.remove(&number) {
            if let Some(digest) = record.digest {
                known.digests.remove(&digest);
            }
            self.changes.push((record_key(number), None));
        }
        let floor = known.raise_floor(time_ms);
        self.changes.push((device_key(b'f', device), Some(floor.to_be_bytes().to_vec())));
    }

    /// Raises the floor of each device to the newest time that is known of it.
    fn raise_floors(&mut self) {
        for (device, known) in &mut self.devices {
            let newest = known.finished.last().map(|(time_ms, _)| *time_ms);
            let covered = known.coverage.map(|coverage| coverage.until.as_millis());
            let Some(newest) = newest.max(covered) else { continue };
            let floor = known.raise_floor(newest);
            self.changes.push((device_key(b'f', *device), Some(floor.to_be_bytes().to_vec())));
        }
    }

    /// Reads one entry of the table. Returns `None` if it is damaged.
    fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (kind, rest) = key.split_first()?;
        if *kind == b'r' {
            let record = Record::decode(value)?;
            (rest == record.number.to_be_bytes()).then_some(())?;
            self.insert(record);
            return Some(());
        }
        let device = DeviceId::from(<[u8; 12]>::try_from(rest).ok()?);
        let known = self.devices.entry(device).or_default();
        match kind {
            b'f' => known.floor = Some(millis(value)?),
            b'h' => {
                let (since, until) = value.split_at_checked(8)?;
                let time = |bytes| millis(bytes).map(WallTime::from_millis);
                known.coverage = Some(Coverage { since: time(since)?, until: time(until)? });
            }
            _ => return None,
        }
        Some(())
    }
}

impl DeviceHistory {
    /// Returns whether there are more records than allowed, and one of them can be removed.
    fn is_over(&self, records_max: usize) -> bool {
        self.finished.len() + self.unfinished > records_max && !self.finished.is_empty()
    }

    /// Raises the floor to `time_ms` if it is lower. Returns the floor.
    fn raise_floor(&mut self, time_ms: i64) -> i64 {
        *self.floor.insert(self.floor.map_or(time_ms, |floor| floor.max(time_ms)))
    }
}

fn millis(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

fn record_key(number: u64) -> Vec<u8> {
    [b"r".as_slice(), &number.to_be_bytes()].concat()
}

fn device_key(kind: u8, device: DeviceId) -> Vec<u8> {
    [&[kind], device.as_bytes().as_slice()].concat()
}
