//! Wires the way of a command: listeners, dispatcher, actuators.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::actuate::{Gateway, Hand};
use crate::bus::{Arrival, Handles};
use crate::clock::SharedClock;
use crate::config::{Commands, Config};
use crate::logging::LogControl;
use crate::logic::actuator::{Actuator, Router, WriteTemplate};
use crate::logic::gate::Gate;
use crate::logic::history::{History, TABLE};
use crate::losant::Client;
use crate::model::{DeviceId, Name};
use crate::outbox::Outbox;
use crate::status::Board;
use crate::supervisor::Supervisor;
use crate::task::actuator::{ActuatorTask, Links, ORDERS_MAX};
use crate::task::dispatcher::{DispatcherTask, INBOUND_MAX};
use crate::task::listener::ListenerTask;

/// Results that may wait for the dispatcher.
const FINISHED_MAX: usize = 64;

/// All that commands need, with everything open that can fail to open.
pub(super) struct CommandWay {
    gateway: DeviceId,
    devices: BTreeMap<Name, DeviceId>,
    actuators: Vec<Arc<Actuator>>,
    settings: Commands,
    history: History,
    http: Hand,
    log: LogControl,
    outbox: Arc<Outbox>,
    client: Arc<Client>,
    clock: SharedClock,
    board: Board,
}

impl CommandWay {
    /// Reads the history, and takes the actuators out of the configuration.
    ///
    /// # Errors
    /// When the history cannot be read or is newer than we are, or TLS cannot be set up.
    pub(super) fn build(
        config: &mut Config,
        (outbox, client): (&Arc<Outbox>, &Arc<Client>),
        (clock, board, log): (&SharedClock, &Board, LogControl),
    ) -> anyhow::Result<Self> {
        let actuators: Vec<_> = config.actuators.drain(..).map(Arc::new).collect();
        let commanded: BTreeSet<_> = actuators.iter().map(|actuator| actuator.device).collect();
        let table = outbox.notes(TABLE).context("cannot read the history of commands")?;
        Ok(Self {
            gateway: config.cloud.device,
            devices: config.devices.clone(),
            actuators,
            settings: config.commands.clone(),
            history: History::load(&table, commanded.len() + 1, clock.now())?,
            http: Hand::http()?,
            log,
            outbox: Arc::clone(outbox),
            client: Arc::clone(client),
            clock: Arc::clone(clock),
            board: board.clone(),
        })
    }

    /// Starts the tasks. When the actuators have ended, `buses_stop` is cancelled: they need the buses for their last writes.
    pub(super) fn start(
        self,
        supervisor: &mut Supervisor,
        (handles, arrivals): (Handles, mpsc::Sender<Arrival>),
        (stop, buses_stop, stop_timeout): (&CancellationToken, CancellationToken, Duration),
    ) {
        let (inbound, incoming) = mpsc::channel(INBOUND_MAX);
        let (links, _) = watch::channel(Links::new());
        self.start_listeners(supervisor, &inbound, &links, stop);
        drop(inbound);

        let (finished, results) = mpsc::channel(FINISHED_MAX);
        let (alive, mut ended) = mpsc::channel::<()>(1);
        let mut orders = BTreeMap::new();
        for actuator in &self.actuators {
            let (order, queue) = mpsc::channel(ORDERS_MAX);
            orders.insert(actuator.name.clone(), order);
            let Some(hand) = self.hand(actuator, &handles) else { continue };
            let task = ActuatorTask {
                actuator: Arc::clone(actuator),
                hand,
                links: links.subscribe(),
                finished: finished.clone(),
                stop: stop.clone(),
            };
            let (name, alive) = (format!("actuator {}", actuator.name), alive.clone());
            supervisor.spawn(name, async move {
                task.run(queue).await;
                drop(alive);
            });
        }
        drop((finished, alive));
        let until = stop.clone();
        supervisor.spawn("actuators", async move {
            until.cancelled().await;
            if tokio::time::timeout(stop_timeout / 4, ended.recv()).await.is_err() {
                warn!("actuators take too long to end; the buses end before them");
            }
            buses_stop.cancel();
        });

        let router = Router::new(self.actuators);
        let dispatcher = DispatcherTask {
            gate: Gate::new(self.settings.rules, router, self.gateway, self.devices),
            history: self.history,
            outbox: self.outbox,
            orders,
            rules: self.settings.report,
            arrivals,
            clock: self.clock,
            board: self.board,
            explained: BTreeMap::new(),
        };
        let stop = stop.clone();
        supervisor.spawn("dispatcher", async move {
            dispatcher.run(incoming, results).await;
            // Without an actuator there is nothing to dispatch, which is no fault.
            stop.cancelled().await;
        });
    }

    /// One listener for each device that has actuators, and for the gateway if it speaks for others.
    fn start_listeners(
        &self,
        supervisor: &mut Supervisor,
        inbound: &mpsc::Sender<crate::task::dispatcher::Inbound>,
        links: &watch::Sender<Links>,
        stop: &CancellationToken,
    ) {
        let has_detour = self.settings.rules.target.is_some() && !self.actuators.is_empty();
        let is_commanded = |device: DeviceId| {
            self.actuators.iter().any(|actuator| actuator.device == device)
                || (has_detour && device == self.gateway)
        };
        for (name, device) in &self.devices {
            if !is_commanded(*device) {
                continue;
            }
            let listener = ListenerTask {
                name: name.clone(),
                device: *device,
                heard: self.history.heard(*device),
                has_detour,
                client: Arc::clone(&self.client),
                commands: inbound.clone(),
                links: links.clone(),
                clock: Arc::clone(&self.clock),
                board: self.board.clone(),
                stop: stop.clone(),
            };
            supervisor.spawn(format!("listener {name}"), listener.run());
        }
    }

    fn hand(&self, actuator: &Actuator, handles: &Handles) -> Option<Hand> {
        Some(match &actuator.write {
            WriteTemplate::Serial { .. } | WriteTemplate::Mqtt { .. } => {
                // The configuration gives these a bus that is there.
                Hand::Bus(handles.get(actuator.bus.as_ref()?)?.clone())
            }
            WriteTemplate::Exec { .. } => Hand::Exec,
            WriteTemplate::Http { .. } => self.http.clone(),
            WriteTemplate::LogLevel(_) | WriteTemplate::ReportStatus => {
                Hand::Gateway(Gateway::new(self.log.clone(), self.board.clone()))
            }
        })
    }
}
