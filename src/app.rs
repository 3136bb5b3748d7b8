//! The daemon: everything built, wired, started and stopped in order. Nothing else constructs.
//!
//! A stop goes with the data: the buses end, so the collector's queue ends; it makes its last commit, so the reporter knows
//! that no more will come, sends what it can, and the presence task says the last word.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::bus::{
    ARRIVALS_MAX, BusHandle, Handles, MqttTask, Outlet, SerialTask, Subscription, Tally,
};
use crate::clock::SharedClock;
use crate::config::{Bus, BusKind, Config};
use crate::logic::actuator::Router;
use crate::logic::mapping::{Plan, Sensor};
use crate::losant::Client;
use crate::model::{DeviceId, Name};
use crate::notify;
use crate::outbox::{Options, Outbox};
use crate::status::{Board, StatusTask};
use crate::supervisor::Supervisor;
use crate::task::collector::Collector;
use crate::task::dispatcher::{COMMANDS_MAX, DispatcherTask};
use crate::task::listener::ListenerTask;
use crate::task::presence::PresenceTask;
use crate::task::reporter::ReporterTask;

/// The daemon, with everything open that can fail to open.
pub struct App {
    config: Config,
    clock: SharedClock,
    outbox: Arc<Outbox>,
    client: Arc<Client>,
    status: StatusTask,
    board: Board,
}

impl App {
    /// Opens the outbox, the status socket and TLS. A bus or a cloud that is absent is no fault: they are waited for.
    ///
    /// # Errors
    /// When one of these cannot be opened; the daemon must not start then.
    pub fn build(config: Config, clock: SharedClock) -> anyhow::Result<Self> {
        let options =
            Options { bytes_max: config.outbox.bytes_max, cache_bytes: config.outbox.cache_bytes };
        let path = &config.outbox.path;
        let outbox =
            Outbox::open(path, options).with_context(|| format!("outbox {}", path.display()))?;
        let outbox = Arc::new(outbox);
        let client = Arc::new(Client::new(config.cloud.clone())?);
        let board = Board::default();
        let socket = &config.status_socket;
        let status =
            StatusTask::open(socket, board.clone(), Arc::clone(&outbox)).with_context(|| {
                format!("cannot open the status socket {}; see status.socket", socket.display())
            })?;
        Ok(Self { config, clock, outbox, client, status, board })
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
        let Self { config, clock, outbox, client, status, board } = self;
        let (commits, committed) = watch::channel(0);
        let (arrivals, queue) = mpsc::channel(ARRIVALS_MAX);
        let (tally, mut handles, mut plans) = (Tally::default(), Handles::new(), BTreeMap::new());
        for (name, bus) in config.buses {
            let outlet = Outlet::new(name.clone(), arrivals.clone(), tally.clone());
            let handle = start_bus(&name, &bus, outlet, (supervisor, stop, &clock));
            handles.insert(name.clone(), handle);
            plans.insert(name, Plan::new(bus.sensors, config.devices.clone()));
        }
        let commit_interval = config.outbox.commit_interval;
        let collector = Collector::new(plans, Arc::clone(&outbox), tally, commit_interval, commits);
        supervisor.spawn("collector", collector.run(queue));

        let reported = CancellationToken::new();
        let is_reported = reported.clone().drop_guard();
        let reporter = ReporterTask {
            client: Arc::clone(&client),
            outbox,
            committed,
            limits: config.reporter,
            batch_bytes_max: config.batch_bytes_max,
            hurry: hurry.clone(),
            clock: Arc::clone(&clock),
            board: board.clone(),
        };
        supervisor.spawn("reporter", async move {
            reporter.run().await;
            drop(is_reported);
        });
        let presence = PresenceTask {
            client: Arc::clone(&client),
            clock: Arc::clone(&clock),
            stop: stop.clone(),
            reported,
        };
        supervisor.spawn("presence", presence.run());
        supervisor.spawn("status", status.run(stop.clone()));

        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let is_commanded =
            |id: &DeviceId| config.actuators.iter().any(|actuator| actuator.device == *id);
        for (name, device) in config.devices.into_iter().filter(|(_, id)| is_commanded(id)) {
            let (client, commands) = (Arc::clone(&client), commands.clone());
            let (clock, board, stop) = (Arc::clone(&clock), board.clone(), stop.clone());
            let task_name = format!("listener {name}");
            let listener = ListenerTask { name, device, client, commands, clock, board, stop };
            supervisor.spawn(task_name, listener.run());
        }
        let (router, settings) = (Router::new(config.actuators), config.commands);
        let dispatcher = DispatcherTask { router, handles, settings, clock, board };
        let stop = stop.clone();
        supervisor.spawn("dispatcher", async move {
            dispatcher.run(orders).await;
            // Without an actuator there is nothing to dispatch, which is no fault.
            stop.cancelled().await;
        });
    }
}

/// Starts the task of one bus and returns the actuators' way to it.
fn start_bus(
    name: &Name,
    bus: &Bus,
    outlet: Outlet,
    (supervisor, stop, clock): (&mut Supervisor, &CancellationToken, &SharedClock),
) -> BusHandle {
    let (handle, writes) = BusHandle::new();
    let (clock, stop) = (Arc::clone(clock), stop.clone());
    match &bus.kind {
        BusKind::Serial(settings) => {
            let task =
                SerialTask { bus: name.clone(), settings: settings.clone(), outlet, writes, stop };
            supervisor.spawn(format!("bus {name}"), task.run(clock));
        }
        BusKind::Mqtt(settings) => {
            let subscriptions = bus.sensors.iter().filter_map(subscription).collect();
            let settings = settings.clone();
            let task =
                MqttTask { bus: name.clone(), settings, subscriptions, outlet, writes, stop };
            supervisor.spawn(format!("bus {name}"), task.run(clock));
        }
    }
    handle
}

fn subscription(sensor: &Sensor) -> Option<Subscription> {
    Some(Subscription { filter: sensor.topic.clone()?, retained: sensor.retained })
}
