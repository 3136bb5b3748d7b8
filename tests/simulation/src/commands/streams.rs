//! The cloud of commands: it keeps a history, and delivers to the streams that are open, badly.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tidegate_commands::gap_tracker::Gap;
use tidegate_model::{Command, DeviceId, WallTime};

use super::chance;

/// A longer page of the history is not carried: so that gaps take several.
const PAGE_MAX: usize = 10;

/// The longest that a command is under way on a stream. The daemon reads 30 s around a gap.
const DELAY_MAX_MS: i64 = 20_000;

/// How often a stream says that it is there.
const KEEP_ALIVE_MS: i64 = 2_000;

#[derive(Debug, Default)]
pub(super) struct Cloud {
    /// Nobody reaches it.
    pub(super) is_away: bool,
    sent: Vec<Command>,
    streams: BTreeMap<DeviceId, Stream>,
}

/// One open stream.
#[derive(Debug)]
struct Stream {
    /// When what is delivered.
    under_way: Vec<(i64, Command)>,
    heard_ms: i64,
}

impl Cloud {
    /// An application commands.
    pub(super) fn send(&mut self, command: Command, rng: &mut StdRng) {
        let time_ms = command.time.unwrap().as_millis();
        if let Some(stream) = self.streams.get_mut(&command.device) {
            let delay = if chance(rng, 0.1) { rng.random_range(0..DELAY_MAX_MS) } else { 0 };
            stream.under_way.push((time_ms + delay, command.clone()));
            if chance(rng, 0.1) {
                let again = delay + rng.random_range(0..120_000);
                stream.under_way.push((time_ms + again, command.clone()));
            }
        }
        self.sent.push(command);
    }

    /// All that was sent.
    pub(super) fn sent(&self) -> &[Command] {
        &self.sent
    }

    /// Opens a stream, if the cloud can be reached. At times it begins with what was delivered before.
    pub(super) fn open(
        &mut self,
        device: DeviceId,
        now_ms: i64,
        since: Option<WallTime>,
        rng: &mut StdRng,
    ) -> Option<WallTime> {
        if self.is_away || chance(rng, 0.3) {
            return None;
        }
        let is_old = |command: &&Command| {
            command.device == device && since.is_some_and(|since| command.time >= Some(since))
        };
        let again = if chance(rng, 0.2) { 5 } else { 0 };
        let replayed = self.sent.iter().rev().filter(is_old).take(again);
        let under_way = replayed.map(|command| (now_ms + 500, command.clone())).collect();
        self.streams.insert(device, Stream { under_way, heard_ms: now_ms });
        Some(WallTime::from_millis(now_ms / 1_000 * 1_000))
    }

    /// What a stream has delivered until now; `None` if it is cut.
    pub(super) fn deliver(&mut self, device: DeviceId, now_ms: i64) -> Option<Vec<Command>> {
        if self.is_away {
            self.streams.remove(&device);
        }
        let stream = self.streams.get_mut(&device)?;
        let (due, later): (Vec<_>, Vec<_>) =
            stream.under_way.drain(..).partition(|(at, _)| *at <= now_ms);
        stream.under_way = later;
        if !due.is_empty() || now_ms - stream.heard_ms >= KEEP_ALIVE_MS {
            stream.heard_ms = now_ms;
        }
        Some(due.into_iter().map(|(_, command)| command).collect())
    }

    /// The last sign of life of a stream.
    pub(super) fn heard(&self, device: DeviceId) -> Option<WallTime> {
        Some(WallTime::from_millis(self.streams.get(&device)?.heard_ms))
    }

    /// A page of the history, unless the answer is lost.
    pub(super) fn page(
        &self,
        device: DeviceId,
        gap: Gap,
        rng: &mut StdRng,
    ) -> Option<Vec<Command>> {
        if self.is_away || chance(rng, 0.2) {
            return None;
        }
        let (start, end) = (Some(gap.start), Some(gap.end));
        let is_asked = |command: &&Command| {
            command.device == device && command.time >= start && command.time <= end
        };
        let page: Vec<_> =
            self.sent.iter().filter(is_asked).take(gap.limit as usize).cloned().collect();
        (page.len() <= PAGE_MAX).then_some(page)
    }

    /// A stream breaks, and what was under way on it is lost.
    pub(super) fn cut(&mut self, device: DeviceId) {
        self.streams.remove(&device);
    }

    /// The daemon is gone.
    pub(super) fn hang_up(&mut self) {
        self.streams.clear();
    }
}
