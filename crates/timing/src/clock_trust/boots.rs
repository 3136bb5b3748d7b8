//! The boots in which readings were taken without knowing the time, and the anchors that they got when it was known.
//!
//! An anchor is pinned once, so that a state that is sent twice has the same time. A boot that ended before the time was
//! known is put between its neighbours: it ended before the next boot began, so its last reading is placed [`RESTART`]
//! before that, but nothing of it is placed before what was stored earlier, as far as there is room.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::millis;
use tidegate_model::{BootId, BootTime, WallTime};

/// How many boots are remembered. States of an older one, whose time can no longer be told, are set aside.
pub const BOOTS_MAX: usize = 256;

/// How long a computer takes from the end of one boot to the beginning of the next, about.
const RESTART: Duration = Duration::from_secs(10);

/// What is known of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Which one.
    pub id: BootId,
    /// The boots are numbered as they came.
    pub number: u64,
    /// The uptime of its first reading without a time, in milliseconds.
    pub first_ms: i64,
    /// The uptime of its last reading without a time.
    pub last_ms: i64,
    /// The latest time of what was stored before it, in milliseconds since the Unix epoch.
    pub floor_ms: i64,
    /// The time of day at its uptime 0, once it is pinned.
    pub anchor_ms: Option<i64>,
}

impl Boot {
    /// Returns the boot time of its last reading.
    pub fn last(&self) -> BootTime {
        BootTime { boot: self.id, uptime_ms: u64::try_from(self.last_ms).unwrap_or_default() }
    }
}

/// The records to write after [`Boots::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The boot, if its record changed.
    pub changed: Option<Boot>,
    /// The oldest boot, if its record must be removed.
    pub forgotten: Option<Boot>,
}

/// The boots that are remembered, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boots(Vec<Boot>);

impl Boots {
    /// The boots that were remembered before, in any order.
    pub fn restored(mut boots: Vec<Boot>) -> Self {
        boots.sort_by_key(|boot| boot.number);
        Self(boots)
    }

    /// What is known of a boot.
    pub fn get(&self, id: BootId) -> Option<&Boot> {
        self.0.iter().find(|boot| boot.id == id)
    }

    /// Notes a reading without a time. `floor` is the latest time of what was stored before this boot.
    ///
    /// Returns the boot if there is something new about it, and one that had to go for it.
    pub fn record(
        &mut self,
        BootTime { boot: id, uptime_ms }: BootTime,
        floor: WallTime,
    ) -> Recorded {
        let uptime_ms = i64::try_from(uptime_ms).unwrap_or(i64::MAX / 2);
        if let Some(boot) = self.0.iter_mut().find(|boot| boot.id == id) {
            let is_new = uptime_ms > boot.last_ms;
            boot.last_ms = boot.last_ms.max(uptime_ms);
            return Recorded { changed: is_new.then_some(*boot), forgotten: None };
        }
        let number = self.0.last().map_or(1, |boot| boot.number + 1);
        let (floor_ms, anchor_ms) = (floor.as_millis(), None);
        let boot =
            Boot { id, number, first_ms: uptime_ms, last_ms: uptime_ms, floor_ms, anchor_ms };
        self.0.push(boot);
        let forgotten = (self.0.len() > BOOTS_MAX).then(|| self.0.remove(0));
        Recorded { changed: Some(boot), forgotten }
    }

    /// The time is known: gives each boot that has none its anchor. Returns those.
    pub fn pin(&mut self, current: BootId, anchor_ms: i64) -> Vec<Boot> {
        let mut pinned = Vec::new();
        let mut next_ms = anchor_ms;
        for boot in self.0.iter_mut().rev() {
            if boot.anchor_ms.is_none() {
                boot.anchor_ms = Some(if boot.id == current {
                    anchor_ms
                } else {
                    let latest_ms = next_ms - boot.last_ms;
                    let earliest_ms = boot.floor_ms + 1 - boot.first_ms;
                    (latest_ms - millis(RESTART)).max(earliest_ms.min(latest_ms))
                });
                pinned.push(*boot);
            }
            // A boot before this one ended before it began.
            next_ms = boot.anchor_ms.unwrap_or(next_ms).min(next_ms);
        }
        pinned
    }

    /// Returns the time of day of a boot time; `None` before the boot has its anchor.
    pub fn wall_time(&self, time: BootTime) -> Option<WallTime> {
        let anchor_ms = self.get(time.boot)?.anchor_ms?;
        Some(WallTime::from_millis(anchor_ms).plus(time.uptime()))
    }
}
