//! How well it is: a pure judgement of the status document, with a name for each thing that is wrong.

use serde::Serialize;

use super::Document;

/// The outbox counts as filling when this share of its bytes is used, in percent.
const FILLING_PERCENT: u64 = 80;

/// And as full from here on: the oldest states are dropped, or soon will be.
const FULL_PERCENT: u64 = 98;

/// The disk counts as low with less than this left, in bytes; the outbox needs room to tidy itself up.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// How it is, in a word. In the order of how bad it is; the exit codes of `tidegate status` are 0, 1 and 2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// All is well.
    #[default]
    Healthy,
    /// A part does not work; nothing is lost by it that could be had.
    Degraded,
    /// Readings are lost, or the daemon itself is wedged.
    Failing,
}

/// What is wrong. The names are stable: alarms may go by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub enum Reason {
    /// A task does not keep its word about when it is heard again.
    TaskStuck,
    /// The disk takes no readings.
    DiskRefuses,
    /// The outbox drops its oldest states, or soon will.
    OutboxFull,
    /// Most of the outbox is used.
    OutboxFilling,
    /// The disk has little room left.
    DiskLow,
    /// The cloud cannot be reached, or does not accept the gateway.
    CloudOffline,
    /// Nobody knows the time of day, so nothing is sent.
    ClockWaiting,
    /// A line or a session is not there.
    BusDown,
    /// A part of a bus, such as a unit or a file, cannot be read.
    BusTrouble,
    /// A sensor has been silent for too long.
    SensorStale,
    /// The stream of a device's commands is closed although the cloud can be reached.
    StreamClosed,
    /// The configuration on the disk is not good; the next start would fail.
    ReloadRefused,
}

impl Reason {
    /// How bad it is.
    pub fn condition(self) -> Condition {
        match self {
            Self::TaskStuck | Self::DiskRefuses | Self::OutboxFull => Condition::Failing,
            Self::OutboxFilling
            | Self::DiskLow
            | Self::CloudOffline
            | Self::ClockWaiting
            | Self::BusDown
            | Self::BusTrouble
            | Self::SensorStale
            | Self::StreamClosed
            | Self::ReloadRefused => Condition::Degraded,
        }
    }

    /// Its name, as in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskStuck => "task_stuck",
            Self::DiskRefuses => "disk_refuses",
            Self::OutboxFull => "outbox_full",
            Self::OutboxFilling => "outbox_filling",
            Self::DiskLow => "disk_low",
            Self::CloudOffline => "cloud_offline",
            Self::ClockWaiting => "clock_waiting",
            Self::BusDown => "bus_down",
            Self::BusTrouble => "bus_trouble",
            Self::SensorStale => "sensor_stale",
            Self::StreamClosed => "stream_closed",
            Self::ReloadRefused => "reload_refused",
        }
    }

    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TaskStuck,
        Self::DiskRefuses,
        Self::OutboxFull,
        Self::OutboxFilling,
        Self::DiskLow,
        Self::CloudOffline,
        Self::ClockWaiting,
        Self::BusDown,
        Self::BusTrouble,
        Self::SensorStale,
        Self::StreamClosed,
        Self::ReloadRefused,
    ];
}

impl From<Reason> for &'static str {
    fn from(reason: Reason) -> Self {
        reason.as_str()
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Complaint {
    /// What.
    pub reason: Reason,
    /// With which part; empty if it is the daemon as a whole.
    pub subject: String,
    /// In words, as far as there are any.
    pub detail: String,
}

/// How it is, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// In a word.
    pub condition: Condition,
    /// All that is wrong, the worst first.
    pub complaints: Vec<Complaint>,
}

impl Health {
    /// Judges what the document has.
    pub(super) fn of(document: &Document) -> Self {
        let mut complaints = Vec::new();
        let mut complain = |reason, subject: &str, detail: &str| {
            let (subject, detail) = (subject.to_owned(), detail.to_owned());
            complaints.push(Complaint { reason, subject, detail });
        };
        if let Some(stuck) = &document.stuck {
            complain(Reason::TaskStuck, "", stuck);
        }
        let Document { disk, outbox, cloud, .. } = document;
        if disk.refusing.is_some() {
            complain(Reason::DiskRefuses, "", &disk.error);
        }
        match outbox.percent() {
            FULL_PERCENT.. => complain(Reason::OutboxFull, "", ""),
            FILLING_PERCENT.. => complain(Reason::OutboxFilling, "", ""),
            _ => {}
        }
        if disk.free_bytes.is_some_and(|free| free < FREE_BYTES_MIN) {
            complain(Reason::DiskLow, "", "");
        }
        if cloud.online == Some(false) {
            complain(Reason::CloudOffline, "", &cloud.error);
        }
        if document.clock.trust == "waiting" {
            complain(Reason::ClockWaiting, "", "");
        }
        for (name, bus) in &document.buses {
            if bus.connected == Some(false) {
                complain(Reason::BusDown, name, &bus.error);
                continue;
            }
            for (subject, trouble) in &bus.troubles {
                complain(Reason::BusTrouble, name, &format!("{subject}: {trouble}"));
            }
        }
        for (name, _) in document.sensors.iter().filter(|(_, sensor)| sensor.stale == Some(true)) {
            complain(Reason::SensorStale, name, "");
        }
        if cloud.online == Some(true) {
            for (name, _) in document.streams.iter().filter(|(_, is_open)| !**is_open) {
                complain(Reason::StreamClosed, name, "");
            }
        }
        if let Some(problem) = document.reload.problems.first() {
            complain(Reason::ReloadRefused, "", problem);
        }
        complaints.sort();
        let worst = complaints.iter().map(|complaint| complaint.reason.condition()).max();
        Self { condition: worst.unwrap_or_default(), complaints }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BusStatus, Since};
    use super::*;

    fn judged(change: impl FnOnce(&mut Document)) -> (Condition, Vec<Reason>) {
        let mut document = Document::default();
        change(&mut document);
        let Health { condition, complaints } = Health::of(&document);
        (condition, complaints.iter().map(|complaint| complaint.reason).collect())
    }

    #[test]
    fn nothing_wrong_is_healthy() {
        assert_eq!(judged(|_| {}), (Condition::Healthy, vec![]));
        assert_eq!(judged(|document| document.cloud.online = Some(true)).0, Condition::Healthy);
    }

    #[test]
    fn the_worst_comes_first_and_decides() {
        let (condition, reasons) = judged(|document| {
            document.cloud.online = Some(false);
            document.buses.insert("line".parse().unwrap(), {
                BusStatus { connected: Some(false), ..BusStatus::default() }
            });
            document.disk.refusing = Some(Since::now());
        });
        assert_eq!(condition, Condition::Failing);
        assert_eq!(reasons, [Reason::DiskRefuses, Reason::CloudOffline, Reason::BusDown]);
    }

    #[test]
    fn a_closed_stream_counts_only_while_the_cloud_can_be_reached() {
        let close = |document: &mut Document| {
            document.streams = [("gateway".parse().unwrap(), false)].into();
        };
        assert_eq!(judged(close).1, []);
        let (condition, reasons) = judged(|document| {
            close(document);
            document.cloud.online = Some(true);
        });
        assert_eq!((condition, reasons), (Condition::Degraded, vec![Reason::StreamClosed]));
    }

    #[test]
    fn an_outbox_is_filling_before_it_is_full() {
        let used = |bytes| {
            judged(|document| (document.outbox.bytes, document.outbox.bytes_max) = (bytes, 1_000)).1
        };
        assert_eq!(used(799), []);
        assert_eq!(used(800), [Reason::OutboxFilling]);
        assert_eq!(used(980), [Reason::OutboxFull]);
    }
}
