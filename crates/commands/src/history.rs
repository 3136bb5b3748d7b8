//! The history of commands: what came, what became of it, and therefore what must not run again.
//!
//! It is kept in memory and mirrored to a durable table: each change of it leaves the changes of the table in
//! [`History::take_changes`], and whoever runs a command writes these first.
//!
//! Invariants:
//! - a command that was recorded is known for ever: either by its record, or because it is not newer than the *floor*, the
//!   time of the newest record that was given up. So forgetting can refuse a command, but never repeat one;
//! - a record that has no result yet is not given up, so what became of a command is always told;
//! - there is a bounded number of records for each device, if whoever begins one asks first whether there is room;
//! - a record that was started and has no result, when the table is read, was interrupted.

mod record;

use std::collections::{BTreeMap, BTreeSet};

pub use record::{AHEAD_MAX, Digest, Record, digest};

use record::MESSAGE_CHARS_MAX;
use tidegate_model::{CommandResult, DeviceId, ReadingTime, WallTime};

/// The name of the durable table.
pub const TABLE: &str = "commands";

/// The most records in all; more would not fit into a table of notes.
const RECORDS_MAX: usize = 8_192;

/// The most and the fewest records of one device.
const LANE_RECORDS: (usize, usize) = (64, 1_024);

/// The format of the table.
const VERSION: &[u8] = &[1];

/// One change of the durable table: a key with its new value, or with none to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// Whether a command came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It did not.
    No,
    /// It did.
    Yes,
    /// It is as old as what has been given up, so nobody can tell.
    Forgotten,
}

/// What became of a command.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// In one word.
    pub result: CommandResult,
    /// The reason, or what the actuator said.
    pub message: &'a str,
    /// How long the actuator took.
    pub duration_ms: Option<u64>,
}

/// What is known of the commands that a device was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When its stream was opened for the first time: nothing older is asked for.
    pub first: WallTime,
    /// Until when nothing was missed.
    pub until: WallTime,
}

/// The table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history of commands was written by a newer tidegate; install that again")]
pub struct NewerHistory;

/// The history.
#[derive(Debug, Default)]
pub struct History {
    lanes: BTreeMap<DeviceId, Lane>,
    records: BTreeMap<u64, Record>,
    lane_records_max: usize,
    last: u64,
    changes: Vec<Change>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Time and number of each record that has a result, oldest first.
    order: BTreeSet<(i64, u64)>,
    /// How many have none yet.
    open: usize,
    digests: BTreeSet<Digest>,
    floor: Option<i64>,
    heard: Option<Heard>,
}

impl History {
    /// Reads the table. What was started and has no result is interrupted now, at `now`.
    ///
    /// A record that cannot be read may have been of any command, so then nothing that is as old as the newest record runs.
    ///
    /// # Errors
    /// When a newer tidegate wrote it.
    pub fn load(
        table: &[(Vec<u8>, Vec<u8>)],
        devices: usize,
        now: ReadingTime,
    ) -> Result<Self, NewerHistory> {
        let mut history = Self::default();
        history.share(devices);
        let mut is_damaged = false;
        match table.iter().find(|(key, _)| key == b"v") {
            Some((_, version)) if version != VERSION => return Err(NewerHistory),
            Some(_) => {}
            None => history.changes.push((b"v".to_vec(), Some(VERSION.to_vec()))),
        }
        for (key, value) in table.iter().filter(|(key, _)| key != b"v") {
            is_damaged |= history.read(key, value).is_none();
        }
        let is_open = |record: &&Record| record.result == CommandResult::Started;
        let open: Vec<u64> =
            history.records.values().filter(is_open).map(|record| record.number).collect();
        for number in open {
            let message = "tidegate ended before it knew the outcome";
            let result = CommandResult::Interrupted;
            history.finish(number, Ending { result, message, duration_ms: None }, now);
        }
        if is_damaged {
            history.raise_floors();
        }
        Ok(history)
    }

    /// Shares the room among so many devices. A lane that has more now gives it up with its next record.
    pub fn share(&mut self, devices: usize) {
        let (least, most) = LANE_RECORDS;
        self.lane_records_max = (RECORDS_MAX / devices.max(1)).clamp(least, most);
    }

    /// Whether a command with this time and digest came to a device before.
    pub fn knows(&self, device: DeviceId, time: Option<WallTime>, digest: Option<Digest>) -> Known {
        let Some(lane) = self.lanes.get(&device) else { return Known::No };
        if digest.is_some_and(|digest| lane.digests.contains(&digest)) {
            Known::Yes
        } else if time.is_some_and(|time| lane.floor.is_some_and(|floor| time.as_millis() <= floor))
        {
            Known::Forgotten
        } else {
            Known::No
        }
    }

    /// Whether one more command of a device may begin that is not given its result at once.
    pub fn has_room(&self, device: DeviceId) -> bool {
        self.lanes.get(&device).is_none_or(|lane| lane.open < self.lane_records_max)
    }

    /// Records a command and gives it a number. The oldest record of the device that has a result makes room, if there are too
    /// many.
    pub fn begin(&mut self, mut record: Record) -> u64 {
        self.last += 1;
        record.number = self.last;
        let device = record.device;
        self.write(&record);
        self.insert(record);
        let records_max = self.lane_records_max;
        while self.lanes.get(&device).is_some_and(|lane| lane.is_over(records_max)) {
            self.forget_oldest(device);
        }
        self.last
    }

    /// Notes what became of a command. Nothing, if its record has been given up meanwhile.
    pub fn finish(&mut self, number: u64, ending: Ending<'_>, now: ReadingTime) {
        let Some(record) = self.records.get_mut(&number) else { return };
        let lane = self.lanes.entry(record.device).or_default();
        if record.result == CommandResult::Started {
            lane.open = lane.open.saturating_sub(1);
            lane.order.insert((record.order_ms(), number));
        }
        record.result = ending.result;
        record.message = ending.message.chars().take(MESSAGE_CHARS_MAX).collect();
        record.duration_ms = ending.duration_ms;
        record.finished = Some(now);
        self.changes.push((record_key(number), Some(record.encode())));
    }

    /// Notes that the result is on its way to the cloud and cannot be lost any more.
    pub fn tell(&mut self, number: u64) {
        let Some(record) = self.records.get_mut(&number) else { return };
        record.is_told = true;
        self.changes.push((record_key(number), Some(record.encode())));
    }

    /// Notes that nothing was missed on the stream of a device until then.
    pub fn hear(&mut self, device: DeviceId, until: WallTime) {
        let lane = self.lanes.entry(device).or_default();
        let heard = lane.heard.get_or_insert(Heard { first: until, until });
        heard.until = heard.until.max(until);
        let times = [heard.first.as_millis().to_be_bytes(), heard.until.as_millis().to_be_bytes()];
        self.changes.push((lane_key(b'h', device), Some(times.concat())));
    }

    /// Until when nothing was missed; `None` before the first stream.
    pub fn heard(&self, device: DeviceId) -> Option<Heard> {
        self.lanes.get(&device)?.heard
    }

    /// One record.
    pub fn record(&self, number: u64) -> Option<&Record> {
        self.records.get(&number)
    }

    /// All records, oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.values()
    }

    /// The changes since the last time. What they record must not be acted on before they are on the disk.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Takes back changes that could not be written: they come first the next time.
    pub fn put_back(&mut self, mut changes: Vec<Change>) {
        changes.append(&mut self.changes);
        self.changes = changes;
    }

    fn write(&mut self, record: &Record) {
        self.changes.push((record_key(record.number), Some(record.encode())));
    }

    fn insert(&mut self, record: Record) {
        let lane = self.lanes.entry(record.device).or_default();
        if record.result == CommandResult::Started {
            lane.open += 1;
        } else {
            lane.order.insert((record.order_ms(), record.number));
        }
        lane.digests.extend(record.digest);
        self.last = self.last.max(record.number);
        self.records.insert(record.number, record);
    }

    /// Gives up the record that has a result and the oldest time, and raises the floor to that.
    fn forget_oldest(&mut self, device: DeviceId) {
        let Some(lane) = self.lanes.get_mut(&device) else { return };
        let Some((time_ms, number)) = lane.order.pop_first() else { return };
        if let Some(record) = self.records.remove(&number) {
            if let Some(digest) = record.digest {
                lane.digests.remove(&digest);
            }
            self.changes.push((record_key(number), None));
        }
        lane.raise_floor(time_ms);
        let floor = lane.floor.unwrap_or(time_ms).to_be_bytes().to_vec();
        self.changes.push((lane_key(b'f', device), Some(floor)));
    }

    fn raise_floors(&mut self) {
        for (device, lane) in &mut self.lanes {
            let newest = lane.order.last().map(|(time_ms, _)| *time_ms);
            let newest = newest.max(lane.heard.map(|heard| heard.until.as_millis()));
            let Some(newest) = newest else { continue };
            lane.raise_floor(newest);
            let floor = lane.floor.unwrap_or(newest).to_be_bytes().to_vec();
            self.changes.push((lane_key(b'f', *device), Some(floor)));
        }
    }

    /// Takes one entry of the table. `None` if it cannot be understood.
    fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (kind, rest) = key.split_first()?;
        if *kind == b'r' {
            let record = Record::decode(value)?;
            (rest == record.number.to_be_bytes()).then_some(())?;
            self.insert(record);
            return Some(());
        }
        let device = DeviceId::from(<[u8; 12]>::try_from(rest).ok()?);
        let lane = self.lanes.entry(device).or_default();
        match kind {
            b'f' => lane.floor = Some(millis(value)?),
            b'h' => {
                let (first, until) = value.split_at_checked(8)?;
                let (first, until) = (millis(first)?, millis(until)?);
                let (first, until) = (WallTime::from_millis(first), WallTime::from_millis(until));
                lane.heard = Some(Heard { first, until });
            }
            _ => return None,
        }
        Some(())
    }
}

impl Lane {
    /// Whether it has more records than it may have, and one that can be given up.
    fn is_over(&self, records_max: usize) -> bool {
        self.order.len() + self.open > records_max && !self.order.is_empty()
    }

    fn raise_floor(&mut self, time_ms: i64) {
        self.floor = Some(self.floor.map_or(time_ms, |floor| floor.max(time_ms)));
    }
}

fn millis(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

fn record_key(number: u64) -> Vec<u8> {
    [b"r".as_slice(), &number.to_be_bytes()].concat()
}

fn lane_key(kind: u8, device: DeviceId) -> Vec<u8> {
    [&[kind], device.as_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests;
