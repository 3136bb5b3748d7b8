//! The states of one call: read from the outbox, with a time, and none that Losant would ignore.

use bytes::Bytes;
use tracing::warn;

use crate::clock::Clock;
use crate::logic::clock_trust::{Boots, is_taken};
use crate::logic::reporter::Call;
use crate::model::{Moment, Timestamp};
use crate::outbox::{Entry, Error, Outbox};

/// States that are set aside for one call; more wait for the next.
const REFUSED_MAX: usize = 100;

/// States of one device, in order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Their JSON, as it is sent.
    pub(super) states: Vec<Bytes>,
}

impl Batch {
    /// Reads the states of a call. Those at its beginning that Losant would silently ignore are moved to the rejects; one
    /// that is further on ends the batch.
    pub(super) fn load(
        outbox: &Outbox,
        call: &Call,
        bytes_max: usize,
        (boots, clock): (&Boots, &dyn Clock),
    ) -> Result<Self, Error> {
        let now = clock.now();
        let mut batch = Self::default();
        for _ in 0..REFUSED_MAX {
            let mut refused = None;
            let found = outbox.peek(call.device, call.after, call.states_max, bytes_max)?;
            for entry in found.into_iter().filter(|entry| entry.sequence <= call.through) {
                let time = time(&entry, boots);
                let Some(time) = time.filter(|time| is_taken(*time, now)) else {
                    refused = Some((entry.sequence, why(time, now)));
                    break;
                };
                batch.states.push(json(&entry, time));
                batch.entries.push(entry);
            }
            let Some((sequence, why)) = refused.filter(|_| batch.entries.is_empty()) else { break };
            warn!(device_id = %call.device, why, "a state would be ignored; it is among the rejects");
            outbox.quarantine(call.device, sequence, &why, now)?;
        }
        Ok(batch)
    }

    pub(super) fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.sequence)
    }
}

fn time(entry: &Entry, boots: &Boots) -> Option<Timestamp> {
    match entry.moment {
        Moment::Wall(time) => Some(time),
        Moment::Boot { boot, uptime_ms } => boots.time(boot, uptime_ms),
    }
}

fn json(entry: &Entry, time: Timestamp) -> Bytes {
    match entry.moment {
        Moment::Wall(_) => entry.json.clone(),
        Moment::Boot { .. } => {
            let data = String::from_utf8_lossy(&entry.json);
            Bytes::from(format!("{{\"time\":\"{time}\",\"data\":{data}}}"))
        }
    }
}

fn why(time: Option<Timestamp>, now: Timestamp) -> String {
    match time {
        Some(time) => format!(
            "its time {time} is too far from {now}: Losant ignores what is older than 30 days or a day ahead"
        ),
        None => "it was measured in a boot whose time can no longer be told".to_owned(),
    }
}
