//! Starts the tasks that process commands, and replaces them at a reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::actuators::DriverContext;
use crate::status::StatusRegistry;
use crate::tasks::actuator::{ActuatorJob, ActuatorTask, JOBS_MAX, JobOutcome, StreamStates};
use crate::tasks::dispatcher::{DispatcherInput, DispatcherTask, INPUTS_MAX, Routes};
use crate::tasks::listener::ListenerTask;
use tidegate_bus::EventSender;
use tidegate_commands::actuator::{Actuator, Router};
use tidegate_commands::admission::Admission;
use tidegate_commands::history::{Coverage, History, NewerHistory, TABLE};
use tidegate_config::Config;
use tidegate_losant::Client;
use tidegate_model::{DeviceId, Name};
use tidegate_outbox::Outbox;
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::supervisor::{Supervisor, TaskEnd};
use tidegate_timing::log_limit::LogLimit;

/// The most outcomes in the queue of the dispatcher.
const OUTCOMES_MAX: usize = 64;

/// How long a reload waits for the queued commands of an actuator. The rest ends as interrupted.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The parts of the daemon that the command tasks need.
pub(super) struct CommandContext {
    pub(super) outbox: Arc<Outbox>,
    pub(super) client: Arc<Client>,
    pub(super) clock: SharedClock,
    pub(super) status: StatusRegistry,
    pub(super) drivers: DriverContext,
    pub(super) stop: CancellationToken,
    /// Cancelled after the actuators have ended: their last writes need the buses.
    pub(super) buses_stop: CancellationToken,
}

/// The tasks that process commands: listeners, dispatcher, actuators. They end when it is dropped.
pub(super) struct CommandTasks {
    context: CommandContext,
    inputs: mpsc::Sender<DispatcherInput>,
    outcomes: mpsc::Sender<JobOutcome>,
    /// Each actuator task holds a clone until it has ended.
    alive: mpsc::Sender<()>,
    streams: watch::Sender<StreamStates>,
    jobs: BTreeMap<Name, mpsc::Sender<ActuatorJob>>,
    actuators: BTreeMap<Name, CancellationToken>,
    listeners: BTreeMap<Name, RunningListener>,
}

/// The settings of a listener. A reload restarts a listener whose settings change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ListenerSettings {
    device: DeviceId,
    has_gateway_route: bool,
}

struct RunningListener {
    settings: ListenerSettings,
    stop: CancellationToken,
}

/// An actuator that is to be started, with its queue.
struct QueuedActuator {
    actuator: Arc<Actuator>,
    jobs: mpsc::Receiver<ActuatorJob>,
}

impl CommandTasks {
    /// Starts the tasks.
    pub(super) fn start(
        context: CommandContext,
        config: &Config,
        history: History,
        events: EventSender,
        supervisor: &mut Supervisor,
    ) -> Self {
        let (inputs, queued_inputs) = mpsc::channel(INPUTS_MAX);
        let (outcomes, queued_outcomes) = mpsc::channel(OUTCOMES_MAX);
        let (alive, mut ended) = mpsc::channel::<()>(1);
        let (stop, buses_stop) = (context.stop.clone(), context.buses_stop.clone());
        let grace = config.stop_timeout / 4;
        supervisor.spawn("actuators", async move {
            stop.cancelled().await;
            if tokio::time::timeout(grace, ended.recv()).await.is_err() {
                warn!("actuators did not end in time; stopping the buses");
            }
            buses_stop.cancel();
        });
        let (streams, _) = watch::channel(StreamStates::new());
        let mut tasks = Self {
            context,
            inputs,
            outcomes,
            alive,
            streams,
            jobs: BTreeMap::new(),
            actuators: BTreeMap::new(),
            listeners: BTreeMap::new(),
        };
        let names = config.actuators.iter().map(|actuator| actuator.name.clone()).collect();
        let queued = tasks.open_queues(config, &names);
        tasks.start_actuators(queued, supervisor);
        tasks.start_listeners(config, |device| history.coverage(device), supervisor);
        let CommandContext { outbox, clock, status, .. } = &tasks.context;
        let dispatcher = DispatcherTask {
            routes: tasks.routes(config),
            history,
            outbox: Arc::clone(outbox),
            events,
            clock: Arc::clone(clock),
            status: status.clone(),
            refusal_log: LogLimit::default(),
        };
        supervisor.spawn("dispatcher", dispatcher.run(queued_inputs, queued_outcomes));
        tasks
    }

    /// Applies another configuration without losing a command.
    ///
    /// The actuators in `changed` execute their queued commands and end. Those that are still
    /// configured start again.
    ///
    /// # Errors
    /// Fails if one of these tasks does not end, or if another task ends meanwhile.
    pub(super) async fn reload(
        &mut self,
        config: &Config,
        changed: &BTreeSet<Name>,
        supervisor: &mut Supervisor,
    ) -> Result<(), TaskEnd> {
        self.stop_listeners(config, supervisor).await?;
        let queued = self.open_queues(config, changed);
        let routes = DispatcherInput::Routes(Box::new(self.routes(config)));
        // If the dispatcher has ended, the supervisor reports it.
        self.inputs.send(routes).await.unwrap_or_default();
        self.stop_actuators(changed, supervisor).await?;
        self.start_actuators(queued, supervisor);
        match read_history(&self.context.outbox, 1, &self.context.clock) {
            Ok(history) => {
                self.start_listeners(config, |device| history.coverage(device), supervisor);
            }
            Err(error) => {
                error!(%error, "cannot read the command history; missed commands are skipped");
                self.start_listeners(config, |_| None, supervisor);
            }
        }
        Ok(())
    }

    /// Opens new queues for the named actuators that are configured.
    fn open_queues(&mut self, config: &Config, names: &BTreeSet<Name>) -> Vec<QueuedActuator> {
        self.jobs.retain(|name, _| !names.contains(name));
        let named = config.actuators.iter().filter(|actuator| names.contains(&actuator.name));
        let open_queue = |actuator: &Actuator| {
            let (sender, jobs) = mpsc::channel(JOBS_MAX);
            self.jobs.insert(actuator.name.clone(), sender);
            QueuedActuator { actuator: Arc::new(actuator.clone()), jobs }
        };
        named.map(open_queue).collect()
    }

    fn routes(&self, config: &Config) -> Routes {
        let actuators = config.actuators.iter().cloned().map(Arc::new);
        let (rules, devices) = (config.commands.rules.clone(), config.devices.clone());
        Routes {
            admission: Admission::new(rules, Router::new(actuators), config.cloud.device, devices),
            jobs: self.jobs.clone(),
            report: config.commands.report.clone(),
            devices: commanded_devices(config),
        }
    }

    fn start_actuators(&mut self, queued: Vec<QueuedActuator>, supervisor: &mut Supervisor) {
        for QueuedActuator { actuator, jobs } in queued {
            let (name, stop) = (actuator.name.clone(), self.context.stop.child_token());
            let Some(driver) = self.context.drivers.driver(&actuator) else {
                error!(actuator = %name, "no driver for this kind of actuator; not started");
                continue;
            };
            let task = ActuatorTask {
                actuator,
                driver,
                streams: self.streams.subscribe(),
                outcomes: self.outcomes.clone(),
                stop: stop.clone(),
            };
            let alive = self.alive.clone();
            supervisor.spawn(actuator_task(&name), async move {
                task.run(jobs).await;
                drop(alive);
            });
            self.actuators.insert(name, stop);
        }
    }

    async fn stop_actuators(
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

    /// Stops the listeners whose settings change.
    async fn stop_listeners(
        &mut self,
        config: &Config,
        supervisor: &mut Supervisor,
    ) -> Result<(), TaskEnd> {
        let settings = listener_settings(config);
        let mut ending = BTreeSet::new();
        self.listeners.retain(|name, listener| {
            let is_unchanged = settings.get(name) == Some(&listener.settings);
            if !is_unchanged {
                listener.stop.cancel();
                ending.insert(listener_task(name));
            }
            is_unchanged
        });
        supervisor.ended(&ending).await?;
        let mut data = self.context.status.data();
        data.streams.retain(|name, _| settings.contains_key(name));
        data.stream_errors.retain(|name, _| settings.contains_key(name));
        Ok(())
    }

    /// Starts the configured listeners that do not run.
    fn start_listeners(
        &mut self,
        config: &Config,
        coverage: impl Fn(DeviceId) -> Option<Coverage>,
        supervisor: &mut Supervisor,
    ) {
        for (name, settings) in listener_settings(config) {
            if self.listeners.contains_key(&name) {
                continue;
            }
            let stop = self.context.stop.child_token();
            let listener = ListenerTask {
                name: name.clone(),
                device: settings.device,
                coverage: coverage(settings.device),
                has_gateway_route: settings.has_gateway_route,
                client: Arc::clone(&self.context.client),
                inputs: self.inputs.clone(),
                streams: self.streams.clone(),
                clock: Arc::clone(&self.context.clock),
                status: self.context.status.clone(),
                stop: stop.clone(),
            };
            supervisor.spawn(listener_task(&name), listener.run());
            self.listeners.insert(name, RunningListener { settings, stop });
        }
    }
}

/// Why the history of commands cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HistoryError {
    /// The outbox cannot be read.
    #[error("cannot read the history of commands")]
    Outbox(#[from] tidegate_outbox::Error),
    /// A newer version of tidegate wrote it.
    #[error(transparent)]
    Newer(#[from] NewerHistory),
}

/// Reads the history of commands.
pub(super) fn history(
    outbox: &Outbox,
    config: &Config,
    clock: &SharedClock,
) -> Result<History, HistoryError> {
    read_history(outbox, commanded_devices(config), clock)
}

fn read_history(
    outbox: &Outbox,
    devices: usize,
    clock: &SharedClock,
) -> Result<History, HistoryError> {
    Ok(History::load(&outbox.rows(TABLE)?, devices, clock.now())?)
}

/// Returns how many devices can receive commands: those with actuators, and the gateway.
fn commanded_devices(config: &Config) -> usize {
    let devices: BTreeSet<_> = config.actuators.iter().map(|actuator| actuator.device).collect();
    devices.len() + 1
}

/// Returns the devices that need a listener: those with actuators, and the gateway if its commands
/// can name other devices.
fn listener_settings(config: &Config) -> BTreeMap<Name, ListenerSettings> {
    let has_gateway_route = config.commands.rules.target.is_some() && !config.actuators.is_empty();
    let is_commanded = |device: DeviceId| {
        config.actuators.iter().any(|actuator| actuator.device == device)
            || (has_gateway_route && device == config.cloud.device)
    };
    let devices = config.devices.iter().filter(|(_, device)| is_commanded(**device));
    devices
        .map(|(name, device)| {
            (name.clone(), ListenerSettings { device: *device, has_gateway_route })
        })
        .collect()
}

fn actuator_task(name: &Name) -> String {
    format!("actuator {name}")
}

fn listener_task(device: &Name) -> String {
    format!("listener {device}")
}
