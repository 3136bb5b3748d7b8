//! Health: judges the status document, and gives each problem a stable code.

use serde::Serialize;

use super::Document;

/// The share of the outbox's bytes from which it counts as filling, in percent.
const FILLING_PERCENT: u64 = 80;

/// The share of the outbox's bytes from which it counts as full, in percent.
const FULL_PERCENT: u64 = 98;

/// The free disk space below which the disk counts as low, in bytes. The outbox needs this room to
/// create a segment of its journal and to pack the full one.
const FREE_BYTES_MIN: u64 = 64 << 20;

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

/// The code of a problem. Codes are stable, so that alarms can refer to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub enum ProblemCode {
    /// A task missed its deadline or does not yield.
    TaskStuck,
    /// Writing to the outbox fails.
    OutboxWriteFailing,
    /// The outbox drops its oldest states, or will soon.
    OutboxFull,
    /// Losant does not have values as it confirmed them.
    AuditDifference,
    /// The outbox is more than 80 % full.
    OutboxFilling,
    /// The disk has little free space.
    DiskLow,
    /// Losant cannot be reached, or does not accept the gateway.
    CloudOffline,
    /// The clock is not synchronised, so no state is sent.
    ClockUntrusted,
    /// A bus has no connection.
    BusDown,
    /// A part of a bus, such as a unit or a file, cannot be read.
    BusProblem,
    /// A sensor has sent nothing for longer than its `stale` option allows.
    SensorStale,
    /// The command stream of a device is closed although Losant can be reached.
    CommandStreamClosed,
    /// The configuration on disk is invalid: the last reload changed nothing, and a restart would
    /// fail.
    ReloadFailed,
}

impl ProblemCode {
    /// Returns the condition that this problem alone causes.
    pub fn condition(self) -> Condition {
        match self {
            Self::TaskStuck
            | Self::OutboxWriteFailing
            | Self::OutboxFull
            | Self::AuditDifference => Condition::Failing,
            Self::OutboxFilling
            | Self::DiskLow
            | Self::CloudOffline
            | Self::ClockUntrusted
            | Self::BusDown
            | Self::BusProblem
            | Self::SensorStale
            | Self::CommandStreamClosed
            | Self::ReloadFailed => Condition::Degraded,
        }
    }

    /// Returns the code as the status document and the metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskStuck => "task_stuck",
            Self::OutboxWriteFailing => "outbox_write_failing",
            Self::OutboxFull => "outbox_full",
            Self::OutboxFilling => "outbox_filling",
            Self::DiskLow => "disk_low",
            Self::CloudOffline => "cloud_offline",
            Self::ClockUntrusted => "clock_untrusted",
            Self::BusDown => "bus_down",
            Self::BusProblem => "bus_problem",
            Self::SensorStale => "sensor_stale",
            Self::CommandStreamClosed => "command_stream_closed",
            Self::AuditDifference => "audit_difference",
            Self::ReloadFailed => "reload_failed",
        }
    }

    /// All codes.
    pub const ALL: [Self; 13] = [
        Self::TaskStuck,
        Self::OutboxWriteFailing,
        Self::OutboxFull,
        Self::AuditDifference,
        Self::OutboxFilling,
        Self::DiskLow,
        Self::CloudOffline,
        Self::ClockUntrusted,
        Self::BusDown,
        Self::BusProblem,
        Self::SensorStale,
        Self::CommandStreamClosed,
        Self::ReloadFailed,
    ];
}

impl From<ProblemCode> for &'static str {
    fn from(reason: ProblemCode) -> Self {
        reason.as_str()
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The code.
    pub code: ProblemCode,
    /// The part that has the problem; empty for the daemon as a whole.
    pub subject: String,
    /// The details; may be empty.
    pub detail: String,
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
        let mut add = |code, subject: &str, detail: &str| {
            let (subject, detail) = (subject.to_owned(), detail.to_owned());
            problems.push(Problem { code, subject, detail });
        };
        if let Some(stuck) = &document.stuck {
            add(ProblemCode::TaskStuck, "", stuck);
        }
        let Document { disk, outbox, cloud, .. } = document;
        if disk.write_failing.is_some() {
            add(ProblemCode::OutboxWriteFailing, "", &disk.error);
        }
        match outbox.percent() {
            FULL_PERCENT.. => add(ProblemCode::OutboxFull, "", ""),
            FILLING_PERCENT.. => add(ProblemCode::OutboxFilling, "", ""),
            _ => {}
        }
        if disk.free_bytes.is_some_and(|free| free < FREE_BYTES_MIN) {
            add(ProblemCode::DiskLow, "", "");
        }
        if cloud.online == Some(false) {
            add(ProblemCode::CloudOffline, "", &cloud.error);
        }
        if document.clock.trust == "waiting" {
            add(ProblemCode::ClockUntrusted, "", "");
        }
        for (name, bus) in &document.buses {
            if bus.connected == Some(false) {
                add(ProblemCode::BusDown, name, &bus.error);
                continue;
            }
            for (subject, problem) in &bus.problems {
                add(ProblemCode::BusProblem, name, &format!("{subject}: {problem}"));
            }
        }
        for (name, _) in document.sensors.iter().filter(|(_, sensor)| sensor.stale == Some(true)) {
            add(ProblemCode::SensorStale, name, "");
        }
        if cloud.online == Some(true) {
            for (name, _) in document.streams.iter().filter(|(_, is_open)| !**is_open) {
                add(ProblemCode::CommandStreamClosed, name, "");
            }
        }
        for (device, detail) in document.audit.problems() {
            add(ProblemCode::AuditDifference, device, &detail);
        }
        if let Some(error) = document.reload.problems.first() {
            add(ProblemCode::ReloadFailed, "", error);
        }
        problems.sort();
        let worst = problems.iter().map(|problem| problem.code.condition()).max();
        Self { condition: worst.unwrap_or_default(), problems }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BusStatus, Since};
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
