//! An outbox in a temporary directory, with states of devices in turn.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_model::{Account, DeviceId, Name, Priority, ReadingTime, WallTime};
use tidegate_outbox::{Commit, NewState, Options, Outbox};

use crate::plant;

/// The states in a commit.
pub(crate) const COMMIT_STATES: u64 = 100;

/// The most states and bytes of a read, as of a call to Losant.
const READ_STATES: usize = 500;
const READ_BYTES: usize = 1 << 20;

/// The states of a device that leave at once while others come. The same at any number of devices,
/// because a call has a cost of its own.
const FLOW_STATES: u64 = 20;

/// The time of the first state: 1 May 2026.
const START_MILLIS: i64 = 1_777_629_600_000;

/// The readings in a state.
const READINGS: u16 = 6;

/// The outbox, and how many states were appended.
pub(crate) struct Queue {
    outbox: Option<Outbox>,
    directory: TempDir,
    bus: Name,
    devices: u64,
    appended: u64,
}

impl Queue {
    /// Creates an empty outbox below a directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub(crate) fn create(parent: &Path, devices: u64) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir_in(parent)?;
        let outbox = Some(open(directory.path())?);
        Ok(Self { outbox, directory, bus: "plant".parse()?, devices, appended: 0 })
    }

    /// Closes the outbox and opens it again.
    pub(crate) fn reopen(&mut self) -> anyhow::Result<()> {
        self.outbox = None;
        self.outbox = Some(open(self.directory.path())?);
        Ok(())
    }

    /// Appends so many states, without a sync.
    pub(crate) fn append(&mut self, states: u64) -> anyhow::Result<()> {
        let end = self.appended + states;
        while self.appended < end {
            let count = COMMIT_STATES.min(end - self.appended);
            let commit = self.commit(count);
            self.outbox()?.append_unsynced(&commit)?;
            self.appended += count;
        }
        Ok(())
    }

    /// Reads at least so many of the oldest states, device after device.
    pub(crate) fn peek(&self, states: u64) -> anyhow::Result<()> {
        let mut read = 0;
        for number in (0..self.devices).cycle() {
            if read >= states {
                break;
            }
            let batch = self.outbox()?.peek(plant::device(number), 0, READ_STATES, READ_BYTES)?;
            anyhow::ensure!(!batch.is_empty(), "a queue is empty");
            read += u64::try_from(batch.len())?;
        }
        Ok(())
    }

    /// Reads and removes all states of the devices that changed.
    pub(crate) fn drain(&self) -> anyhow::Result<()> {
        let devices: Vec<DeviceId> =
            self.outbox()?.queue_changes(0).queues.iter().map(|queue| queue.device).collect();
        for device in devices {
            self.drain_device(device, READ_STATES)?;
        }
        Ok(())
    }

    /// Appends so many states, and reads and removes those of each device when it has 20 of them.
    pub(crate) fn flow(&mut self, states: u64) -> anyhow::Result<()> {
        let (end, mut version) = (self.appended + states, 0);
        while self.appended < end {
            self.append(COMMIT_STATES.min(end - self.appended))?;
            let changes = self.outbox()?.queue_changes(version);
            version = changes.version;
            for queue in changes.queues.iter().filter(|queue| queue.amount.states >= FLOW_STATES) {
                self.drain_device(queue.device, usize::try_from(FLOW_STATES)?)?;
            }
        }
        Ok(())
    }

    fn drain_device(&self, device: DeviceId, states: usize) -> anyhow::Result<()> {
        let outbox = self.outbox()?;
        while let batch = outbox.peek(device, 0, states, READ_BYTES)?
            && let (Some(first), Some(last)) = (batch.first(), batch.last())
        {
            outbox.ack(device, first.sequence, last.sequence)?;
        }
        Ok(())
    }

    /// Removes so many states, in ranges of up to [`READ_STATES`], without a read.
    pub(crate) fn acknowledge(&self, states: u64) -> anyhow::Result<()> {
        let step = u64::try_from(READ_STATES)?;
        let each = states / self.devices;
        for number in 0..self.devices {
            let device = plant::device(number);
            let Some(first) = self.outbox()?.peek(device, 0, 1, READ_BYTES)?.pop() else {
                continue;
            };
            let (first, end) = (first.sequence, first.sequence + each);
            for start in (first..end).step_by(READ_STATES) {
                self.outbox()?.ack(device, start, (start + step).min(end) - 1)?;
            }
        }
        Ok(())
    }

    fn outbox(&self) -> anyhow::Result<&Outbox> {
        self.outbox.as_ref().ok_or_else(|| anyhow::anyhow!("the outbox is closed"))
    }

    fn commit(&self, states: u64) -> Commit {
        let numbers = self.appended..self.appended + states;
        let readings = states * u64::from(READINGS);
        let account = Account { received: readings, outbox_in: readings, ..Account::default() };
        Commit {
            states: numbers.map(|number| self.state(number)).collect(),
            ledger: BTreeMap::from([(self.bus.clone(), account)]),
            ..Commit::default()
        }
    }

    fn state(&self, number: u64) -> NewState {
        let time = WallTime::from_millis(START_MILLIS).plus(Duration::from_secs(number));
        let json = format!(
            concat!(
                r#"{{"time":"{}","data":{{"battery":3.{:02},"humidity":{}.{},"pressure":1013.25,"#,
                r#""seq":{},"status":"sampled","temperature":{}.{:02}}}}}"#
            ),
            time,
            number * 3 % 70,
            30 + number % 50,
            number * 7 % 10,
            number,
            15 + number % 20,
            number * 37 % 100,
        );
        NewState {
            device: plant::device(number % self.devices),
            bus: self.bus.clone(),
            moment: ReadingTime::Wall(time),
            priority: Priority::default(),
            readings: READINGS,
            json: Bytes::from(json),
        }
    }
}

fn open(directory: &Path) -> Result<Outbox, tidegate_outbox::OpenError> {
    Outbox::open(directory, Options { bytes_max: 1 << 40, ..Options::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drain_leaves_no_state() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue = Queue::create(directory.path(), 5).unwrap();
        queue.append(300).unwrap();
        queue.peek(300).unwrap();
        queue.acknowledge(100).unwrap();
        assert_eq!(queue.outbox().unwrap().queue_sizes().total.states, 200);
        queue.reopen().unwrap();
        queue.drain().unwrap();
        assert!(queue.peek(1).is_err());
    }
}
