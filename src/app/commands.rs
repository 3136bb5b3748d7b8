//! The way of a command: listeners, dispatcher, actuators; and what a reload changes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::actuators::{Driver, Gateway};
use crate::status::StatusRegistry;
use crate::tasks::actuator::{ActuatorTask, Finished, Links, ORDERS_MAX, Order};
use crate::tasks::dispatcher::{DispatcherTask, INBOUND_MAX, Inbound, Routes};
use crate::tasks::listener::ListenerTask;
use tidegate_bus::{BusEvent, Handles};
use tidegate_commands::actuator::{Actuator, Router, WriteTemplate};
use tidegate_commands::admission::Admission;
use tidegate_commands::history::{Heard, History, NewerHistory, TABLE};
use tidegate_config::Config;
use tidegate_losant::Client;
use tidegate_model::{DeviceId, Name};
use tidegate_outbox::Outbox;
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::supervisor::{Supervisor, TaskEnd};
use tidegate_timing::log_limit::LogLimit;

/// Results that may wait for the dispatcher.
const FINISHED_MAX: usize = 64;

/// How long a reload waits for an actuator to do what waits for it; what is left then counts as interrupted.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What commands need of the rest of the daemon.
pub(super) struct CommandParts {
    pub(super) outbox: Arc<Outbox>,
    pub(super) client: Arc<Client>,
    pub(super) clock: SharedClock,
    pub(super) board: StatusRegistry,
    pub(super) gateway: Gateway,
    pub(super) http: Driver,
    pub(super) handles: watch::Receiver<Handles>,
    pub(super) stop: CancellationToken,
}

/// The way of a command while the daemon runs. Let go of, it ends.
pub(super) struct CommandPipeline {
    parts: CommandParts,
    inbound: mpsc::Sender<Inbound>,
    finished: mpsc::Sender<Finished>,
    /// Held by each actuator until it has ended.
    alive: mpsc::Sender<()>,
    links: watch::Sender<Links>,
    orders: BTreeMap<Name, mpsc::Sender<Order>>,
    actuators: BTreeMap<Name, CancellationToken>,
    listeners: BTreeMap<Name, (Listening, CancellationToken)>,
}

/// What a listener was started with; one that should have other is started afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listening {
    device: DeviceId,
    has_detour: bool,
}

/// An actuator that is to be started, with what already waits for it.
type Queued = (Arc<Actuator>, mpsc::Receiver<Order>);

impl CommandPipeline {
    /// Starts the tasks. When the actuators have ended after a stop, `buses_stop` is cancelled: they need the buses for
    /// their last writes.
    pub(super) fn start(
        parts: CommandParts,
        config: &Config,
        (history, arrivals): (History, mpsc::Sender<BusEvent>),
        (supervisor, buses_stop): (&mut Supervisor, CancellationToken),
    ) -> Self {
        let (inbound, incoming) = mpsc::channel(INBOUND_MAX);
        let (finished, results) = mpsc::channel(FINISHED_MAX);
        let (alive, mut ended) = mpsc::channel::<()>(1);
        let (until, grace) = (parts.stop.clone(), config.stop_timeout / 4);
        supervisor.spawn("actuators", async move {
            until.cancelled().await;
            if tokio::time::timeout(grace, ended.recv()).await.is_err() {
                warn!("actuators take too long to end; the buses end before them");
            }
            buses_stop.cancel();
        });
        let (links, _) = watch::channel(Links::new());
        let mut way = Self {
            parts,
            inbound,
            finished,
            alive,
            links,
            orders: BTreeMap::new(),
            actuators: BTreeMap::new(),
            listeners: BTreeMap::new(),
        };
        let names = config.actuators.iter().map(|actuator| actuator.name.clone()).collect();
        let queued = way.queue(config, &names);
        way.start_actuators(queued, supervisor);
        let heard = |device| history.heard(device);
        way.start_listeners(config, heard, supervisor);
        let CommandParts { outbox, clock, board, .. } = &way.parts;
        let dispatcher = DispatcherTask {
            routes: way.routes(config),
            history,
            outbox: Arc::clone(outbox),
            arrivals,
            clock: Arc::clone(clock),
            board: board.clone(),
            refusal_log: LogLimit::default(),
        };
        supervisor.spawn("dispatcher", dispatcher.run(incoming, results));
        way
    }

    /// Goes by another configuration. The actuators of `changed` do what waits for them, are made safe if they are to be at a
    /// stop, and start afresh, or are gone; no command is lost meanwhile.
    ///
    /// # Errors
    /// When a task does not end, or another one ends meanwhile.
    pub(super) async fn reload(
        &mut self,
        config: &Config,
        changed: &BTreeSet<Name>,
        supervisor: &mut Supervisor,
    ) -> Result<(), TaskEnd> {
        self.stop_listeners(config, supervisor).await?;
        let queued = self.queue(config, changed);
        // Without a dispatcher the supervisor has news of its own.
        self.inbound.send(Inbound::Routes(Box::new(self.routes(config)))).await.unwrap_or_default();
        self.end_actuators(changed, supervisor).await?;
        self.start_actuators(queued, supervisor);
        match self.heard() {
            Ok(history) => self.start_listeners(config, |device| history.heard(device), supervisor),
            Err(error) => {
                error!(%error, "what was heard of commands cannot be read, so nothing missed is asked for");
                self.start_listeners(config, |_| None, supervisor);
            }
        }
        Ok(())
    }

    /// Queues for these actuators, as far as there are such.
    fn queue(&mut self, config: &Config, names: &BTreeSet<Name>) -> Vec<Queued> {
        self.orders.retain(|name, _| !names.contains(name));
        let wanted = config.actuators.iter().filter(|actuator| names.contains(&actuator.name));
        let queued = |actuator: &Actuator| {
            let (order, queue) = mpsc::channel(ORDERS_MAX);
            self.orders.insert(actuator.name.clone(), order);
            (Arc::new(actuator.clone()), queue)
        };
        wanted.map(queued).collect()
    }

    fn routes(&self, config: &Config) -> Routes {
        let actuators = config.actuators.iter().cloned().map(Arc::new);
        let (rules, devices) = (config.commands.rules.clone(), config.devices.clone());
        Routes {
            admission: Admission::new(rules, Router::new(actuators), config.cloud.device, devices),
            orders: self.orders.clone(),
            report: config.commands.report.clone(),
            lanes: lanes(config),
        }
    }

    fn start_actuators(&mut self, queued: Vec<Queued>, supervisor: &mut Supervisor) {
        for (actuator, queue) in queued {
            let (name, stop) = (actuator.name.clone(), self.parts.stop.child_token());
            let Some(hand) = self.hand(&actuator) else { continue };
            let task = ActuatorTask {
                actuator,
                hand,
                links: self.links.subscribe(),
                finished: self.finished.clone(),
                stop: stop.clone(),
            };
            let alive = self.alive.clone();
            supervisor.spawn(actuator_task(&name), async move {
                task.run(queue).await;
                drop(alive);
            });
            self.actuators.insert(name, stop);
        }
    }

    async fn end_actuators(
        &mut self,
        names: &BTreeSet<Name>,
        supervisor: &mut Supervisor,
    ) -> Result<(), TaskEnd> {
        let ending: BTreeSet<_> = names.iter().map(actuator_task).collect();
        let stops: Vec<_> = names.iter().filter_map(|name| self.actuators.remove(name)).collect();
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, supervisor.ended(&ending)).await;
        if let Ok(ended) = drained {
            return ended;
        }
        stops.iter().for_each(CancellationToken::cancel);
        supervisor.ended(&ending).await
    }

    async fn stop_listeners(
        &mut self,
        config: &Config,
        supervisor: &mut Supervisor,
    ) -> Result<(), TaskEnd> {
        let wanted = listened(config);
        let mut ending = BTreeSet::new();
        self.listeners.retain(|name, (listening, stop)| {
            let stays = wanted.get(name) == Some(listening);
            if !stays {
                stop.cancel();
                ending.insert(listener_task(name));
            }
            stays
        });
        supervisor.ended(&ending).await?;
        self.parts.board.data().streams.retain(|name, _| wanted.contains_key(name));
        Ok(())
    }

    /// Starts listeners where there should be one and is none.
    fn start_listeners(
        &mut self,
        config: &Config,
        heard: impl Fn(DeviceId) -> Option<Heard>,
        supervisor: &mut Supervisor,
    ) {
        for (name, listening) in listened(config) {
            if self.listeners.contains_key(&name) {
                continue;
            }
            let stop = self.parts.stop.child_token();
            let listener = ListenerTask {
                name: name.clone(),
                device: listening.device,
                heard: heard(listening.device),
                has_detour: listening.has_detour,
                client: Arc::clone(&self.parts.client),
                commands: self.inbound.clone(),
                links: self.links.clone(),
                clock: Arc::clone(&self.parts.clock),
                board: self.parts.board.clone(),
                stop: stop.clone(),
            };
            supervisor.spawn(listener_task(&name), listener.run());
            self.listeners.insert(name, (listening, stop));
        }
    }

    /// The history as it is on the disk now, for what was heard.
    fn heard(&self) -> Result<History, HistoryError> {
        read_history(&self.parts.outbox, 1, &self.parts.clock)
    }

    fn hand(&self, actuator: &Actuator) -> Option<Driver> {
        Some(match &actuator.write {
            WriteTemplate::Serial { .. }
            | WriteTemplate::Mqtt { .. }
            | WriteTemplate::Modbus { .. }
            | WriteTemplate::Gpio { .. } => {
                // The configuration gives these a bus that is there.
                Driver::Bus(actuator.bus.clone()?, self.parts.handles.clone())
            }
            WriteTemplate::Exec { .. } => Driver::Exec,
            WriteTemplate::Http { .. } => self.parts.http.clone(),
            WriteTemplate::LogLevel(_)
            | WriteTemplate::ReportStatus
            | WriteTemplate::FlushNow
            | WriteTemplate::Reload => Driver::Gateway(self.parts.gateway.clone()),
        })
    }
}

/// Why the history of commands cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HistoryError {
    /// The outbox does not give it.
    #[error("cannot read the history of commands")]
    Outbox(#[from] tidegate_outbox::Error),
    /// It is newer than we are.
    #[error(transparent)]
    Newer(#[from] NewerHistory),
}

/// The history of commands, whose memory is shared by so many devices.
pub(super) fn history(
    outbox: &Outbox,
    config: &Config,
    clock: &SharedClock,
) -> Result<History, HistoryError> {
    read_history(outbox, lanes(config), clock)
}

fn read_history(
    outbox: &Outbox,
    lanes: usize,
    clock: &SharedClock,
) -> Result<History, HistoryError> {
    Ok(History::load(&outbox.notes(TABLE)?, lanes, clock.now())?)
}

/// The devices that commands may come for: those with actuators, and the gateway, which may speak for others.
fn lanes(config: &Config) -> usize {
    let commanded: BTreeSet<_> = config.actuators.iter().map(|actuator| actuator.device).collect();
    commanded.len() + 1
}

/// Which devices are listened to: those with actuators, and the gateway if it speaks for others.
fn listened(config: &Config) -> BTreeMap<Name, Listening> {
    let has_detour = config.commands.rules.target.is_some() && !config.actuators.is_empty();
    let is_commanded = |device: DeviceId| {
        config.actuators.iter().any(|actuator| actuator.device == device)
            || (has_detour && device == config.cloud.device)
    };
    let devices = config.devices.iter().filter(|(_, device)| is_commanded(**device));
    devices
        .map(|(name, device)| (name.clone(), Listening { device: *device, has_detour }))
        .collect()
}

fn actuator_task(name: &Name) -> String {
    format!("actuator {name}")
}

fn listener_task(device: &Name) -> String {
    format!("listener {device}")
}
