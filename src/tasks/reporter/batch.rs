//! Reads the states of one call from the outbox, and rejects those that Losant would ignore.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use tracing::{debug, warn};

use crate::declarations::Declaration;
use tidegate_delivery::batch_body;
use tidegate_delivery::declared_fit::{FittedState, fit_state};
use tidegate_delivery::reporter::{Call, Lane, Limits};
use tidegate_delivery::response::CallOutcome;
use tidegate_model::{ReadingTime, Reason, WallTime};
use tidegate_outbox::{Error, IgnoredValues, Outbox, QueuedState, Refusal};
use tidegate_runtime::clock::Clock;
use tidegate_timing::clock_trust::{Boots, is_taken};

/// The most states that are moved to the rejects for one call. The next call continues.
const REFUSED_MAX: usize = 100;

/// The states of one call, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    /// The number of states.
    pub(super) states: usize,
    /// The sequence number of the first state.
    pub(super) first: u64,
    /// The sequence number of the last state.
    pub(super) last: u64,
    /// The readings in the states.
    pub(super) readings: u64,
    /// The body of the call. A copy shares its bytes.
    pub(super) body: Bytes,
    /// The ends of the elements in the body.
    ends: Vec<u32>,
    /// The earliest and the latest time of the states; `None` without states.
    times: Option<(WallTime, WallTime)>,
    /// The values that are not sent because Losant would ignore them.
    pub(super) ignored: IgnoredValues,
    /// Why the call cannot be made.
    pub(super) failure: Option<CallOutcome>,
}

/// What the states are checked against.
#[derive(Clone, Copy)]
pub(super) struct Checks<'a> {
    /// The boots, for states without a time of day.
    pub(super) boots: &'a Boots,
    /// The current time of day.
    pub(super) clock: &'a dyn Clock,
    /// The attributes of the device, if they are known.
    pub(super) declaration: Option<&'a Declaration>,
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
        checks: &Checks<'_>,
    ) -> Result<Self, Error> {
        let (mut batch, mut states) = (Self::default(), Vec::new());
        let Some(now) = checks.now() else { return Ok(batch) };
        for _ in 0..REFUSED_MAX {
            let mut refused = None;
            let found =
                outbox.peek(call.device, call.after, call.states_max, limits.batch_bytes_max)?;
            for entry in found.into_iter().filter(|entry| entry.sequence <= call.through) {
                match checks.check(&entry, now) {
                    Ok(checked) => {
                        if !checked.ignored.is_empty() {
                            batch.ignored.insert(entry.sequence, checked.ignored);
                        }
                        batch.add(&entry, checked.time);
                        states.push((checked.time, checked.json));
                    }
                    Err(refusal) => {
                        refused = Some(refusal);
                        break;
                    }
                }
            }
            let Some(refusal) = refused.filter(|_| batch.states == 0) else { break };
            warn!(device_id = %call.device, why = refusal.message, "Losant would ignore this \
                state; moved to the rejects");
            outbox.quarantine(call.device, &refusal, now)?;
        }
        let is_backfill = limits.backfill_meta && call.lane == Lane::Backlog;
        batch.set_body(&batch_body::elements(&states, is_backfill));
        Ok(batch)
    }

    fn add(&mut self, entry: &QueuedState, time: WallTime) {
        if self.states == 0 {
            self.first = entry.sequence;
        }
        self.states += 1;
        self.last = entry.sequence;
        self.readings += u64::from(entry.readings);
        let (earliest, latest) = self.times.unwrap_or((time, time));
        self.times = Some((earliest.min(time), latest.max(time)));
    }

    /// Joins the elements to a JSON list.
    fn set_body(&mut self, elements: &[Bytes]) {
        let size = 2 + elements.iter().map(|element| element.len() + 1).sum::<usize>();
        let mut body = BytesMut::with_capacity(size);
        self.ends.reserve_exact(elements.len());
        body.put_u8(b'[');
        for element in elements {
            if body.len() > 1 {
                body.put_u8(b',');
            }
            body.put_slice(element);
            self.ends.push(u32::try_from(body.len()).unwrap_or(u32::MAX));
        }
        body.put_u8(b']');
        self.body = body.freeze();
    }

    /// Returns the elements of the body.
    pub(super) fn elements(&self) -> Vec<Bytes> {
        let mut start = 1;
        let element = |end: &u32| {
            let end = usize::try_from(*end).unwrap_or(usize::MAX).min(self.body.len());
            let element = self.body.slice(start.min(end)..end);
            start = end + 1;
            element
        };
        self.ends.iter().map(element).collect()
    }

    /// Returns the memory that the batch takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.ends.len() * size_of::<u32>()
    }

    /// Returns whether Losant still takes the times of all states.
    pub(super) fn is_taken(&self, checks: &Checks<'_>) -> bool {
        let ends = checks.now().zip(self.times);
        ends.is_some_and(|(now, (earliest, latest))| {
            is_taken(earliest, now) && is_taken(latest, now)
        })
    }

    /// Returns a batch of these elements.
    #[cfg(test)]
    pub(super) fn of(elements: &[Bytes], first: u64, last: u64) -> Self {
        let mut batch = Self { states: elements.len(), first, last, ..Self::default() };
        batch.set_body(elements);
        batch
    }
}

/// A state that Losant takes.
struct Checked {
    time: WallTime,
    json: Bytes,
    /// The number of values that were removed, by reason.
    ignored: BTreeMap<Reason, u64>,
}

impl Checks<'_> {
    /// Returns the time of day in Losant.
    ///
    /// The clock can lose its time of day. The states then wait until it is known again.
    fn now(&self) -> Option<WallTime> {
        self.clock.wall_time().map(|now| self.clock.cloud_time().unwrap_or(now))
    }

    /// Checks the time and the attributes of a state. `now` is the time of day in Losant.
    fn check(&self, entry: &QueuedState, now: WallTime) -> Result<Checked, Refusal> {
        let sequence = entry.sequence;
        let time = time(entry, self.boots);
        let Some(time) = time.filter(|time| is_taken(*time, now)) else {
            return Err(refusal(sequence, Reason::TimeRefused, why(time, now)));
        };
        let json = json(entry, time);
        let unchecked = self.declaration.filter(|one| sequence <= one.unchecked_through);
        let Some(declaration) = unchecked else {
            return Ok(Checked { time, json, ignored: BTreeMap::new() });
        };
        let FittedState { json, misfits } = fit_state(&json, &declaration.attributes);
        let mut ignored = BTreeMap::new();
        for misfit in &misfits {
            debug!(sequence, %misfit, "value rejected before it is sent");
            *ignored.entry(misfit.reason()).or_default() += 1;
        }
        match (json, misfits.first()) {
            (Some(json), _) => Ok(Checked { time, json, ignored }),
            (None, Some(misfit)) => {
                let reason = misfit.reason();
                ignored.remove(&reason);
                let first = refusal(sequence, reason, misfit.to_string());
                Err(Refusal { other_reasons: ignored, ..first })
            }
            (None, None) => {
                let message = "the state has no values".to_owned();
                Err(refusal(sequence, Reason::NotSerialisable, message))
            }
        }
    }
}

/// Returns the refusal of a state whose values have one reason.
fn refusal(sequence: u64, reason: Reason, message: String) -> Refusal {
    Refusal { sequence, reason, other_reasons: BTreeMap::new(), message }
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
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use tidegate_delivery::reporter::{Reporter, Waiting};
    use tidegate_delivery::throttle::Throttle;
    use tidegate_model::{Account, AttributeType, BootId, BootTime, DeviceId, Priority};
    use tidegate_outbox::{Commit, NewState, Options};
    use tidegate_timing::machine::Machine as _;

    const NOW_MS: i64 = 1_777_629_600_000;

    const JSON: &[u8] = b"{\"n\":1}";

    fn batch_body_of(states: usize) -> Bytes {
        Bytes::from([b"[", vec![JSON; states].join(&b',').as_slice(), b"]"].concat())
    }

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
            json: Bytes::from_static(JSON),
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
        let waiting = Waiting { states: 9, bytes: 9, last: outbox.queue_sizes().last[&device()] };
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
            Batch::load(
                &outbox,
                &call,
                &limits(),
                &Checks { boots: &boots, clock: &Fixed, declaration: None },
            )
            .unwrap()
        };
        let batch = load();
        assert_eq!((batch.first, batch.last, batch.states, batch.readings), (3, 4, 2, 2));
        assert_eq!(batch.body, batch_body_of(2));
        assert_eq!(batch.elements(), [JSON, JSON]);
        outbox.ack(device(), 3, 4).unwrap();
        assert_eq!(load().states, 0);
        let rejects = outbox.rejects(10).unwrap();
        assert_eq!(rejects.len(), 3);
        assert!(rejects.iter().all(|reject| reject.reason == Reason::TimeRefused));
        assert_eq!(outbox.queue_sizes().total.states, 0);
    }

    #[test]
    fn unchecked_states_are_checked_against_the_declaration() {
        let directory = tempfile::TempDir::new().unwrap();
        let outbox = Outbox::open(directory.path(), Options::default()).unwrap();
        let state = |json: &'static str| {
            let json = format!("{{\"time\":\"2026-05-01T10:00:00.000Z\",\"data\":{json}}}");
            let readings = u16::try_from(json.matches("\"v").count()).unwrap();
            let (bus, priority) = ("probe".parse().unwrap(), Priority::default());
            let (device, moment, json) = (device(), wall(0), Bytes::from(json));
            NewState { device, bus, moment, priority, readings, json }
        };
        let datas = [r#"{"v1":"ERR"}"#, r#"{"v1":1,"v2":2}"#, r#"{"v1":"2"}"#, r#"{"v1":"ERR"}"#];
        let states: Vec<_> = datas.into_iter().map(state).collect();
        let account = Account { received: 5, outbox_in: 5, ..Account::default() };
        let ledger = [("probe".parse().unwrap(), account)].into();
        outbox.append(&Commit { states, ledger, ..Commit::default() }).unwrap();

        let attributes = [("v1".parse().unwrap(), AttributeType::Number)].into();
        // The last state was checked when it was mapped.
        let declaration = Declaration { attributes: Arc::new(attributes), unchecked_through: 3 };
        let boots = Boots::default();
        let checks = Checks { boots: &boots, clock: &Fixed, declaration: Some(&declaration) };
        let batch = Batch::load(&outbox, &call(&outbox), &limits(), &checks).unwrap();
        let sent: Vec<_> = batch
            .elements()
            .iter()
            .map(|state| serde_json::from_slice::<serde_json::Value>(state).unwrap()["data"].take())
            .collect();
        let number = serde_json::json!({ "v1": 1 });
        let converted = serde_json::json!({ "v1": 2 });
        assert_eq!(sent, [number, converted, serde_json::json!({ "v1": "ERR" })]);
        assert_eq!(batch.ignored, [(2, [(Reason::Undeclared, 1)].into())].into());
        let rejects = outbox.rejects(9).unwrap();
        assert_eq!(rejects.iter().map(|one| one.reason).collect::<Vec<_>>(), [Reason::WrongType]);
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
            Batch::load(
                &outbox,
                &call(&outbox),
                &limits(),
                &Checks { boots: &boots, clock: &Fixed, declaration: None },
            )
            .unwrap()
        };
        let expected = br#"{"time":"2026-05-01T09:01:01.500Z","data":{"n":1}}"#;
        assert_eq!(load().elements(), [Bytes::from_static(expected)]);
        assert_eq!(load().body, load().body);
    }
}
