//! The status document and the paths that serve it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::health::ProblemTracker;
use super::metrics;
use super::{
    ActuatorStatus, AuditStatus, BusStatus, ClockStatus, CloudStatus, CommandStatus,
    DeviceProblems, DiskStatus, Health, ReloadStatus, SensorStatus, StatusData, StatusRegistry,
};
use crate::control::{Answer, Method, Routes, StatusCode};
use tidegate_commands::history::Record;
use tidegate_delivery::throttle::CALLS_MAX;
use tidegate_model::{DeviceId, Ledger, Name, WallTime};
use tidegate_outbox::{Amount, Outbox};
use tidegate_runtime::liveness::Liveness;

/// The longest wait for facts from the disk. The rest of the document does not depend on a disk
/// that stalls.
const DISK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the health is judged without a request.
const JUDGE_INTERVAL: Duration = Duration::from_secs(5);

/// The status document. Keys that end in `_s` are seconds, mostly ages; keys in `_ms` are times of
/// day or durations in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct Document {
    /// The version of the daemon.
    pub version: &'static str,
    /// The time since its start, in seconds.
    pub uptime_s: u64,
    /// The condition and the problems.
    pub health: Health,
    /// The connection to Losant.
    pub cloud: CloudStatus,
    /// The calls that count for Losant's throttle, by device.
    pub throttle: BTreeMap<String, ThrottleStatus>,
    /// The clock.
    pub clock: ClockStatus,
    /// The outbox.
    pub outbox: QueueStatus,
    /// The disk that holds the outbox.
    pub disk: DiskStatus,
    /// The buses.
    pub buses: BTreeMap<Name, BusStatus>,
    /// The sensors.
    pub sensors: BTreeMap<Name, SensorStatus>,
    /// The devices that do not fit the configuration, by name.
    pub device_problems: BTreeMap<String, DeviceProblems>,
    /// The audit.
    pub audit: AuditStatus,
    /// The actuators.
    pub actuators: BTreeMap<Name, ActuatorStatus>,
    /// Commands.
    pub commands: CommandStatus,
    /// Open command streams, by device.
    pub streams: BTreeMap<Name, bool>,
    /// Why the stream of a device cannot be opened, by device.
    pub stream_errors: BTreeMap<Name, String>,
    /// The ledger: the fate of all readings, by bus.
    pub ledger: Ledger,
    /// Reloads.
    pub reload: ReloadStatus,
    /// The task that makes no progress, with its work.
    pub stuck: Option<String>,
    /// The last commands, newest first.
    pub command_history: Vec<Record>,
}

/// The calls of one device that count for the throttle.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ThrottleStatus {
    /// Calls in Losant's window of 15 s.
    pub calls: usize,
    /// The most calls that Losant allows in the window.
    pub calls_max: usize,
}

/// The states that wait in the outbox.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QueueStatus {
    /// States that wait.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// The most bytes that the outbox may hold.
    pub bytes_max: u64,
    /// The longest time between a reading and its sync to disk, in milliseconds. A power cut can
    /// lose the readings of this time. MQTT messages are not lost: they are not acknowledged yet.
    pub loss_window_ms: u64,
    /// The time of the oldest state that waits, in milliseconds since 1970; null without one, or if
    /// its time is not known yet.
    pub oldest_ms: Option<i64>,
    /// States per second that come in, averaged over the last minutes.
    pub in_per_s: f64,
    /// States per second that Losant confirms.
    pub out_per_s: f64,
    /// The time until the outbox is empty at these rates, in seconds; null if it does not shrink.
    pub catch_up_s: Option<u64>,
}

impl QueueStatus {
    /// Returns the used share of the outbox, in percent.
    pub(super) fn percent(&self) -> u64 {
        self.bytes.saturating_mul(100).checked_div(self.bytes_max).unwrap_or_default()
    }

    fn of(Amount { states, readings, bytes }: Amount, bytes_max: u64, data: &StatusData) -> Self {
        let now = Instant::now().into_std();
        let (came_in, confirmed) =
            (data.commit_rate.per_second(now), data.delivery_rate.per_second(now));
        Self {
            states,
            readings,
            bytes,
            bytes_max,
            loss_window_ms: u64::try_from(data.loss_window.as_millis()).unwrap_or(u64::MAX),
            oldest_ms: None,
            in_per_s: rounded(came_in),
            out_per_s: rounded(confirmed),
            catch_up_s: catch_up_s(states, confirmed - came_in),
        }
    }
}

/// What is read from the disk for a document.
struct DiskFacts {
    /// The time of the oldest state that waits.
    oldest: Option<WallTime>,
    /// The free space of the file system, in bytes.
    free_bytes: Option<u64>,
}

/// The sources of the status document.
#[derive(Debug)]
pub struct Sources {
    /// What the tasks report.
    pub status: StatusRegistry,
    /// The outbox.
    pub outbox: Arc<Outbox>,
    /// The most bytes that the outbox may hold.
    pub bytes_max: u64,
    /// The directory of the outbox.
    pub path: PathBuf,
    /// The progress of the tasks.
    pub liveness: Liveness,
    /// The start of the daemon.
    pub started: Instant,
    /// Held by the one query of the disk that may be under way.
    pub disk_query: Arc<Mutex<()>>,
    /// Remembers since when each problem has lasted.
    pub problems: std::sync::Mutex<ProblemTracker>,
}

impl Sources {
    /// Registers the paths of status, metrics and health.
    pub fn register(self: Arc<Self>, routes: &mut Routes) {
        let sources = self;
        let status = Arc::clone(&sources);
        routes.put(Method::GET, "/status", move |_| {
            Arc::clone(&status).answer(|document| Answer::json(&document))
        });
        let metrics = Arc::clone(&sources);
        routes.put(Method::GET, "/metrics", move |_| {
            Arc::clone(&metrics).answer(|document| match metrics::text(document) {
                Ok(text) => Answer::text(metrics::CONTENT_TYPE, text),
                Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
            })
        });
        let health = Arc::clone(&sources);
        routes.put(Method::GET, "/healthz", move |_| std::future::ready(health.is_alive()));
        routes.put(Method::GET, "/readyz", move |_| std::future::ready(sources.is_ready()));
        for path in ["/metrics", "/healthz", "/readyz"] {
            routes.make_public(path);
        }
    }

    /// Judges the health again and again, so that each problem has its start, until `stop`.
    ///
    /// The health does not depend on the oldest state, so the queues are not read.
    pub async fn watch_health(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let built = self.build(Self::disk_space);
            // Without the document there is only no new judgement.
            drop(built.await);
            let wait = tokio::time::sleep(JUDGE_INTERVAL);
            if stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
    }

    async fn answer(self: Arc<Self>, answer: impl FnOnce(Document) -> Answer) -> Answer {
        match self.build(Self::disk_facts).await {
            Ok(document) => answer(document),
            Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }

    /// Answers whether every task makes progress, as the watchdog sees it.
    fn is_alive(&self) -> Answer {
        match self.liveness.stuck(Instant::now()) {
            None => Answer::json(&serde_json::json!({ "alive": true })),
            Some(stuck) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, &stuck),
        }
    }

    /// Answers whether the daemon has sent READY to systemd.
    fn is_ready(&self) -> Answer {
        if self.status.data().is_ready {
            Answer::json(&serde_json::json!({ "ready": true }))
        } else {
            Answer::error(StatusCode::SERVICE_UNAVAILABLE, &"not ready yet")
        }
    }

    /// Builds the document with what `query` reads from the disk. A disk that stalls occupies one
    /// thread, and its facts are missing.
    async fn build(self: &Arc<Self>, query: fn(&Self) -> DiskFacts) -> Result<Document, JoinError> {
        let mut document = self.document();
        let sources = Arc::clone(self);
        let on_disk = async {
            let guard = Arc::clone(&self.disk_query).lock_owned().await;
            let query = move || (guard, query(&sources));
            tokio::task::spawn_blocking(query).await
        };
        if let Ok(facts) = tokio::time::timeout(DISK_TIMEOUT, on_disk).await {
            let (_, DiskFacts { oldest, free_bytes }) = facts?;
            document.outbox.oldest_ms = oldest.map(WallTime::as_millis);
            document.disk.free_bytes = free_bytes;
        }
        document.health = Health::of(&document);
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.update(&mut document.health);
        drop(problems);
        Ok(document)
    }

    fn document(&self) -> Document {
        let waiting = self.outbox.queue_sizes();
        let ledger = self.outbox.ledger();
        let stuck = self.liveness.stuck(Instant::now());
        let data = self.status.data().clone();
        Document {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.started.elapsed().as_secs(),
            health: Health::default(),
            outbox: QueueStatus::of(waiting.total, self.bytes_max, &data),
            throttle: throttle(&data),
            sensors: sensors(&data),
            device_problems: device_problems(&data, &waiting.devices),
            audit: AuditStatus::of(&data),
            cloud: data.cloud,
            clock: data.clock,
            disk: data.disk,
            buses: data.buses,
            actuators: data.actuators,
            commands: data.commands,
            streams: data.streams,
            stream_errors: data.stream_errors,
            ledger,
            reload: data.reload,
            stuck,
            command_history: data.recent_commands,
        }
    }

    /// Reads the free space only.
    fn disk_space(&self) -> DiskFacts {
        DiskFacts { oldest: None, free_bytes: self.free_bytes() }
    }

    /// Reads all facts. This opens the store of a queue whose oldest state is in one.
    fn disk_facts(&self) -> DiskFacts {
        DiskFacts { oldest: self.oldest(), free_bytes: self.free_bytes() }
    }

    /// Returns the time of the oldest state that waits.
    fn oldest(&self) -> Option<WallTime> {
        let devices = self.outbox.queue_sizes().devices.into_iter();
        let waiting = devices.filter(|(_, amount)| amount.states > 0);
        let oldest =
            |device: DeviceId| self.outbox.peek(device, 0, 1, 1).ok()?.first()?.moment.wall();
        waiting.filter_map(|(device, _)| oldest(device)).min()
    }

    fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.path).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

fn throttle(data: &StatusData) -> BTreeMap<String, ThrottleStatus> {
    let now = Instant::now().into_std();
    let calls = data.calls.iter().map(|(id, throttle)| {
        let status = ThrottleStatus { calls: throttle.in_window(now), calls_max: CALLS_MAX };
        (data.names.device(*id), status)
    });
    calls.collect()
}

fn device_problems(
    data: &StatusData,
    waiting: &BTreeMap<DeviceId, Amount>,
) -> BTreeMap<String, DeviceProblems> {
    let problems = data.device_problems.iter().map(|(id, problems)| {
        let states_waiting = waiting.get(id).map_or(0, |amount| amount.states);
        let problems = DeviceProblems { states_waiting, ..problems.clone() };
        (data.names.device(*id), problems)
    });
    problems.collect()
}

fn sensors(data: &StatusData) -> BTreeMap<Name, SensorStatus> {
    let buses = data.sensors.iter();
    let sensors = buses.flat_map(|(bus, sensors)| sensors.iter().map(move |sensor| (bus, sensor)));
    let status = |bus, stats| SensorStatus::of(bus, stats, &data.names);
    sensors.map(|(bus, (name, stats))| (name.clone(), status(bus, stats))).collect()
}

/// Returns the seconds in which a backlog drains at a rate; `None` beyond ten years.
fn catch_up_s(states: u64, per_second: f64) -> Option<u64> {
    const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;
    if states == 0 {
        return Some(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate needs no more than 52 bits")]
    let seconds = (states as f64 / per_second).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and ten years"
    )]
    (per_second > 0.0 && seconds < SECONDS_MAX).then_some(seconds as u64)
}

/// Rounds to three digits after the decimal point.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catch_up_time_follows_net_rate() {
        assert_eq!(catch_up_s(0, -1.0), Some(0));
        assert_eq!(catch_up_s(600, 2.0), Some(300));
        assert_eq!(catch_up_s(601, 2.0), Some(301));
        assert_eq!(catch_up_s(600, 0.0), None);
        assert_eq!(catch_up_s(600, -2.0), None);
        assert_eq!(catch_up_s(u64::MAX, 1.0), None);
    }
}
