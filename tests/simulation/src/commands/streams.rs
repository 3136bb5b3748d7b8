//! A cloud that keeps a history of commands, and delivers them to open streams with faults.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tidegate_commands::gap_tracker::PageRequest;
use tidegate_model::{Command, DeviceId, WallTime};

use super::chance;

/// The most commands in a page. Larger requests fail, so that a gap needs several.
const PAGE_MAX: usize = 10;

/// The longest delay of a command on a stream. The daemon reads the history 30 s around a gap.
const DELAY_MAX_MS: i64 = 20_000;

/// Time between two keep-alive events of a stream.
const KEEP_ALIVE_MS: i64 = 2_000;

#[derive(Debug, Default)]
pub(super) struct Cloud {
    pub(super) is_offline: bool,
    sent: Vec<Command>,
    streams: BTreeMap<DeviceId, Stream>,
}

/// An open stream.
#[derive(Debug)]
struct Stream {
    /// Commands with the times of their delivery.
    deliveries: Vec<(i64, Command)>,
    alive_ms: i64,
}

impl Cloud {
    /// Sends a command of an application.
    pub(super) fn send(&mut self, command: Command, rng: &mut StdRng) {
        let time_ms = command.time.unwrap().as_millis();
        if let Some(stream) = self.streams.get_mut(&command.device) {
            let delay = if chance(rng, 0.1) { rng.random_range(0..DELAY_MAX_MS) } else { 0 };
            stream.deliveries.push((time_ms + delay, command.clone()));
            if chance(rng, 0.1) {
                let again = delay + rng.random_range(0..120_000);
                stream.deliveries.push((time_ms + again, command.clone()));
            }
        }
        self.sent.push(command);
    }

    /// Returns all commands that were sent.
    pub(super) fn sent(&self) -> &[Command] {
        &self.sent
    }

    /// Opens a stream unless the cloud is offline. Sometimes it repeats earlier commands.
    pub(super) fn open(
        &mut self,
        device: DeviceId,
        now_ms: i64,
        since: Option<WallTime>,
        rng: &mut StdRng,
    ) -> Option<WallTime> {
        if self.is_offline || chance(rng, 0.3) {
            return None;
        }
        let is_old = |command: &&Command| {
            command.device == device && since.is_some_and(|since| command.time >= Some(since))
        };
        let again = if chance(rng, 0.2) { 5 } else { 0 };
        let replayed = self.sent.iter().rev().filter(is_old).take(again);
        let deliveries = replayed.map(|command| (now_ms + 500, command.clone())).collect();
        self.streams.insert(device, Stream { deliveries, alive_ms: now_ms });
        Some(WallTime::from_millis(now_ms / 1_000 * 1_000))
    }

    /// Returns the commands that a stream has delivered, or `None` if it is cut.
    pub(super) fn deliver(&mut self, device: DeviceId, now_ms: i64) -> Option<Vec<Command>> {
        if self.is_offline {
            self.streams.remove(&device);
        }
        let stream = self.streams.get_mut(&device)?;
        let (due, later): (Vec<_>, Vec<_>) =
            stream.deliveries.drain(..).partition(|(at, _)| *at <= now_ms);
        stream.deliveries = later;
        if !due.is_empty() || now_ms - stream.alive_ms >= KEEP_ALIVE_MS {
            stream.alive_ms = now_ms;
        }
        Some(due.into_iter().map(|(_, command)| command).collect())
    }

    /// Returns when a stream delivered its last event.
    pub(super) fn last_event(&self, device: DeviceId) -> Option<WallTime> {
        Some(WallTime::from_millis(self.streams.get(&device)?.alive_ms))
    }

    /// Returns a page of the history unless the answer is lost.
    pub(super) fn page(
        &self,
        device: DeviceId,
        gap: PageRequest,
        rng: &mut StdRng,
    ) -> Option<Vec<Command>> {
        if self.is_offline || chance(rng, 0.2) {
            return None;
        }
        let (start, end) = (Some(gap.start), Some(gap.end));
        let is_requested = |command: &&Command| {
            command.device == device && command.time >= start && command.time <= end
        };
        let page: Vec<_> =
            self.sent.iter().filter(is_requested).take(gap.limit as usize).cloned().collect();
        (page.len() <= PAGE_MAX).then_some(page)
    }

    /// Cuts a stream. Its undelivered commands are lost.
    pub(super) fn cut(&mut self, device: DeviceId) {
        self.streams.remove(&device);
    }

    /// Closes all streams, because the daemon was killed.
    pub(super) fn hang_up(&mut self) {
        self.streams.clear();
    }
}
