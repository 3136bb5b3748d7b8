//! The application: builds, connects, starts and stops all parts of the daemon.
//!
//! A stop follows the data. The buses end, which ends the queue of the collector. The collector
//! makes its last commit, which informs the reporter that no more states will come. The reporter
//! sends what it can, and the connection status task reports the disconnection last.

mod buses;
mod commands;
mod routes;
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

use crate::actuators::{self, DriverContext, Gateway};
use crate::control::{ControlServer, Routes};
use crate::declarations::{self, DeclarationReader, Declarations};
use crate::logging::LogControl;
use crate::notify;
use crate::status::{BusStatus, StatusRegistry};
use crate::tasks::attribute_check::AttributeCheckTask;
use crate::tasks::audit::{self, AuditRecorder, AuditTask};
use crate::tasks::collector::{BootClock, Collector, CollectorContext, stored_boots};
use crate::tasks::connection_status::ConnectionStatusTask;
use crate::tasks::reporter::ReporterTask;
use crate::tasks::retention::RetentionTask;
use crate::tasks::timekeeper::TimekeeperTask;
use commands::{CommandContext, CommandTasks};
use running::{Channels, Running, Runtime};
use tidegate_bus::{
    BusContext, CHECKPOINTS, EventReceiver, Handles, LossCounters, PULSES, PulseCounts,
    SharedMonitor, TailCheckpoints, event_queue,
};
use tidegate_commands::history::History;
use tidegate_config::{Bus, Config, Entry, OutboxSettings};
use tidegate_ingest::mapping::{Pipeline, Sensor};
use tidegate_losant::Client;
use tidegate_model::{Account, DeviceId, Name};
use tidegate_outbox::{Options, Outbox};
use tidegate_runtime::clock::{SharedClock, TrustedClock, boot_id};
use tidegate_runtime::supervisor::Supervisor;
use tidegate_timing::clock_trust::Boots;

/// The daemon with all resources open.
pub struct App {
    config: Config,
    entries: Vec<Entry>,
    clock: Arc<TrustedClock>,
    boots: Boots,
    outbox: Arc<Outbox>,
    client: Arc<Client>,
    control: ControlServer,
    status: StatusRegistry,
    history: History,
    losses: LossCounters,
    declarations: Declarations,
    http: reqwest::Client,
    log: LogControl,
}

impl App {
    /// Opens the outbox, the status socket and TLS. Buses and Losant may be absent: tasks wait for
    /// them.
    ///
    /// # Errors
    /// If one of these cannot be opened. The daemon must not start then.
    pub fn build(config: Config, entries: Vec<Entry>, log: LogControl) -> anyhow::Result<Self> {
        let options = outbox_options(&config.outbox);
        let path = &config.outbox.path;
        let outbox =
            Outbox::open(path, options).with_context(|| format!("outbox {}", path.display()))?;
        let boots = stored_boots(&outbox).context("cannot read the outbox")?;
        let boot = boot_id();
        let anchor_ms = boots.get(boot).and_then(|boot| boot.anchor_ms);
        let clock = Arc::new(TrustedClock::new(config.clock_trust, boot, anchor_ms));
        let outbox = Arc::new(outbox);
        let client = Arc::new(Client::new(config.cloud.clone())?);
        let status = StatusRegistry::default();
        status.configure(running::names(&config));
        status.data().clock.trust = clock.trust_word();
        let socket = &config.status_socket;
        let mut control = ControlServer::open(socket).with_context(|| {
            format!("cannot open the status socket {}; see status.socket", socket.display())
        })?;
        if let Some(listen) = config.status_listen {
            control
                .listen(listen)
                .with_context(|| format!("cannot listen on {listen}; see status.listen"))?;
        }
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let pulses = PulseCounts::load(&outbox.rows(PULSES).context("cannot read the outbox")?);
        let checkpoints =
            TailCheckpoints::load(outbox.rows(CHECKPOINTS).context("cannot read the outbox")?);
        let history = commands::history(&outbox, &config, &shared)?;
        let rows = outbox.rows(declarations::TABLE).context("cannot read the outbox")?;
        let declarations = declarations::stored(rows, &outbox.queue_sizes().last);
        let http = actuators::client()?;
        Ok(Self {
            config,
            entries,
            clock,
            boots,
            outbox,
            client,
            control,
            status,
            history,
            losses: LossCounters::new(pulses, checkpoints),
            declarations,
            http,
            log,
        })
    }

    /// Runs until `stop` is cancelled, then stops all parts in order. Reloads on each item of
    /// `reloads`.
    ///
    /// # Errors
    /// If a task ended by itself or did not stop in time. A restart should cure this.
    pub async fn run(self, stop: CancellationToken, mut reloads: Reloads) -> anyhow::Result<()> {
        let stop_timeout = self.config.stop_timeout;
        let outbox = Arc::clone(&self.outbox);
        let hurry = CancellationToken::new();
        let mut running = self.start(&stop, &hurry, reloads.sender.clone());
        notify::ready();
        running.set_ready();
        running.keep_copy(&reloads.file).await;
        let fault = loop {
            tokio::select! {
                // Tasks end at a stop, too, which is no fault: check the stop first.
                biased;
                () = stop.cancelled() => break None,
                end = running.watch() => break Some(end.into()),
                Some(()) = reloads.requests.recv() => {
                    let reloaded = running.reload(&reloads).await;
                    if let Err(error) = reloaded && !stop.is_cancelled() {
                        break Some(error);
                    }
                }
            }
        };
        if let Some(fault) = &fault {
            error!(%fault, "a task ended unexpectedly; stopping");
            stop.cancel();
        }
        notify::stopping();
        info!("stopping");
        let faults = finish(running.into_supervisor(), stop_timeout, &hurry).await;
        tokio::task::spawn_blocking(move || outbox.flush())
            .await?
            .context("cannot flush the outbox")?;
        for fault in &faults {
            error!(fault, "the stop was not clean");
        }
        info!("stopped");
        match fault {
            Some(fault) => Err(fault),
            None if faults.is_empty() => Ok(()),
            None => anyhow::bail!("{}", faults.join("; ")),
        }
    }

    #[expect(clippy::too_many_lines, reason = "it connects all parts in the order of their start")]
    fn start(
        self,
        stop: &CancellationToken,
        hurry: &CancellationToken,
        reload: mpsc::Sender<()>,
    ) -> Running {
        let Self {
            config, entries, clock: trusted, boots, outbox, client, control, status, ..
        } = self;
        let clock: SharedClock = Arc::clone(&trusted) as SharedClock;
        let mut supervisor = Supervisor::default();
        let (flush, buses_stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let (commits, committed) = watch::channel(0);
        let confirmed = Arc::new(Notify::new());
        let (events, queue) = event_queue();
        let losses = self.losses;
        let (boot_clock, anchors) = BootClock::new(Arc::clone(&trusted), boots, &outbox);
        let (reader, updates) = DeclarationReader::new(Arc::clone(&client), self.declarations);
        let (produced, attributes) = watch::channel(running::produced(&config));
        let attribute_check = AttributeCheckTask {
            reader: Arc::clone(&reader),
            produced: attributes,
            status: status.clone(),
            stop: stop.clone(),
        };
        supervisor.spawn("attribute check", attribute_check.run());
        let audit = AuditRecorder::new(config.audit.clone());
        let liveness = supervisor.liveness().clone();
        let sources = routes::sources(&config, &status, &outbox, liveness);
        supervisor.spawn("health", Arc::clone(&sources).watch_health(stop.clone()));
        let mut routes = routes::routes(sources, &outbox, &reader, commits.clone());
        audit::register(&audit, &outbox, &mut routes);
        let (limits, reporter_limits) = watch::channel(config.reporter.clone());
        let (handles, known_handles) = watch::channel(Handles::new());
        let collector = Collector::new(CollectorContext {
            pipelines: start_pipelines(&config, &clock),
            outbox: Arc::clone(&outbox),
            boot_clock,
            losses: losses.clone(),
            commit_interval: config.outbox.commit_interval,
            sync_interval: config.outbox.sync_interval,
            limits: reporter_limits.clone(),
            handles: known_handles.clone(),
            committed: commits,
            confirmed: Arc::clone(&confirmed),
            status: status.clone(),
            declarations: updates,
        });
        supervisor.spawn("collector", collector.run(queue));

        let reporter = ReporterTask {
            client: Arc::clone(&client),
            found: outbox.queue_sizes(),
            outbox: Arc::clone(&outbox),
            committed,
            confirmed,
            limits: reporter_limits,
            hurry: hurry.clone(),
            flush: Arc::clone(&flush),
            path: config.outbox.path.clone(),
            clock: Arc::clone(&trusted),
            anchors,
            reader: Arc::clone(&reader),
            audit: audit.clone(),
            status: status.clone(),
        };
        let reported = start_reporter(reporter, &mut supervisor);
        let periodic = Periodic {
            client: &client,
            clock: &trusted,
            outbox: &outbox,
            status: &status,
            config: &config,
            stop,
            reported: reported.clone(),
        };
        periodic.start(&mut supervisor);
        let audit_task = AuditTask {
            client: Arc::clone(&client),
            reader,
            outbox: Arc::clone(&outbox),
            clock: Arc::clone(&trusted),
            recorder: audit.clone(),
            status: status.clone(),
            stop: stop.clone(),
            reported,
        };
        supervisor.spawn("audit", audit_task.run());
        start_service_tasks(&mut supervisor, control, routes, &self.log, stop);

        let gateway_channels = buses::gateway_channels(status.clone(), Arc::clone(&outbox));
        let gateway = Gateway { log: self.log, status: status.clone(), flush, reload };
        let drivers = DriverContext { buses: known_handles, http: self.http, gateway };
        let commands = CommandContext {
            outbox,
            client,
            clock: Arc::clone(&clock),
            status: status.clone(),
            drivers,
            stop: stop.clone(),
            buses_stop: buses_stop.clone(),
        };
        let (history, reports) = (self.history, events.clone());
        let commands = CommandTasks::start(commands, &config, history, reports, &mut supervisor);
        let channels = Channels { events, losses, handles, limits, audit, produced, commands };
        Running::start(
            Runtime { supervisor, buses_stop, clock, gateway_channels, status, channels },
            config,
            entries.into(),
        )
    }
}

/// Starts the reporter. The returned token is cancelled once the reporter has ended.
fn start_reporter(reporter: ReporterTask, supervisor: &mut Supervisor) -> CancellationToken {
    let reported = CancellationToken::new();
    let guard = reported.clone().drop_guard();
    supervisor.spawn("reporter", async move {
        reporter.run().await;
        drop(guard);
    });
    reported
}

fn start_pipelines(config: &Config, clock: &SharedClock) -> BTreeMap<Name, Pipeline> {
    let pipeline = |bus: &Bus| start_pipeline(bus.sensors.clone(), &config.devices, clock);
    config.buses.iter().map(|(name, bus)| (name.clone(), pipeline(bus))).collect()
}

/// What the periodic tasks need: connection status, timekeeper and retention.
struct Periodic<'a> {
    client: &'a Arc<Client>,
    clock: &'a Arc<TrustedClock>,
    outbox: &'a Arc<Outbox>,
    status: &'a StatusRegistry,
    config: &'a Config,
    stop: &'a CancellationToken,
    reported: CancellationToken,
}

impl Periodic<'_> {
    fn start(self, supervisor: &mut Supervisor) {
        let connection_status = ConnectionStatusTask {
            client: Arc::clone(self.client),
            clock: Arc::clone(self.clock),
            status: self.status.clone(),
            stop: self.stop.clone(),
            reported: self.reported,
        };
        supervisor.spawn("connection status", connection_status.run());
        let retention = RetentionTask {
            outbox: Arc::clone(self.outbox),
            clock: Arc::clone(self.clock),
            age_max: self.config.outbox.age_max,
            stop: self.stop.clone(),
        };
        supervisor.spawn("retention", retention.run());
        let timekeeper = TimekeeperTask {
            clock: Arc::clone(self.clock),
            client: Arc::clone(self.client),
            status: self.status.clone(),
            stop: self.stop.clone(),
        };
        supervisor.spawn("timekeeper", timekeeper.run());
    }
}

/// Starts the control server, the reports of suppressed log lines, and the watchdog.
fn start_service_tasks(
    supervisor: &mut Supervisor,
    server: ControlServer,
    routes: Routes,
    log: &LogControl,
    stop: &CancellationToken,
) {
    supervisor.spawn("control", server.run(routes, stop.clone()));
    supervisor.spawn("log", log.clone().report_suppressed(stop.clone()));
    supervisor
        .spawn("watchdog", notify::feed_watchdog(supervisor.liveness().clone(), stop.clone()));
}

/// Returns the options of the outbox from its settings.
pub(crate) fn outbox_options(settings: &OutboxSettings) -> Options {
    Options {
        bytes_max: settings.bytes_max,
        when_full: settings.when_full,
        downsample_bucket: settings.downsample_bucket,
        free_bytes_min: settings.free_bytes_min,
        ..Options::default()
    }
}

/// What a reload of the configuration needs.
#[derive(Debug)]
pub struct Reloads {
    /// The configuration file.
    pub file: PathBuf,
    /// The control of the log level.
    pub log: LogControl,
    /// The sender of `requests`, for the gateway command `reload`.
    pub sender: mpsc::Sender<()>,
    /// Each item requests a reload. Requests during a reload count as one.
    pub requests: mpsc::Receiver<()>,
}

/// Stops all tasks. Cancels `hurry` at half of `timeout`, which abandons calls that hang; aborts
/// and returns the tasks that still run at its end.
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

/// Builds the pipeline of a bus and starts the timers for silent sensors.
fn start_pipeline(
    sensors: Vec<Sensor>,
    devices: &BTreeMap<Name, DeviceId>,
    clock: &SharedClock,
) -> Pipeline {
    let mut pipeline = Pipeline::new(sensors, devices.clone());
    pipeline.handle_start(clock.now(), Instant::now().into_std());
    pipeline
}

/// A single running bus, without a daemon.
pub(crate) struct SingleBus {
    /// The events of the bus.
    pub(crate) events: EventReceiver,
    losses: LossCounters,
    status: StatusRegistry,
    name: Name,
    _supervisor: Supervisor,
}

impl SingleBus {
    /// Returns the losses since the last call.
    pub(crate) fn losses(&self) -> Account {
        self.losses.take().remove(&self.name).unwrap_or_default()
    }

    /// Returns the status of the bus.
    pub(crate) fn status(&self) -> BusStatus {
        self.status.bus_status(&self.name)
    }
}

/// Starts a single bus to inspect its messages. It uses a broker session of its own and
/// acknowledges nothing.
pub(crate) fn start_single_bus(
    name: &Name,
    bus: &Bus,
    clock: &SharedClock,
    stop: &CancellationToken,
) -> SingleBus {
    let status = StatusRegistry::default();
    status.reset_bus(name);
    let ObservedBus { events, losses, supervisor } =
        start_observed_bus(name, bus, clock, stop, Arc::new(status.clone()));
    SingleBus { events, losses, status, name: name.clone(), _supervisor: supervisor }
}

/// A single running bus whose condition a monitor receives.
pub(crate) struct ObservedBus {
    /// The events of the bus.
    pub(crate) events: EventReceiver,
    losses: LossCounters,
    supervisor: Supervisor,
}

/// Starts a single bus as [`start_single_bus`] does, with a monitor of the caller.
pub(crate) fn start_observed_bus(
    name: &Name,
    bus: &Bus,
    clock: &SharedClock,
    stop: &CancellationToken,
    monitor: SharedMonitor,
) -> ObservedBus {
    let (sender, events) = event_queue();
    let losses = LossCounters::default();
    let context = BusContext {
        bus: name.clone(),
        sensors: bus.sensors.clone(),
        events: sender,
        losses: losses.clone(),
        monitor,
        clock: Arc::clone(clock),
        stop: stop.clone(),
        // Only the daemon knows its health.
        gateway_channels: Arc::new(|| Value::Null),
        is_inspection: true,
    };
    let mut supervisor = Supervisor::default();
    // An inspection writes nothing, so no handle is kept.
    drop(buses::spawn_bus(&mut supervisor, &bus.kind, context));
    ObservedBus { events, losses, supervisor }
}
