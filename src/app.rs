//! The daemon: everything built, wired, started and stopped in order. Nothing else constructs.
//!
//! A stop goes with the data: the buses end, so the collector's queue ends; it makes its last commit, so the reporter knows
//! that no more will come, sends what it can, and the presence task says the last word.

mod buses;
mod commands;
mod running;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::actuators::{Driver, Gateway};
use crate::control::{ControlServer, Routes};
use crate::logging::LogControl;
use crate::notify;
use crate::outbox_admin;
use crate::status::{BusStatus, Sources, StatusRegistry};
use crate::tasks::attribute_check::AttributeCheckTask;
use crate::tasks::collector::{BootClock, Collector, remembered};
use crate::tasks::connection_status::ConnectionStatusTask;
use crate::tasks::reporter::ReporterTask;
use crate::tasks::retention::RetentionTask;
use crate::tasks::timekeeper::TimekeeperTask;
use commands::{CommandParts, CommandPipeline};
use running::{Channels, Running, Runtime};
use tidegate_bus::{
    ARRIVALS_MAX, BusContext, BusEvent, CHECKPOINTS, Handles, Health, LossCounters, PULSES,
    PulseCounts, TailCheckpoints,
};
use tidegate_commands::history::History;
use tidegate_config::{Bus, BusKind, Config, Entry, OutboxSettings};
use tidegate_ingest::mapping::{Pipeline, Produced, Sensor};
use tidegate_losant::Client;
use tidegate_model::{Account, DeviceId, Name};
use tidegate_outbox::{Options, Outbox};
use tidegate_runtime::clock::{SharedClock, TrustedClock, boot_id};
use tidegate_runtime::liveness::Liveness;
use tidegate_runtime::supervisor::Supervisor;
use tidegate_timing::clock_trust::Boots;

/// The daemon, with everything open that can fail to open.
pub struct App {
    config: Config,
    entries: Vec<Entry>,
    clock: Arc<TrustedClock>,
    boots: Boots,
    outbox: Arc<Outbox>,
    client: Arc<Client>,
    door: ControlServer,
    board: StatusRegistry,
    history: History,
    tally: LossCounters,
    http: Driver,
    log: LogControl,
}

impl App {
    /// Opens the outbox, the status socket and TLS. A bus or a cloud that is absent is no fault: they are waited for.
    ///
    /// # Errors
    /// When one of these cannot be opened; the daemon must not start then.
    pub fn build(config: Config, entries: Vec<Entry>, log: LogControl) -> anyhow::Result<Self> {
        let options = outbox_options(&config.outbox);
        let path = &config.outbox.path;
        let outbox =
            Outbox::open(path, options).with_context(|| format!("outbox {}", path.display()))?;
        let boots = remembered(&outbox).context("cannot read the outbox")?;
        let boot = boot_id();
        let anchor_ms = boots.get(boot).and_then(|boot| boot.anchor_ms);
        let clock = Arc::new(TrustedClock::new(config.clock_trust, boot, anchor_ms));
        let outbox = Arc::new(outbox);
        let client = Arc::new(Client::new(config.cloud.clone())?);
        let board = StatusRegistry::default();
        board.configure(running::names(&config));
        board.data().clock.trust = clock.trust_word();
        let socket = &config.status_socket;
        let mut door = ControlServer::open(socket).with_context(|| {
            format!("cannot open the status socket {}; see status.socket", socket.display())
        })?;
        if let Some(listen) = config.status_listen {
            door.listen(listen)
                .with_context(|| format!("cannot listen on {listen}; see status.listen"))?;
        }
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let pulses = PulseCounts::load(&outbox.notes(PULSES).context("cannot read the outbox")?);
        let marks =
            TailCheckpoints::load(outbox.notes(CHECKPOINTS).context("cannot read the outbox")?);
        let history = commands::history(&outbox, &config, &shared)?;
        let http = Driver::http()?;
        Ok(Self {
            config,
            entries,
            clock,
            boots,
            outbox,
            client,
            door,
            board,
            history,
            tally: LossCounters::new(pulses, marks),
            http,
            log,
        })
    }

    /// Runs until `stop` is cancelled, then ends in order. Each item of `reloads` has the configuration read again.
    ///
    /// # Errors
    /// When a task ended by itself or could not be ended in time: a fault that a restart should cure.
    pub async fn run(self, stop: CancellationToken, mut reloads: Reloads) -> anyhow::Result<()> {
        let stop_timeout = self.config.stop_timeout;
        let outbox = Arc::clone(&self.outbox);
        let hurry = CancellationToken::new();
        let mut running = self.start((&stop, &hurry), reloads.ask.clone());
        notify::ready();
        running.is_ready();
        running.keep_copy().await;
        let fault = loop {
            tokio::select! {
                // At a stop tasks end, too, and that is no fault: look at the stop first.
                biased;
                () = stop.cancelled() => break None,
                end = running.watch() => break Some(end.into()),
                Some(()) = reloads.asked.recv() => {
                    let reloaded = running.reload(&reloads).await;
                    if let Err(error) = reloaded && !stop.is_cancelled() {
                        break Some(error);
                    }
                }
            }
        };
        if let Some(fault) = &fault {
            error!(%fault, "a task ended that should not; stopping");
            stop.cancel();
        }
        notify::stopping();
        info!("stopping");
        let faults = finish(running.let_go(), stop_timeout, &hurry).await;
        tokio::task::spawn_blocking(move || outbox.flush())
            .await?
            .context("cannot flush the outbox")?;
        for fault in &faults {
            error!(fault, "at the stop");
        }
        info!("stopped");
        match fault {
            Some(fault) => Err(fault),
            None if faults.is_empty() => Ok(()),
            None => anyhow::bail!("{}", faults.join("; ")),
        }
    }

    fn start(
        self,
        (stop, hurry): (&CancellationToken, &CancellationToken),
        reload: mpsc::Sender<()>,
    ) -> Running {
        let Self { config, entries, clock: trusted, boots, outbox, client, door, board, .. } = self;
        let clock: SharedClock = Arc::clone(&trusted) as SharedClock;
        let mut supervisor = Supervisor::default();
        let (flush, buses_stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let (commits, committed) = watch::channel(0);
        let (arrivals, queue) = mpsc::channel(ARRIVALS_MAX);
        let tally = self.tally;
        let plan = |bus: &Bus| start_plan(bus.sensors.clone(), &config.devices, &clock);
        let plans: BTreeMap<_, _> =
            config.buses.iter().map(|(name, bus)| (name.clone(), plan(bus))).collect();
        let (chronicle, anchors) = BootClock::new(Arc::clone(&trusted), boots, &outbox);
        let produced = start_schema(&config, &client, &mut supervisor, stop);
        let store = (Arc::clone(&outbox), chronicle);
        let intervals = (config.outbox.commit_interval, config.outbox.spare_flash);
        let routes =
            routes(&config, (&board, &outbox), supervisor.liveness().clone(), commits.clone());
        let (limits, reporter_limits) = watch::channel(config.reporter.clone());
        let (handles, known_handles) = watch::channel(Handles::new());
        let settings = (intervals, reporter_limits.clone(), known_handles.clone());
        let collector =
            Collector::new(plans, store, tally.clone(), settings, (commits, board.clone()));
        supervisor.spawn("collector", collector.run(queue));

        let reported = CancellationToken::new();
        let is_reported = reported.clone().drop_guard();
        let reporter = ReporterTask {
            client: Arc::clone(&client),
            found: outbox.backlog(),
            outbox: Arc::clone(&outbox),
            committed,
            limits: reporter_limits,
            hurry: hurry.clone(),
            flush: Arc::clone(&flush),
            path: config.outbox.path.clone(),
            clock: Arc::clone(&trusted),
            anchors,
            board: board.clone(),
        };
        supervisor.spawn("reporter", async move {
            reporter.run().await;
            drop(is_reported);
        });
        start_clockwork(
            &mut supervisor,
            (&client, &trusted, &outbox),
            &board,
            (&config, stop),
            reported,
        );
        start_caretakers(&mut supervisor, (door, routes), &self.log, stop);

        let health = buses::health(board.clone(), Arc::clone(&outbox));
        let commands = CommandParts {
            outbox,
            client,
            clock: Arc::clone(&clock),
            board: board.clone(),
            gateway: Gateway { log: self.log, board: board.clone(), flush, reload },
            http: self.http,
            handles: known_handles,
            stop: stop.clone(),
        };
        let until = (&mut supervisor, buses_stop.clone());
        let commands =
            CommandPipeline::start(commands, &config, (self.history, arrivals.clone()), until);
        let wires = Channels { arrivals, tally, handles, limits, produced, commands };
        let parts = Runtime { supervisor, buses_stop, clock, health, board, wires };
        Running::start(parts, config, entries)
    }
}

/// Starts what goes by the clock: the word on whether the gateway is there, the time of day, and what is too old.
fn start_clockwork(
    supervisor: &mut Supervisor,
    (client, clock, outbox): (&Arc<Client>, &Arc<TrustedClock>, &Arc<Outbox>),
    board: &StatusRegistry,
    (config, stop): (&Config, &CancellationToken),
    reported: CancellationToken,
) {
    let presence = ConnectionStatusTask {
        client: Arc::clone(client),
        clock: Arc::clone(clock),
        board: board.clone(),
        stop: stop.clone(),
        reported,
    };
    supervisor.spawn("presence", presence.run());
    let upkeep = RetentionTask {
        outbox: Arc::clone(outbox),
        clock: Arc::clone(clock),
        age_max: config.outbox.age_max,
        stop: stop.clone(),
    };
    supervisor.spawn("upkeep", upkeep.run());
    let timekeeper = TimekeeperTask {
        clock: Arc::clone(clock),
        client: Arc::clone(client),
        board: board.clone(),
        stop: stop.clone(),
    };
    supervisor.spawn("timekeeper", timekeeper.run());
}

/// Starts what serves neither readings nor commands, but whoever looks after the daemon.
fn start_caretakers(
    supervisor: &mut Supervisor,
    (door, routes): (ControlServer, Routes),
    log: &LogControl,
    stop: &CancellationToken,
) {
    supervisor.spawn("control", door.run(routes, stop.clone()));
    supervisor.spawn("log", log.clone().report_suppressed(stop.clone()));
    supervisor
        .spawn("watchdog", notify::feed_watchdog(supervisor.liveness().clone(), stop.clone()));
}

/// What the configuration says of the outbox, as it takes it.
pub(crate) fn outbox_options(settings: &OutboxSettings) -> Options {
    Options {
        bytes_max: settings.bytes_max,
        when_full: settings.when_full,
        downsample_bucket: settings.downsample_bucket,
        free_bytes_min: settings.free_bytes_min,
        ..Options::default()
    }
}

/// What the socket answers to.
fn routes(
    config: &Config,
    (board, outbox): (&StatusRegistry, &Arc<Outbox>),
    liveness: Liveness,
    commits: watch::Sender<u64>,
) -> Routes {
    let mut routes = Routes::default();
    let sources = Sources {
        board: board.clone(),
        outbox: Arc::clone(outbox),
        bytes_max: config.outbox.bytes_max,
        path: config.outbox.path.clone(),
        liveness,
        started: Instant::now(),
        disk_query: Arc::default(),
    };
    sources.register(&mut routes);
    let wake_reporter = move || commits.send_modify(|commits| *commits += 1);
    outbox_admin::register(Arc::clone(outbox), wake_reporter, &mut routes);
    routes
}

/// What the daemon needs to read its configuration again.
#[derive(Debug)]
pub struct Reloads {
    /// The configuration.
    pub file: PathBuf,
    /// The level of the log.
    pub log: LogControl,
    /// The other end of `asked`, for the gateway's own command.
    pub ask: mpsc::Sender<()>,
    /// Each item asks for a reload; requests that come while one is under way are one.
    pub asked: mpsc::Receiver<()>,
}

/// Ends all tasks: what hangs at half-time is told to hurry, what is left at the end is named and aborted.
async fn finish(
    supervisor: Supervisor,
    timeout: Duration,
    hurry: &CancellationToken,
) -> Vec<String> {
    let finish = supervisor.finish(timeout);
    let hurry_after = tokio::time::sleep(timeout / 2);
    tokio::pin!(finish, hurry_after);
    tokio::select! {
        faults = &mut finish => faults,
        () = &mut hurry_after => {
            hurry.cancel();
            finish.await
        }
    }
}

/// The plan of a bus, which begins to wait for the sensors whose silence is to be told.
fn start_plan(
    sensors: Vec<Sensor>,
    devices: &BTreeMap<Name, DeviceId>,
    clock: &SharedClock,
) -> Pipeline {
    let mut plan = Pipeline::new(sensors, devices.clone());
    plan.start(clock.now(), Instant::now().into_std());
    plan
}

/// Compares what the devices declare with what the configuration gives them, from now on.
fn start_schema(
    config: &Config,
    client: &Arc<Client>,
    supervisor: &mut Supervisor,
    stop: &CancellationToken,
) -> watch::Sender<BTreeMap<DeviceId, Produced>> {
    let (sender, produced) = watch::channel(running::produced(config));
    let task = AttributeCheckTask { client: Arc::clone(client), produced, stop: stop.clone() };
    supervisor.spawn("schema", task.run());
    sender
}

/// One bus alone, to look at what it hears.
pub(crate) struct Listening {
    /// What it hears.
    pub(crate) arrivals: mpsc::Receiver<BusEvent>,
    tally: LossCounters,
    board: StatusRegistry,
    name: Name,
    _supervisor: Supervisor,
}

impl Listening {
    /// What it lost since the last time.
    pub(crate) fn losses(&self) -> Account {
        self.tally.take().remove(&self.name).unwrap_or_default()
    }

    /// How the bus is.
    pub(crate) fn status(&self) -> BusStatus {
        self.board.bus(&self.name)
    }
}

/// Starts one bus alone, to look at what it hears. It holds no broker session of the daemon's, and acknowledges nothing.
pub(crate) fn listen(
    name: &Name,
    bus: &Bus,
    clock: &SharedClock,
    stop: &CancellationToken,
) -> Listening {
    let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
    let board = StatusRegistry::default();
    board.started(name);
    let tally = LossCounters::default();
    let outlet = BusContext::new(name.clone(), sender, tally.clone(), Arc::new(board.clone()));
    let mut kind = bus.kind.clone();
    if let BusKind::Mqtt(settings) = &mut kind {
        settings.client_id.push_str("-test");
        (settings.qos, settings.is_lasting) = (0, false);
        // The daemon's word on whether it is there is not ours to say, nor a share of its messages ours to take.
        (settings.status_topic, settings.share) = (None, None);
    }
    if let BusKind::Gpio(settings) = &mut kind {
        // Listening moves nothing.
        settings.outputs.clear();
    }
    let bus = Bus { kind, sensors: bus.sensors.clone() };
    let mut supervisor = Supervisor::default();
    // How the daemon is only the daemon knows.
    let health: Health = Arc::new(|| Value::Null);
    let starter =
        &mut buses::BusStarter { supervisor: &mut supervisor, stop, clock, health: &health };
    starter.start(&bus, name, outlet);
    Listening { arrivals, tally, board, name: name.clone(), _supervisor: supervisor }
}
