//! The status document, and who puts it together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::metrics;
use super::{
    ActuatorStatus, BusStatus, ClockStatus, CloudStatus, CommandStatus, DiskStatus, Health,
    ReloadStatus, SensorStatus, StatusData, StatusRegistry,
};
use crate::control::{Answer, Method, Routes, StatusCode};
use tidegate_commands::history::Record;
use tidegate_delivery::throttle::CALLS_MAX;
use tidegate_model::{DeviceId, Ledger, Name, Timestamp};
use tidegate_outbox::{Amount, Outbox};
use tidegate_runtime::liveness::Liveness;

/// How long the disk may take to tell what only it knows: the status is asked for when something is wrong.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// All that is told of the daemon. Keys that end in `_s` are seconds, mostly ages; those in `_ms` times of day.
#[derive(Debug, Default, Serialize)]
pub struct Document {
    /// Of the daemon.
    pub version: &'static str,
    /// Since its start.
    pub uptime_s: u64,
    /// How it is, in a word, and why.
    pub health: Health,
    /// The link to the cloud.
    pub cloud: CloudStatus,
    /// Losant's throttle, by device.
    pub throttle: BTreeMap<String, ThrottleStatus>,
    /// The time of day.
    pub clock: ClockStatus,
    /// What waits.
    pub outbox: Waiting,
    /// How the disk takes it.
    pub disk: DiskStatus,
    /// The buses.
    pub buses: BTreeMap<Name, BusStatus>,
    /// The sensors.
    pub sensors: BTreeMap<Name, SensorStatus>,
    /// The actuators.
    pub actuators: BTreeMap<Name, ActuatorStatus>,
    /// Commands.
    pub commands: CommandStatus,
    /// Open command streams, by device.
    pub streams: BTreeMap<Name, bool>,
    /// What became of all readings, by bus.
    pub ledger: Ledger,
    /// Reloads.
    pub reload: ReloadStatus,
    /// The task that makes no progress, in words.
    pub stuck: Option<String>,
    /// The last commands, newest first.
    pub command_history: Vec<Record>,
}

/// The calls of one device.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ThrottleStatus {
    /// Calls that Losant may count in its window of 15 s.
    pub calls: usize,
    /// How many it allows.
    pub calls_max: usize,
}

/// What waits in the outbox.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Waiting {
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// The most bytes that it may hold.
    pub bytes_max: u64,
    /// The longest that a reading may wait until no power cut can take it, in milliseconds; MQTT messages are acknowledged later.
    pub promise_ms: u64,
    /// When the oldest was measured, in milliseconds since the Unix epoch; null if none waits or its time is not known yet.
    pub oldest_ms: Option<i64>,
    /// States that come in each second, averaged over the last minutes.
    pub in_per_s: f64,
    /// States that the cloud takes each second.
    pub out_per_s: f64,
    /// When it will be empty at this rate, in seconds; null if it does not get emptier.
    pub catch_up_s: Option<u64>,
}

impl Waiting {
    /// How much of the outbox is used.
    pub(super) fn percent(&self) -> u64 {
        self.bytes.saturating_mul(100).checked_div(self.bytes_max).unwrap_or_default()
    }

    fn of(Amount { states, readings, bytes }: Amount, bytes_max: u64, notes: &StatusData) -> Self {
        let now = Instant::now().into_std();
        let (came, went) = (notes.committed.per_second(now), notes.stored.per_second(now));
        Self {
            states,
            readings,
            bytes,
            bytes_max,
            promise_ms: u64::try_from(notes.promise.as_millis()).unwrap_or(u64::MAX),
            oldest_ms: None,
            in_per_s: rounded(came),
            out_per_s: rounded(went),
            catch_up_s: catch_up_s(states, went - came),
        }
    }
}

/// What a look at the daemon needs.
#[derive(Debug)]
pub struct Sources {
    /// What the tasks tell.
    pub board: StatusRegistry,
    /// What waits.
    pub outbox: Arc<Outbox>,
    /// The most bytes of it.
    pub bytes_max: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Which task makes progress.
    pub pulses: Liveness,
    /// When the daemon started.
    pub started: Instant,
    /// Held by the one look at the disk that may be under way.
    pub looking: Arc<Mutex<()>>,
}

impl Sources {
    /// Puts what is told at its paths.
    pub fn register(self, routes: &mut Routes) {
        let sources = Arc::new(self);
        let told = Arc::clone(&sources);
        routes.put(Method::GET, "/status", move |_| {
            Arc::clone(&told).answer(|document| Answer::json(&document))
        });
        let told = Arc::clone(&sources);
        routes.put(Method::GET, "/metrics", move |_| {
            Arc::clone(&told).answer(|document| match metrics::text(document) {
                Ok(text) => Answer::text(metrics::CONTENT_TYPE, text),
                Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
            })
        });
        let told = Arc::clone(&sources);
        routes.put(Method::GET, "/healthz", move |_| std::future::ready(told.is_alive()));
        routes.put(Method::GET, "/readyz", move |_| std::future::ready(sources.is_ready()));
        for path in ["/metrics", "/healthz", "/readyz"] {
            routes.open_to_all(path);
        }
    }

    async fn answer(self: Arc<Self>, answer: impl FnOnce(Document) -> Answer) -> Answer {
        match self.look().await {
            Ok(document) => answer(document),
            Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
        }
    }

    /// Whether every task makes progress, as the watchdog sees it.
    fn is_alive(&self) -> Answer {
        match self.pulses.stuck(Instant::now()) {
            None => Answer::json(&serde_json::json!({ "alive": true })),
            Some(stuck) => Answer::error(StatusCode::SERVICE_UNAVAILABLE, &stuck),
        }
    }

    /// Whether systemd was told that all is up. At a stop nobody answers.
    fn is_ready(&self) -> Answer {
        if self.board.data().is_ready {
            Answer::json(&serde_json::json!({ "ready": true }))
        } else {
            Answer::error(StatusCode::SERVICE_UNAVAILABLE, &"not ready yet")
        }
    }

    /// Looks at everything. A disk that stalls costs one thread, and what only it knows.
    async fn look(self: &Arc<Self>) -> Result<Document, JoinError> {
        let mut document = self.document();
        let sources = Arc::clone(self);
        let on_disk = async {
            let looking = Arc::clone(&self.looking).lock_owned().await;
            let look = move || (looking, sources.oldest(), sources.free_bytes());
            tokio::task::spawn_blocking(look).await
        };
        if let Ok(seen) = tokio::time::timeout(DISK_PATIENCE, on_disk).await {
            let (_, oldest, free_bytes) = seen?;
            document.outbox.oldest_ms = oldest.map(Timestamp::as_millis);
            document.disk.free_bytes = free_bytes;
        }
        document.health = Health::of(&document);
        Ok(document)
    }

    fn document(&self) -> Document {
        let amount = self.outbox.backlog().total;
        let ledger = self.outbox.ledger();
        let stuck = self.pulses.stuck(Instant::now());
        let notes = self.board.data().clone();
        Document {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.started.elapsed().as_secs(),
            health: Health::default(),
            outbox: Waiting::of(amount, self.bytes_max, &notes),
            throttle: throttle(&notes),
            sensors: sensors(&notes),
            cloud: notes.cloud,
            clock: notes.clock,
            disk: notes.disk,
            buses: notes.buses,
            actuators: notes.actuators,
            commands: notes.commands,
            streams: notes.streams,
            ledger,
            reload: notes.reload,
            stuck,
            command_history: notes.recent,
        }
    }

    /// When the oldest state that waits was measured.
    fn oldest(&self) -> Option<Timestamp> {
        let devices = self.outbox.backlog().devices.into_iter();
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

fn throttle(notes: &StatusData) -> BTreeMap<String, ThrottleStatus> {
    let now = Instant::now().into_std();
    let device = |id: &DeviceId| notes.names.devices.get(id).map(ToString::to_string);
    let calls = notes.calls.iter().map(|(id, pace)| {
        let throttle = ThrottleStatus { calls: pace.in_window(now), calls_max: CALLS_MAX };
        (device(id).unwrap_or_else(|| id.to_string()), throttle)
    });
    calls.collect()
}

fn sensors(notes: &StatusData) -> BTreeMap<Name, SensorStatus> {
    let buses = notes.sensors.iter();
    let sensors = buses.flat_map(|(bus, sensors)| sensors.iter().map(move |sensor| (bus, sensor)));
    sensors.map(|(bus, (name, vitals))| (name.clone(), SensorStatus::of(bus, vitals))).collect()
}

/// How long so many states take at this rate. What would take years does not end.
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

/// To three digits after the point, for readers.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catching_up_takes_as_long_as_more_goes_than_comes() {
        assert_eq!(catch_up_s(0, -1.0), Some(0));
        assert_eq!(catch_up_s(600, 2.0), Some(300));
        assert_eq!(catch_up_s(601, 2.0), Some(301));
        assert_eq!(catch_up_s(600, 0.0), None);
        assert_eq!(catch_up_s(600, -2.0), None);
        assert_eq!(catch_up_s(u64::MAX, 1.0), None);
    }
}
