//! When something was measured, also where nobody knew the time.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// One run of the kernel: its boot id (`/proc/sys/kernel/random/boot_id`, a UUID) as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub u128);

/// When a state was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The wall clock said so, and was trusted.
    Wall(Timestamp),
    /// The clock was not known to be right.
    Boot {
        /// In which run of the kernel.
        boot: BootId,
        /// Milliseconds after it began, time asleep included.
        uptime_ms: u64,
    },
}

impl Moment {
    /// The time of day, if it is known.
    pub fn wall(self) -> Option<Timestamp> {
        match self {
            Self::Wall(time) => Some(time),
            Self::Boot { .. } => None,
        }
    }
}
