//! The state of this computer: the tables `[bus.system.…]`.

use std::path::PathBuf;
use std::time::Duration;

use super::settings::{Settings, Table, Topics};
use super::values::{bounded, interval, texts};
use crate::check::Check;
use crate::table::{Flag, Span, Texts, table};

table!(Raw { interval: Span, disks: Texts, gateway: Flag });

/// The state of this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemBus {
    /// The time between two messages.
    pub interval: Duration,
    /// Mount points, or paths below them, whose space is reported.
    pub disks: Vec<PathBuf>,
    /// Whether the health of the gateway is reported, too.
    pub gateway: bool,
}

impl Settings for SystemBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::None;

    fn resolve(table: &Table<'_>, raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let disks = raw.disks.map_or_else(|| vec!["/".to_owned()], |disks| texts(Some(disks)));
        bounded(&format!("{key}.disks"), &disks, check);
        SystemBus {
            interval: interval(
                &format!("{key}.interval"),
                raw.interval,
                Duration::from_secs(60),
                check,
            ),
            disks: disks.iter().map(PathBuf::from).collect(),
            gateway: check.or_default(&format!("{key}.gateway"), raw.gateway, true),
        }
    }
}
