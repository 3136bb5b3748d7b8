//! Health: judges the status document, and gives each problem a stable code.

mod code;
mod devices;
mod sensors;
mod tracker;

use bytesize::ByteSize;
use serde::Serialize;

pub use code::ProblemCode;
pub(super) use tracker::ProblemTracker;

use super::{BusStatus, Document, Since, span};

/// The share of the outbox's bytes from which it counts as filling, in percent.
const FILLING_PERCENT: u64 = 80;

/// The share of the outbox's bytes from which it counts as full, in percent.
const FULL_PERCENT: u64 = 98;

/// The free disk space below which the disk counts as low, in bytes. The outbox needs this room to
/// create a segment of its journal and to pack the full one.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// The largest difference between the clock here and Losant's, in milliseconds.
const CLOCK_DIFFERENCE_MAX_MS: u64 = 60_000;

/// The condition of the gateway, from best to worst; `tidegate status` exits with 0, 1 or 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// No problem is known.
    #[default]
    Healthy,
    /// A part does not work; no data is being lost.
    Degraded,
    /// Readings are being lost, or a task is stuck.
    Failing,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The code.
    pub code: ProblemCode,
    /// The condition that this problem alone causes.
    pub severity: Condition,
    /// How long it has lasted, by a monotonic clock; `None` before it is tracked.
    #[serde(rename = "since_s")]
    pub since: Option<Since>,
    /// The part that has the problem; empty for the daemon as a whole.
    pub subject: String,
    /// What is wrong, in one sentence with figures.
    pub sentence: String,
    /// What to do, in one imperative sentence.
    pub cure: &'static str,
}

impl Problem {
    /// Creates a problem whose sentence is the code in words, the subject and the detail.
    pub(super) fn new(code: ProblemCode, subject: &str, detail: &str) -> Self {
        let words = [&*code.words(), subject, detail];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        Self {
            code,
            severity: code.condition(),
            since: None,
            subject: subject.to_owned(),
            sentence: words.join(": "),
            cure: code.cure(),
        }
    }

    /// Sets since when it has lasted, if that is known.
    fn since(self, since: Option<Since>) -> Self {
        Self { since, ..self }
    }
}

/// The condition of the gateway and its problems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The worst condition that any problem causes.
    pub condition: Condition,
    /// All problems, the worst first.
    pub problems: Vec<Problem>,
}

impl Health {
    /// Judges a status document.
    pub(super) fn of(document: &Document) -> Self {
        let mut problems = Vec::new();
        if let Some(stuck) = &document.stuck {
            problems.push(Problem::new(ProblemCode::TaskStuck, "", stuck));
        }
        problems.extend(storage(document));
        problems.extend(cloud(document));
        problems.extend(clock(document));
        problems.extend(devices::problems(document));
        problems.extend(document.buses.iter().flat_map(|(name, bus)| bus_problems(name, bus)));
        problems.extend(sensors::problems(document));
        for (device, detail) in document.audit.problems() {
            problems.push(Problem::new(ProblemCode::AuditDifference, device, &detail));
        }
        if let Some(error) = document.reload.problems.first() {
            let count = document.reload.problems.len();
            let more = if count > 1 { format!(" (1 of {count} errors)") } else { String::new() };
            problems.push(Problem::new(ProblemCode::ReloadFailed, "", &format!("{error}{more}")));
        }
        problems.sort_by(|one, other| (one.code, &one.subject).cmp(&(other.code, &other.subject)));
        let worst = problems.iter().map(|problem| problem.severity).max();
        Self { condition: worst.unwrap_or_default(), problems }
    }
}

/// Judges the outbox and its disk.
fn storage(Document { disk, outbox, .. }: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    if disk.write_failing.is_some() {
        let problem = Problem::new(ProblemCode::OutboxWriteFailing, "", &disk.error);
        problems.push(problem.since(disk.write_failing));
    }
    let code = match outbox.percent() {
        FULL_PERCENT.. => Some(ProblemCode::OutboxFull),
        FILLING_PERCENT.. => Some(ProblemCode::OutboxFilling),
        _ => None,
    };
    if let Some(code) = code {
        let (used, limit) = (ByteSize(outbox.bytes), ByteSize(outbox.bytes_max));
        let detail = format!("{used} of {limit} are used, {} %", outbox.percent());
        problems.push(Problem::new(code, "", &detail));
    }
    if let Some(free) = disk.free_bytes.filter(|free| *free < FREE_BYTES_MIN) {
        let (free, needed) = (ByteSize(free), ByteSize(FREE_BYTES_MIN));
        let detail = format!("{free} free of the {needed} needed");
        problems.push(Problem::new(ProblemCode::DiskLow, "", &detail));
    }
    problems
}

/// Judges the connection to Losant.
fn cloud(document: &Document) -> Vec<Problem> {
    let cloud = &document.cloud;
    let mut problems = Vec::new();
    if !cloud.credentials_error.is_empty() {
        problems.push(Problem::new(ProblemCode::CredentialsRefused, "", &cloud.credentials_error));
    } else if cloud.online == Some(false) {
        let problem = Problem::new(ProblemCode::CloudOffline, "", &cloud.error);
        problems.push(problem.since(cloud.since));
    }
    if let Some(evidence) = &cloud.device_id_shared {
        problems.push(Problem::new(ProblemCode::DeviceIdShared, "", evidence));
    }
    problems
}

/// Judges the clock.
fn clock(document: &Document) -> Vec<Problem> {
    // Losant's answers also give the time, unless it rejects the credentials.
    let is_refused = !document.cloud.credentials_error.is_empty();
    if document.clock.trust == "waiting" && !is_refused {
        let waiting = document.outbox.states;
        let detail = format!("the time of day is not known, and {waiting} states wait");
        return vec![Problem::new(ProblemCode::ClockUntrusted, "", &detail)];
    }
    let far = |ahead: &i64| ahead.unsigned_abs() > CLOCK_DIFFERENCE_MAX_MS;
    let ahead = document.clock.ahead_ms.filter(far);
    let problem = ahead.map(|ahead| {
        let difference = span(ahead.unsigned_abs() / 1_000);
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        let detail = format!("this computer is {difference} {side} Losant");
        Problem::new(ProblemCode::ClockDiffers, "", &detail)
    });
    problem.into_iter().collect()
}

/// Judges one bus.
fn bus_problems(name: &str, bus: &BusStatus) -> Vec<Problem> {
    if let Some(evidence) = &bus.session_conflict {
        return vec![Problem::new(ProblemCode::ClientIdShared, name, evidence)];
    }
    if bus.connected == Some(false) {
        return vec![Problem::new(ProblemCode::BusDown, name, &bus.error).since(bus.since)];
    }
    let parts = bus.problems.iter();
    let parts = parts.map(|(subject, problem)| (ProblemCode::BusProblem, subject, problem));
    let refused = bus.refused_subscriptions.iter();
    let refused = refused.map(|(filter, why)| (ProblemCode::SubscriptionRefused, filter, why));
    let problems = parts.chain(refused);
    problems.map(|(code, subject, why)| Problem::of_part(code, name, subject, why)).collect()
}

impl Problem {
    /// Creates a problem of a part, such as a topic of a bus. Parts are tracked one by one.
    fn of_part(code: ProblemCode, owner: &str, part: &str, detail: &str) -> Self {
        Self::new(code, &format!("{owner}: {part}"), detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: impl FnOnce(&mut Document)) -> (Condition, Vec<ProblemCode>) {
        let mut document = Document::default();
        change(&mut document);
        let Health { condition, problems } = Health::of(&document);
        (condition, problems.iter().map(|problem| problem.code).collect())
    }

    #[test]
    fn no_problem_is_healthy() {
        assert_eq!(judged(|_| {}), (Condition::Healthy, vec![]));
        assert_eq!(judged(|document| document.cloud.online = Some(true)).0, Condition::Healthy);
    }

    #[test]
    fn worst_problem_comes_first_and_decides() {
        let (condition, codes) = judged(|document| {
            document.cloud.online = Some(false);
            document.buses.insert("line".parse().unwrap(), {
                BusStatus { connected: Some(false), ..BusStatus::default() }
            });
            document.disk.write_failing = Some(Since::now());
        });
        assert_eq!(condition, Condition::Failing);
        assert_eq!(
            codes,
            [ProblemCode::OutboxWriteFailing, ProblemCode::CloudOffline, ProblemCode::BusDown]
        );
    }

    #[test]
    fn closed_stream_counts_only_while_online() {
        let close = |document: &mut Document| {
            document.streams = [("gateway".parse().unwrap(), false)].into();
        };
        assert_eq!(judged(close).1, []);
        let (condition, codes) = judged(|document| {
            close(document);
            document.cloud.online = Some(true);
        });
        assert_eq!(
            (condition, codes),
            (Condition::Degraded, vec![ProblemCode::CommandStreamClosed])
        );
    }

    #[test]
    fn outbox_is_filling_before_full() {
        let used = |bytes| {
            judged(|document| (document.outbox.bytes, document.outbox.bytes_max) = (bytes, 1_000)).1
        };
        assert_eq!(used(799), []);
        assert_eq!(used(800), [ProblemCode::OutboxFilling]);
        assert_eq!(used(980), [ProblemCode::OutboxFull]);
    }
}
