//! The daemon while it runs: the parts that a reload starts, stops and changes. The outbox is none of them.
//!
//! A reload goes with the data. Buses that change stop first, and end when their acknowledgements have left. What they
//! heard is then in the collector's queue, ahead of the new meaning of their messages, ahead of what the new buses hear.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Reloads, start_bus, start_plan};
use crate::bus::{Arrival, Handles, Outlet, Tally};
use crate::clock::SharedClock;
use crate::config::{self, Change, Config, Entry, Problems};
use crate::logic::actuator::Router;
use crate::logic::reporter::Limits;
use crate::losant::Client;
use crate::model::{Command, DeviceId, Name};
use crate::notify;
use crate::status::{Board, ReloadStatus};
use crate::supervisor::{Supervisor, TaskEnd};
use crate::task::dispatcher::Routes;
use crate::task::listener::ListenerTask;

/// How long a reload may take. An MQTT bus waits at most 5 s for its broker to take the last acknowledgements, and the
/// collector for a slow disk; a daemon that is not through after that starts afresh.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The copy of the last good configuration, beside the outbox.
const LAST_GOOD: &str = "last-good.toml";

/// How long the daemon waits for the copy; a disk that is slower writes it all the same.
const COPY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the copy begins with.
const LAST_GOOD_HEADER: &str = "\
# The configuration that tidegate last ran with: one file, without secrets. It is not read by itself, for a start from an
# old copy would hide the mistake in the new files. To go back: tidegate run --config with this file, or compare and mend.
";

/// The most keys and the most problems of a reload that are told.
const TOLD_MAX: usize = 50;

/// What stays while the daemon runs.
pub(super) struct Parts {
    pub(super) supervisor: Supervisor,
    pub(super) stop: CancellationToken,
    pub(super) clock: SharedClock,
    pub(super) client: Arc<Client>,
    pub(super) board: Board,
    pub(super) wires: Wires,
}

/// The ways to the tasks that stay. When they are let go of, these tasks end.
pub(super) struct Wires {
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) tally: Tally,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) routes: watch::Sender<Arc<Routes>>,
    pub(super) limits: watch::Sender<Limits>,
}

/// The daemon while it runs.
pub(super) struct Running {
    parts: Parts,
    config: Config,
    /// What it goes by.
    entries: Vec<Entry>,
    /// What it was started with.
    started: Vec<Entry>,
    handles: Handles,
    buses: BTreeMap<Name, CancellationToken>,
    listeners: BTreeMap<Name, (DeviceId, CancellationToken)>,
}

impl Running {
    pub(super) fn start(parts: Parts, config: Config, entries: Vec<Entry>) -> Self {
        let mut running = Self {
            parts,
            started: entries.clone(),
            entries,
            handles: Handles::new(),
            buses: BTreeMap::new(),
            listeners: BTreeMap::new(),
            config,
        };
        let buses: BTreeSet<_> = running.config.buses.keys().cloned().collect();
        running.start_buses(&buses);
        running.set_routes();
        running.start_listeners();
        running
    }

    /// Keeps a copy of the configuration, which is good, for the day when somebody has broken the original.
    pub(super) async fn keep_copy(&self) {
        let Some(path) = self.config.outbox.path.parent().map(|path| path.join(LAST_GOOD)) else {
            return;
        };
        let text = format!("{LAST_GOOD_HEADER}{}", config::page(&self.entries));
        let written = tokio::task::spawn_blocking(move || config::replace(&path, &text, 0o600));
        match tokio::time::timeout(COPY_TIMEOUT, written).await {
            Ok(Ok(Err(error))) => warn!(%error, "the last good configuration is not kept"),
            Ok(Ok(Ok(_)) | Err(_)) => {}
            Err(_) => warn!("the disk is slow to keep the last good configuration"),
        }
    }

    /// Waits until a task ends by itself. Cancel-safe.
    pub(super) async fn watch(&mut self) -> TaskEnd {
        self.parts.supervisor.watch().await
    }

    /// Lets go of all tasks, so that they end, and leaves them to be waited for.
    pub(super) fn let_go(self) -> Supervisor {
        self.parts.supervisor
    }

    /// Reads the configuration again and applies what has changed. What is wrong with it is told, and changes nothing.
    ///
    /// # Errors
    /// When a part does not stop: the daemon must then end, and start with the new configuration.
    pub(super) async fn reload(&mut self, reloads: &Reloads) -> anyhow::Result<()> {
        notify::reloading();
        let file = reloads.file.clone();
        let read = tokio::task::spawn_blocking(move || config::explain(&file)).await?;
        let reloaded = match read {
            Ok((config, entries)) => {
                let applied = self.apply(config, entries, reloads);
                match tokio::time::timeout(RELOAD_TIMEOUT, applied).await {
                    Ok(Ok(())) => {
                        self.keep_copy().await;
                        Ok(())
                    }
                    Ok(Err(end)) => Err(end.into()),
                    Err(_) => Err(anyhow::anyhow!("the reload did not end in {RELOAD_TIMEOUT:?}")),
                }
            }
            Err(problems) => {
                self.refuse(&problems);
                Ok(())
            }
        };
        notify::ready();
        reloaded
    }

    fn refuse(&self, problems: &Problems) {
        for problem in problems.iter().take(TOLD_MAX) {
            error!(%problem, "the new configuration is not good; the old one stays");
        }
        let mut notes = self.parts.board.notes();
        notes.reload.count += 1;
        notes.reload.problems = problems.iter().take(TOLD_MAX).map(ToString::to_string).collect();
        notes.reload.changed.clear();
    }

    async fn apply(
        &mut self,
        config: Config,
        entries: Vec<Entry>,
        reloads: &Reloads,
    ) -> Result<(), TaskEnd> {
        let change = Change::between(&self.entries, &entries);
        if change.log_level
            && let Err(error) = reloads.level.change(&config.log_level)
        {
            error!(%error, "the log stays at its level");
        }
        // What only a start applies stays as it was.
        self.config.log_level = config.log_level;
        self.config.reporter = config.reporter;
        self.config.devices = config.devices;
        self.config.buses = config.buses;
        self.config.actuators = config.actuators;
        self.entries = entries;
        if change.limits {
            self.parts.wires.limits.send_replace(self.config.reporter.clone());
        }
        self.stop_changed(&change).await?;
        for bus in &change.plans {
            let plan = self.config.buses.get(bus);
            let devices = &self.config.devices;
            let plan = plan.map(|bus| start_plan(bus.sensors.clone(), devices, &self.parts.clock));
            let arrival = Arrival::Plan(bus.clone(), plan);
            // Without a collector the supervisor has news of its own.
            self.parts.wires.arrivals.send(arrival).await.unwrap_or_default();
        }
        self.start_buses(&change.buses);
        if change.routes {
            self.set_routes();
        }
        self.start_listeners();
        self.tell(&change);
        Ok(())
    }

    /// Stops the buses that change or go, and the listeners of devices that no actuator serves any more.
    async fn stop_changed(&mut self, change: &Change) -> Result<(), TaskEnd> {
        let mut ending = BTreeSet::new();
        let wanted = self.commanded();
        self.listeners.retain(|name, (device, stop)| {
            let stays = wanted.get(name) == Some(device);
            if !stays {
                stop.cancel();
                ending.insert(listener_task(name));
                self.parts.board.notes().streams.remove(name);
            }
            stays
        });
        for name in &change.buses {
            self.handles.remove(name);
            if let Some(stop) = self.buses.remove(name) {
                stop.cancel();
                ending.insert(format!("bus {name}"));
            }
        }
        self.parts.supervisor.ended(&ending).await
    }

    /// Starts those of these buses that the configuration has.
    fn start_buses(&mut self, names: &BTreeSet<Name>) {
        let Parts { supervisor, stop, clock, wires, .. } = &mut self.parts;
        for (name, bus) in self.config.buses.iter().filter(|(name, _)| names.contains(*name)) {
            let stop = stop.child_token();
            let outlet = Outlet::new(name.clone(), wires.arrivals.clone(), wires.tally.clone());
            let handle = start_bus(name, bus, outlet, (supervisor, &stop, clock));
            self.handles.insert(name.clone(), handle);
            self.buses.insert(name.clone(), stop);
        }
    }

    fn set_routes(&self) {
        let router = Router::new(self.config.actuators.clone());
        let routes = Routes { router, handles: self.handles.clone() };
        self.parts.wires.routes.send_replace(Arc::new(routes));
    }

    /// Starts listeners for the devices that have actuators and no listener yet.
    fn start_listeners(&mut self) {
        for (name, device) in self.commanded() {
            if self.listeners.contains_key(&name) {
                continue;
            }
            let Parts { supervisor, stop, clock, client, board, wires } = &mut self.parts;
            let stop = stop.child_token();
            let listener = ListenerTask {
                name: name.clone(),
                device,
                client: Arc::clone(client),
                commands: wires.commands.clone(),
                clock: Arc::clone(clock),
                board: board.clone(),
                stop: stop.clone(),
            };
            supervisor.spawn(listener_task(&name), listener.run());
            self.listeners.insert(name, (device, stop));
        }
    }

    /// The devices that have actuators.
    fn commanded(&self) -> BTreeMap<Name, DeviceId> {
        let has_one = |id: &DeviceId| self.config.actuators.iter().any(|one| one.device == *id);
        let devices = self.config.devices.iter().filter(|(_, id)| has_one(id));
        devices.map(|(name, id)| (name.clone(), *id)).collect()
    }

    fn tell(&self, change: &Change) {
        let since_start = Change::between(&self.started, &self.entries);
        let next_start: Vec<_> = since_start.for_the_next_start().take(TOLD_MAX).cloned().collect();
        let changed: Vec<_> = change.keys.iter().take(TOLD_MAX).cloned().collect();
        info!(
            changed = changed.join(", "),
            next_start = next_start.join(", "),
            "configuration reloaded"
        );
        let mut notes = self.parts.board.notes();
        let count = notes.reload.count + 1;
        notes.reload = ReloadStatus { count, problems: Vec::new(), changed, next_start };
    }
}

fn listener_task(device: &Name) -> String {
    format!("listener {device}")
}
