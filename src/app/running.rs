//! The running daemon: the parts that a reload starts, stops and changes. A reload does not affect
//! the outbox.
//!
//! A reload keeps the order of the data. Buses that change stop first, and end after their
//! acknowledgements. Their messages are then in the queue of the collector, before the new
//! pipeline, which is before the messages of the new buses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::commands::CommandTasks;
use super::{Reloads, buses, start_pipeline};
use crate::notify;
use crate::status::{Names, ReloadStatus, StatusRegistry};
use crate::tasks::audit::AuditRecorder;
use tidegate_bus::{BusContext, BusEvent, EventSender, GatewayChannels, Handles, LossCounters};
use tidegate_config::{Config, Difference, Entry, Problems};
use tidegate_delivery::reporter::Limits;
use tidegate_ingest::mapping::{DeviceSelector, ProducedAttributes};
use tidegate_model::{DeviceId, Name, io_problem};
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::supervisor::{Supervisor, TaskEnd};

/// How long a reload may take. An MQTT bus waits up to 5 s for its last acknowledgements, and the
/// collector waits for a slow disk. If the reload takes longer, the daemon restarts.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The file name of the last valid configuration, beside the outbox.
const LAST_GOOD: &str = "last-good.toml";

/// How long the daemon waits for the copy. A slower disk still writes it later.
const COPY_TIMEOUT: Duration = Duration::from_secs(5);

/// The first lines of the copy.
const LAST_GOOD_HEADER: &str = "\
# The last valid configuration of tidegate in one file, without secrets. The daemon does not read it
# by itself, because a start from an old copy would hide the mistake in the new files. To use it:
# tidegate run --config with this file, or compare it with the new files.
";

/// The most keys and the most problems of a reload that the log and the status list.
const KEYS_LISTED_MAX: usize = 50;

/// The parts that stay over reloads.
pub(super) struct Runtime {
    pub(super) supervisor: Supervisor,
    /// Stops all buses. Each bus has its own child token.
    pub(super) buses_stop: CancellationToken,
    pub(super) clock: SharedClock,
    pub(super) gateway_channels: GatewayChannels,
    pub(super) status: StatusRegistry,
    pub(super) channels: Channels,
}

/// The senders to the tasks that stay over reloads. These tasks end when it is dropped.
pub(super) struct Channels {
    pub(super) events: EventSender,
    pub(super) losses: LossCounters,
    pub(super) handles: watch::Sender<Handles>,
    pub(super) limits: watch::Sender<Limits>,
    pub(super) audit: AuditRecorder,
    pub(super) produced: watch::Sender<BTreeMap<DeviceId, ProducedAttributes>>,
    pub(super) commands: CommandTasks,
}

/// The running daemon.
pub(super) struct Running {
    runtime: Runtime,
    config: Config,
    /// The values in effect.
    entries: Arc<[Entry]>,
    /// The values at the start.
    started: Arc<[Entry]>,
    buses: BTreeMap<Name, CancellationToken>,
}

impl Running {
    pub(super) fn start(runtime: Runtime, config: Config, entries: Arc<[Entry]>) -> Self {
        let started = Arc::clone(&entries);
        let mut running = Self { runtime, started, entries, buses: BTreeMap::new(), config };
        let buses: BTreeSet<_> = running.config.buses.keys().cloned().collect();
        running.start_buses(&buses);
        running
    }

    /// Stores a copy of the valid configuration that was read from `file`, for the case that the
    /// original becomes invalid.
    pub(super) async fn keep_copy(&self, file: &Path) {
        let Some(path) = self.config.outbox.path.parent().map(|path| path.join(LAST_GOOD)) else {
            return;
        };
        let entries = tidegate_config::portable(&self.entries, file);
        let text = format!("{LAST_GOOD_HEADER}{}", tidegate_config::render(&entries));
        let written =
            tokio::task::spawn_blocking(move || tidegate_config::replace(&path, &text, 0o600));
        match tokio::time::timeout(COPY_TIMEOUT, written).await {
            Ok(Ok(Err(error))) => {
                warn!(error = io_problem(&error), "cannot write the copy of the configuration");
            }
            Ok(Ok(Ok(_)) | Err(_)) => {}
            Err(_) => warn!("the copy of the configuration is not written yet; the disk is slow"),
        }
    }

    /// Reports the daemon as ready.
    pub(super) fn set_ready(&self) {
        self.runtime.status.data().is_ready = true;
    }

    /// Waits until a task ends unexpectedly. Cancel-safe.
    pub(super) async fn watch(&mut self) -> TaskEnd {
        self.runtime.supervisor.watch().await
    }

    /// Drops the channels, so that all tasks end. Returns the supervisor, which waits for them.
    pub(super) fn into_supervisor(self) -> Supervisor {
        self.runtime.supervisor
    }

    /// Reads the configuration again and applies the differences. An invalid configuration is
    /// reported and changes nothing.
    ///
    /// # Errors
    /// If a part does not stop. The daemon must then end and start with the new configuration.
    pub(super) async fn reload(&mut self, reloads: &Reloads) -> anyhow::Result<()> {
        notify::reloading();
        let file = reloads.file.clone();
        let read = tokio::task::spawn_blocking(move || tidegate_config::explain(&file)).await?;
        let reloaded = match read {
            Ok((config, entries)) => {
                let applied = self.apply(config, entries, reloads);
                match tokio::time::timeout(RELOAD_TIMEOUT, applied).await {
                    Ok(Ok(())) => {
                        self.keep_copy(&reloads.file).await;
                        Ok(())
                    }
                    Ok(Err(end)) => Err(end.into()),
                    Err(_) => Err(anyhow::anyhow!(
                        "the reload did not finish within \
                        {RELOAD_TIMEOUT:?}"
                    )),
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
        for problem in problems.iter().take(KEYS_LISTED_MAX) {
            error!(%problem, "invalid configuration; keeping the current one");
        }
        let mut data = self.runtime.status.data();
        data.reload.count += 1;
        data.reload.problems =
            problems.iter().take(KEYS_LISTED_MAX).map(ToString::to_string).collect();
        data.reload.changed.clear();
    }

    async fn apply(
        &mut self,
        config: Config,
        entries: Vec<Entry>,
        reloads: &Reloads,
    ) -> Result<(), TaskEnd> {
        let difference = Difference::between(&self.config, &config);
        if difference.gateway {
            warn!("losant.device_id differs; the reload applies nothing until the next start");
            let changed = tidegate_config::changed_keys(&self.entries, &entries);
            self.report(&difference, &changed, &changed);
            return Ok(());
        }
        if difference.log_level
            && let Err(error) = reloads.log.set(&config.log_level)
        {
            error!(%error, "cannot change the log level");
        }
        // A reload applies only these settings. The others keep their values from the start, so
        // each later reload reports them again as different.
        self.config.log_level = config.log_level;
        self.config.reporter = config.reporter;
        self.config.audit = config.audit;
        self.config.devices = config.devices;
        self.config.buses = config.buses;
        self.config.actuators = config.actuators;
        self.config.commands = config.commands;
        crate::logging::log_warnings(&config.warnings);
        let changed = tidegate_config::changed_keys(&self.entries, &entries);
        let since_start = tidegate_config::changed_keys(&self.started, &entries);
        self.entries = entries.into();
        self.runtime.status.configure(names(&self.config));
        if difference.reporter {
            self.runtime.channels.limits.send_replace(self.config.reporter.clone());
        }
        if difference.audit {
            self.runtime.channels.audit.set(self.config.audit.clone());
        }
        // Even if nothing differs here: the attributes in Losant may have changed.
        self.runtime.channels.produced.send_replace(produced(&self.config));
        let connections = difference.connections();
        self.stop_buses(&connections).await?;
        for bus in difference.pipelines() {
            let pipeline = self.config.buses.get(bus);
            let devices = &self.config.devices;
            let pipeline = pipeline
                .map(|bus| start_pipeline(bus.sensors.clone(), devices, &self.runtime.clock));
            let event = BusEvent::Pipeline(bus.clone(), pipeline.map(Box::new));
            // If the collector has ended, the supervisor reports it.
            self.runtime.channels.events.send(event).await.unwrap_or_default();
        }
        self.start_buses(&connections);
        if difference.commands {
            let Runtime { supervisor, channels, .. } = &mut self.runtime;
            channels.commands.reload(&self.config, &difference.actuators, supervisor).await?;
        }
        self.report(&difference, &changed, &since_start);
        Ok(())
    }

    /// Stops these buses.
    async fn stop_buses(&mut self, names: &BTreeSet<Name>) -> Result<(), TaskEnd> {
        let mut ending = BTreeSet::new();
        for name in names {
            self.runtime.channels.handles.send_modify(|handles| drop(handles.remove(name)));
            if let Some(stop) = self.buses.remove(name) {
                stop.cancel();
                ending.insert(format!("bus {name}"));
            }
        }
        self.runtime.supervisor.ended(&ending).await
    }

    /// Starts those of the named buses that are configured.
    fn start_buses(&mut self, names: &BTreeSet<Name>) {
        let Runtime { supervisor, buses_stop, clock, gateway_channels, status, channels } =
            &mut self.runtime;
        for (name, bus) in self.config.buses.iter().filter(|(name, _)| names.contains(*name)) {
            status.reset_bus(name);
            let stop = buses_stop.child_token();
            let context = BusContext {
                bus: name.clone(),
                sensors: bus.sensors.clone(),
                events: channels.events.clone(),
                losses: channels.losses.clone(),
                monitor: Arc::new(status.clone()),
                clock: Arc::clone(clock),
                stop: stop.clone(),
                gateway_channels: Arc::clone(gateway_channels),
                is_inspection: false,
            };
            let handle = buses::spawn_bus(supervisor, &bus.kind, context);
            channels.handles.send_modify(|handles| drop(handles.insert(name.clone(), handle)));
            self.buses.insert(name.clone(), stop);
        }
    }

    /// Logs what a reload changed, and what waits for the next start, and puts it into the status.
    fn report(
        &self,
        difference: &Difference,
        changed: &BTreeSet<String>,
        since_start: &BTreeSet<String>,
    ) {
        let next_start = difference.keys_for_next_start(since_start);
        let listed = |keys: &BTreeSet<String>| -> Vec<_> {
            keys.iter().take(KEYS_LISTED_MAX).cloned().collect()
        };
        let (changed, next_start) = (listed(changed), listed(&next_start));
        info!(
            changed = changed.join(", "),
            next_start = next_start.join(", "),
            "configuration reloaded"
        );
        let mut data = self.runtime.status.data();
        let count = data.reload.count + 1;
        data.reload = ReloadStatus { count, problems: Vec::new(), changed, next_start };
    }
}

/// Returns the attributes that the configuration certainly produces, for each device that it may
/// send to.
pub(super) fn produced(config: &Config) -> BTreeMap<DeviceId, ProducedAttributes> {
    let mut produced = crate::attributes::production(config).certain();
    let mut sensors = config.buses.values().flat_map(|bus| &bus.sensors);
    if sensors.any(|sensor| matches!(sensor.device, DeviceSelector::ByTemplate(_))) {
        for device in config.devices.values() {
            produced.entry(*device).or_default();
        }
    }
    produced
}

/// Returns the names of this configuration for the status.
pub(super) fn names(config: &Config) -> Names {
    let devices = config.devices.iter();
    Names {
        devices: devices.map(|(name, device)| (*device, name.clone())).collect(),
        buses: config.buses.keys().cloned().collect(),
        actuators: config.actuators.iter().map(|actuator| actuator.name.clone()).collect(),
    }
}
