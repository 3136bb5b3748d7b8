//! Stores the boots that have readings without a time of day, and their anchors.
//!
//! An anchor is set once, so that a state that is sent twice has the same time. A boot without a
//! known time is placed between its neighbours: its last reading is placed [`RESTART`] before the
//! next boot began. Its first reading is placed after the states stored earlier, if there is room.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::millis;
use tidegate_model::{BootId, BootTime, WallTime};

/// The most boots that are stored. States of older boots get no time of day; they are set aside.
pub const BOOTS_MAX: usize = 256;

/// The assumed time from the end of one boot to the beginning of the next.
const RESTART: Duration = Duration::from_secs(10);

/// Describes one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The id of the boot.
    pub id: BootId,
    /// The number of the boot, in chronological order.
    pub number: u64,
    /// The uptime of its first reading without a time, in milliseconds.
    pub first_ms: i64,
    /// The uptime of its last reading without a time, in milliseconds.
    pub last_ms: i64,
    /// The latest time of the states stored before it, in milliseconds since the Unix epoch.
    pub floor_ms: i64,
    /// The time of day at its uptime 0, in milliseconds since the Unix epoch, once it is set.
    pub anchor_ms: Option<i64>,
}

impl Boot {
    /// Returns the boot time of its last reading.
    pub fn last(&self) -> BootTime {
        BootTime { boot: self.id, uptime_ms: u64::try_from(self.last_ms).unwrap_or_default() }
    }
}

/// Lists the records to write after [`Boots::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The boot, if its record changed.
    pub changed: Option<Boot>,
    /// The oldest boot, if its record must be removed.
    pub forgotten: Option<Boot>,
}

/// Holds the stored boots, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boots(Vec<Boot>);

impl Boots {
    /// Restores boots from their records, in any order.
    pub fn restored(mut boots: Vec<Boot>) -> Self {
        boots.sort_by_key(|boot| boot.number);
        Self(boots)
    }

    /// Returns a boot by its id.
    pub fn get(&self, id: BootId) -> Option<&Boot> {
        self.0.iter().find(|boot| boot.id == id)
    }

    /// Records a reading without a time of day.
    ///
    /// `floor` is the latest time of the states stored before this boot.
    pub fn record(&mut self, time: BootTime, floor: WallTime) -> Recorded {
        let id = time.boot;
        let uptime_ms = i64::try_from(time.uptime_ms).unwrap_or(i64::MAX / 2);
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

    /// Sets the anchor of each boot without one, and returns these boots.
    ///
    /// `anchor_ms` is the anchor of the boot `current`.
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
            // The previous boot ended before this boot began.
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
