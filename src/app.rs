//! The daemon: everything built, wired, started and stopped in order. Nothing else constructs.
//!
//! A stop goes with the data: the buses end, so the collector's queue ends; it makes its last commit, so the reporter knows
//! that no more will come, sends what it can, and the presence task says the last word.

mod buses;
mod commands;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::bus::{ARRIVALS_MAX, Arrival, Handles, Health, Outlet, Tally};
use commands::CommandWay;

use crate::clock::{SharedClock, TrustedClock, boot_id};
use crate::config::{Bus, BusKind, Config};
use crate::logging::LogControl;
use crate::logic::clock_trust::Boots;
use crate::logic::mapping::{Plan, Produced, Sensor};
use crate::losant::Client;
use crate::model::{DeviceId, Name};
use crate::notify;
use crate::outbox::{Options, Outbox, SEGMENT_BYTES};
use crate::status::{Board, StatusTask};
use crate::supervisor::Supervisor;
use crate::task::collector::{Chronicle, Collector, remembered};
use crate::task::presence::PresenceTask;
use crate::task::reporter::ReporterTask;
use crate::task::schema::SchemaTask;
use crate::task::timekeeper::TimekeeperTask;

/// The daemon, with everything open that can fail to open.
pub struct App {
    config: Config,
    clock: Arc<TrustedClock>,
    boots: Boots,
    outbox: Arc<Outbox>,
    client: Arc<Client>,
    status: StatusTask,
    board: Board,
    commands: CommandWay,
}

impl App {
    /// Opens the outbox, the status socket and TLS. A bus or a cloud that is absent is no fault: they are waited for.
    ///
    /// # Errors
    /// When one of these cannot be opened; the daemon must not start then.
    pub fn build(mut config: Config, log: LogControl) -> anyhow::Result<Self> {
        let options = Options { bytes_max: config.outbox.bytes_max, segment_bytes: SEGMENT_BYTES };
        let path = &config.outbox.path;
        let outbox =
            Outbox::open(path, options).with_context(|| format!("outbox {}", path.display()))?;
        let boots = remembered(&outbox).context("cannot read the outbox")?;
        let boot = boot_id();
        let anchor_ms = boots.get(boot).and_then(|boot| boot.anchor_ms);
        let clock = Arc::new(TrustedClock::new(config.clock_trust, boot, anchor_ms));
        let outbox = Arc::new(outbox);
        let client = Arc::new(Client::new(config.cloud.clone())?);
        let board = Board::default();
        board.notes().clock.trust = clock.trust_word();
        let socket = &config.status_socket;
        let status =
            StatusTask::open(socket, board.clone(), Arc::clone(&outbox)).with_context(|| {
                format!("cannot open the status socket {}; see status.socket", socket.display())
            })?;
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let world = (&shared, &board, log);
        let commands = CommandWay::build(&mut config, (&outbox, &client), world)?;
        Ok(Self { config, clock, boots, outbox, client, status, board, commands })
    }

    /// Runs until `stop` is cancelled, then ends in order.
    ///
    /// # Errors
    /// When a task ended by itself or could not be ended in time: a fault that a restart should cure.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let stop_timeout = self.config.stop_timeout;
        let outbox = Arc::clone(&self.outbox);
        let hurry = CancellationToken::new();
        let mut supervisor = Supervisor::default();
        self.start(&mut supervisor, &stop, &hurry);
        supervisor.spawn("watchdog", notify::watch(supervisor.pulses().clone(), stop.clone()));
        notify::ready();
        let fault = tokio::select! {
            // At a stop tasks end, too, and that is no fault: look at the stop first.
            biased;
            () = stop.cancelled() => None,
            end = supervisor.watch() => Some(end),
        };
        if let Some(end) = &fault {
            error!(%end, "a task ended that should not; stopping");
            stop.cancel();
        }
        notify::stopping();
        info!("stopping");
        let hurry_after = tokio::time::sleep(stop_timeout / 2);
        let faults = {
            let finish = supervisor.finish(stop_timeout);
            tokio::pin!(finish, hurry_after);
            tokio::select! {
                faults = &mut finish => faults,
                () = &mut hurry_after => {
                    hurry.cancel();
                    finish.await
                }
            }
        };
        tokio::task::spawn_blocking(move || outbox.flush())
            .await?
            .context("cannot flush the outbox")?;
        for fault in &faults {
            error!(fault, "at the stop");
        }
        info!("stopped");
        match fault {
            Some(end) => Err(end.into()),
            None if faults.is_empty() => Ok(()),
            None => anyhow::bail!("{}", faults.join("; ")),
        }
    }

    fn start(
        self,
        supervisor: &mut Supervisor,
        stop: &CancellationToken,
        hurry: &CancellationToken,
    ) {
        let Self { config, clock: trusted, boots, outbox, client, status, board, commands } = self;
        let clock: SharedClock = Arc::clone(&trusted) as SharedClock;
        let buses_stop = CancellationToken::new();
        let (commits, committed) = watch::channel(0);
        let (arrivals, queue) = mpsc::channel(ARRIVALS_MAX);
        let (tally, mut handles, mut plans) = (Tally::default(), Handles::new(), BTreeMap::new());
        let health = buses::health(board.clone(), Arc::clone(&outbox));
        let mut starter =
            buses::Starter { supervisor, stop: &buses_stop, clock: &clock, health: &health };
        for (name, bus) in config.buses {
            let outlet = Outlet::new(name.clone(), arrivals.clone(), tally.clone());
            let handle = starter.start(&bus, &name, outlet);
            handles.insert(name.clone(), handle);
            plans.insert(name, start_plan(bus.sensors, &config.devices, &clock));
        }
        let (chronicle, anchors) = Chronicle::new(Arc::clone(&trusted), boots, &outbox);
        start_schema(&plans, &client, supervisor, stop);
        let (store, interval) = ((Arc::clone(&outbox), chronicle), config.outbox.commit_interval);
        let collector = Collector::new(plans, store, tally, interval, commits);
        supervisor.spawn("collector", collector.run(queue));

        let reported = CancellationToken::new();
        let is_reported = reported.clone().drop_guard();
        let reporter = ReporterTask {
            client: Arc::clone(&client),
            found: outbox.backlog(),
            outbox,
            committed,
            limits: config.reporter,
            hurry: hurry.clone(),
            path: config.outbox.path,
            clock: Arc::clone(&trusted),
            anchors,
            board: board.clone(),
        };
        supervisor.spawn("reporter", async move {
            reporter.run().await;
            drop(is_reported);
        });
        let presence = PresenceTask {
            client: Arc::clone(&client),
            clock: Arc::clone(&trusted),
            board: board.clone(),
            stop: stop.clone(),
            reported,
        };
        supervisor.spawn("presence", presence.run());
        let timekeeper = TimekeeperTask {
            clock: trusted,
            client: Arc::clone(&client),
            board: board.clone(),
            stop: stop.clone(),
        };
        supervisor.spawn("timekeeper", timekeeper.run());
        supervisor.spawn("status", status.run(stop.clone()));

        let stops = (stop, buses_stop, config.stop_timeout);
        commands.start(supervisor, (handles, arrivals), stops);
    }
}

/// The plan of a bus, which begins to wait for the sensors whose silence is to be told.
fn start_plan(
    sensors: Vec<Sensor>,
    devices: &BTreeMap<Name, DeviceId>,
    clock: &SharedClock,
) -> Plan {
    let mut plan = Plan::new(sensors, devices.clone());
    plan.start(clock.now(), Instant::now().into_std());
    plan
}

/// Compares once what the devices declare with what the plans give them.
fn start_schema(
    plans: &BTreeMap<Name, Plan>,
    client: &Arc<Client>,
    supervisor: &mut Supervisor,
    stop: &CancellationToken,
) {
    let mut produced: BTreeMap<DeviceId, Produced> = BTreeMap::new();
    for (device, more) in plans.values().flat_map(Plan::produced) {
        produced.entry(device).or_default().extend(more);
    }
    let task = SchemaTask { client: Arc::clone(client), produced, stop: stop.clone() };
    supervisor.spawn("schema", task.run());
}

/// Starts one bus alone, to look at what it hears. It holds no broker session of the daemon's, and acknowledges nothing.
pub(crate) fn listen(
    name: &Name,
    bus: &Bus,
    clock: &SharedClock,
    stop: &CancellationToken,
) -> (Supervisor, mpsc::Receiver<Arrival>) {
    let (arrivals, queue) = mpsc::channel(ARRIVALS_MAX);
    let outlet = Outlet::new(name.clone(), arrivals, Tally::default());
    let mut kind = bus.kind.clone();
    if let BusKind::Mqtt(settings) = &mut kind {
        settings.client_id.push_str("-test");
        settings.qos = 0;
        // The daemon's word on whether it is there is not ours to say, nor a share of its messages ours to take.
        (settings.status_topic, settings.share) = (None, None);
    }
    let bus = Bus { kind, sensors: bus.sensors.clone() };
    let mut supervisor = Supervisor::default();
    // How the daemon is only the daemon knows.
    let health: Health = Arc::new(|| Value::Null);
    let starter = &mut buses::Starter { supervisor: &mut supervisor, stop, clock, health: &health };
    starter.start(&bus, name, outlet);
    (supervisor, queue)
}
