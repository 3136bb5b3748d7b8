//! Reads the states of one call from the outbox, and rejects those that Losant would ignore.

use bytes::Bytes;
use tracing::warn;

use tidegate_delivery::batch_body;
use tidegate_delivery::reporter::{Call, Lane, Limits};
use tidegate_model::{ReadingTime, WallTime};
use tidegate_outbox::{Error, Outbox, QueuedState};
use tidegate_runtime::clock::Clock;
use tidegate_timing::clock_trust::{Boots, is_taken};

/// The most states that are moved to the rejects for one call. The next call continues.
const REFUSED_MAX: usize = 100;

/// The states of one call, in order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<QueuedState>,
    /// The elements of the body.
    pub(super) states: Vec<Bytes>,
}

/// Determines the time of each state.
#[derive(Clone, Copy)]
pub(super) struct Times<'a> {
    /// The boots, for states without a time of day.
    pub(super) boots: &'a Boots,
    /// The current time of day.
    pub(super) clock: &'a dyn Clock,
}

impl Batch {
    /// Reads the states of a call.
    ///
    /// Moves states at the start of the range that Losant would silently ignore to the rejects. One
    /// further on ends the batch. The batch is empty while the time of day is unknown.
    pub(super) fn load(
        outbox: &Outbox,
        call: &Call,
        limits: &Limits,
        times: &Times<'_>,
    ) -> Result<Self, Error> {
        let (mut batch, mut states) = (Self::default(), Vec::new());
        // The clock can lose its time of day. The states then wait until it is known again.
        let Some(now) = times.clock.wall_time() else { return Ok(batch) };
        for _ in 0..REFUSED_MAX {
            let mut refused = None;
            let found =
                outbox.peek(call.device, call.after, call.states_max, limits.batch_bytes_max)?;
            for entry in found.into_iter().filter(|entry| entry.sequence <= call.through) {
                let time = time(&entry, times.boots);
                let Some(time) = time.filter(|time| is_taken(*time, now)) else {
                    refused = Some((entry.sequence, why(time, now)));
                    break;
                };
                states.push((time, json(&entry, time)));
                batch.entries.push(entry);
            }
            let Some((sequence, why)) = refused.filter(|_| batch.entries.is_empty()) else { break };
            warn!(device_id = %call.device, why, "Losant would ignore this state; moved to the \
                rejects");
            outbox.quarantine(call.device, sequence, &why, now)?;
        }
        let is_backfill = limits.backfill_meta && call.lane == Lane::Backlog;
        batch.states = batch_body::elements(&states, is_backfill);
        Ok(batch)
    }

    pub(super) fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.sequence)
    }
}

fn time(entry: &QueuedState, boots: &Boots) -> Option<WallTime> {
    match entry.moment {
        ReadingTime::Wall(time) => Some(time),
        ReadingTime::Boot(time) => boots.wall_time(time),
    }
}

fn json(entry: &QueuedState, time: WallTime) -> Bytes {
    match entry.moment {
        ReadingTime::Wall(_) => entry.json.clone(),
        ReadingTime::Boot(_) => {
            let data = String::from_utf8_lossy(&entry.json);
            Bytes::from(format!("{{\"time\":\"{time}\",\"data\":{data}}}"))
        }
    }
}

fn why(time: Option<WallTime>, now: WallTime) -> String {
    match time {
        Some(time) => format!(
            "its time {time} is too far from {now}: Losant ignores states older than 30 days or \
             more than a day ahead"
        ),
        None => "its boot has no known time of day".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use tidegate_delivery::reporter::{Reporter, Waiting};
    use tidegate_delivery::throttle::Throttle;
    use tidegate_model::{Account, BootId, BootTime, DeviceId, Priority, Reason};
    use tidegate_outbox::{Commit, NewState, Options};
    use tidegate_timing::machine::Machine as _;

    const NOW_MS: i64 = 1_777_629_600_000;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> ReadingTime {
            WallTime::from_millis(NOW_MS).into()
        }
    }

    fn device() -> DeviceId {
        DeviceId::from([1; 12])
    }

    fn outbox(directory: &std::path::Path, moments: &[ReadingTime]) -> Outbox {
        let options = Options { bytes_max: 1 << 20, ..Options::default() };
        let outbox = Outbox::open(directory, options).unwrap();
        let pending = |moment: &ReadingTime| NewState {
            device: device(),
            bus: "probe".parse().unwrap(),
            moment: *moment,
            priority: Priority::default(),
            readings: 1,
            json: Bytes::from_static(b"{\"n\":1}"),
        };
        let states: Vec<_> = moments.iter().map(pending).collect();
        let readings = states.len() as u64;
        let account = Account { received: readings, outbox_in: readings, ..Account::default() };
        let ledger = [("probe".parse().unwrap(), account)].into();
        outbox.append(&Commit { states, ledger, ..Commit::default() }).unwrap();
        outbox
    }

    fn limits() -> Limits {
        Limits {
            batch_states_max: 100,
            batch_bytes_max: 100_000,
            batch_age_max: Duration::ZERO,
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(1),
            ..Limits::default()
        }
    }

    /// Returns a call of the backlog.
    fn call(outbox: &Outbox) -> Call {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        let now = Instant::now();
        let mut machine = Reporter::new(limits(), tidegate_runtime::random::seeded(), now);
        let waiting = Waiting { states: 9, bytes: 9, last: outbox.backlog().last[&device()] };
        machine.resume(device(), waiting, Throttle::default());
        machine.poll_action().unwrap()
    }

    fn wall(days: i64) -> ReadingTime {
        ReadingTime::Wall(WallTime::from_millis(NOW_MS + days * 86_400_000))
    }

    #[test]
    fn rejects_states_with_refused_times_and_sends_the_rest() {
        let directory = tempfile::TempDir::new().unwrap();
        let outbox = outbox(directory.path(), &[wall(-31), wall(2), wall(-1), wall(0), wall(-40)]);
        let (call, boots) = (call(&outbox), Boots::default());
        let load = || {
            Batch::load(&outbox, &call, &limits(), &Times { boots: &boots, clock: &Fixed }).unwrap()
        };
        let batch = load();
        let sequences: Vec<_> = batch.entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, [3, 4]);
        outbox.ack(device(), 3, 4).unwrap();
        assert!(load().entries.is_empty());
        let rejects = outbox.rejects(10).unwrap();
        assert_eq!(rejects.len(), 3);
        assert!(rejects.iter().all(|reject| reject.reason == Reason::TimeRefused));
        assert_eq!(outbox.backlog().total.states, 0);
    }

    #[test]
    fn state_of_a_boot_gets_the_same_time_on_each_load() {
        let directory = tempfile::TempDir::new().unwrap();
        let boot = BootId(7);
        let time = BootTime { boot, uptime_ms: 61_500 };
        let outbox = outbox(directory.path(), &[time.into()]);
        let mut boots = Boots::default();
        boots.record(time, WallTime::EPOCH);
        boots.pin(boot, NOW_MS - 3_600_000);
        let load = || {
            Batch::load(&outbox, &call(&outbox), &limits(), &Times { boots: &boots, clock: &Fixed })
                .unwrap()
        };
        let expected = br#"{"time":"2026-05-01T09:01:01.500Z","data":{"n":1}}"#;
        assert_eq!(load().states, [Bytes::from_static(expected)]);
        assert_eq!(load().states, load().states);
    }
}
