//! The testbed: the cloud sandbox, the broker, the instruments, the actuators and the daemon.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tidegate_sandbox::{Device, Sandbox};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::command::ActuatorCommand;
use crate::daemon::{Daemon, Setup};
use crate::display::Display;
use crate::example_config::{HOUSE, MAPPINGS, Mapping, PROBE};
use crate::mqtt::{Lamp, MqttSensor, SensorSpec};
use crate::report::{ActuatorReport, BusReport, Report};
use crate::snapshot::Snapshot;
use crate::status::Status;
use crate::thermometer::Thermometer;
use crate::work_dir::WorkDir;
use crate::{broker, measurements};

const CLIMATE: SensorSpec = SensorSpec {
    client_id: "climate-sensor",
    topic: "sensors/greenhouse/climate",
    interval: Duration::from_millis(300),
    readings: 3,
    payload: measurements::climate,
};
const POWER: SensorSpec = SensorSpec {
    client_id: "power-meter",
    topic: "sensors/workshop/power",
    interval: Duration::from_millis(250),
    readings: 1,
    payload: measurements::power,
};
/// Longest duration from the start until the instruments stop.
const DURATION_MAX: Duration = Duration::from_secs(50);
/// Longest duration after [`Testbed::wait_for_interrupt`].
const SHUTDOWN_MAX: Duration = Duration::from_secs(20);
/// Interval at which conditions are checked and the display is updated.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// All parts of the demo. Dropping it stops them all and kills the daemon.
pub(crate) struct Testbed {
    pub(crate) cloud: Sandbox,
    pub(crate) thermometer: Thermometer,
    pub(crate) daemon: Daemon,
    pub(crate) display: Display,
    climate: MqttSensor,
    power: MqttSensor,
    lamp: Lamp,
    /// The texts that the lamp must receive, in order.
    lamp_commands: Vec<String>,
    /// The texts that the fan must receive, in order.
    fan_commands: Vec<String>,
    mqtt: SocketAddr,
    outage: bool,
    end: Instant,
    interrupt: Signal,
    terminate: Signal,
}

/// The result of [`Testbed::watch`].
pub(crate) struct Watched {
    /// The last snapshot.
    pub(crate) snapshot: Snapshot,
    /// Whether the condition held before the time limit.
    pub(crate) condition_met: bool,
}

impl Testbed {
    /// Starts all parts. The instruments are connected but do not send yet.
    pub(crate) async fn start(
        program: PathBuf,
        work_dir: &WorkDir,
        display: Display,
    ) -> Result<Self> {
        let cloud = Sandbox::start().await.context("cannot start the sandbox")?;
        let mqtt = broker::start().await?;
        let mut thermometer = Thermometer::new(work_dir.path().join("probe.tty"));
        thermometer.plug_in()?;
        let gateway = find_device(&cloud, "gateway")?;
        work_dir.configure(&gateway.key, &gateway.secret)?;
        let daemon = Daemon::start(Setup {
            program,
            directory: work_dir.path().to_owned(),
            cloud_url: cloud.url().to_owned(),
            mqtt_port: mqtt.port(),
        })?;
        Ok(Self {
            cloud,
            thermometer,
            daemon,
            display,
            climate: MqttSensor::connect(mqtt, CLIMATE),
            power: MqttSensor::connect(mqtt, POWER),
            lamp: Lamp::connect(mqtt, "actuators/lamp/set"),
            lamp_commands: Vec::new(),
            fan_commands: Vec::new(),
            mqtt,
            outage: false,
            end: Instant::now() + DURATION_MAX,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Starts or stops the sending of all instruments.
    pub(crate) fn set_sending(&self, on: bool) {
        self.thermometer.set_sending(on);
        self.climate.set_sending(on);
        self.power.set_sending(on);
    }

    /// Makes the cloud unreachable or reachable again.
    pub(crate) fn set_outage(&mut self, outage: bool) {
        self.cloud.set_offline(outage);
        self.outage = outage;
    }

    /// Sends a command through the cloud and records what the actuator must receive.
    pub(crate) fn send(&mut self, command: ActuatorCommand) -> Result<()> {
        let sent = match command {
            ActuatorCommand::Fan(_) => &mut self.fan_commands,
            ActuatorCommand::Lamp(_) => &mut self.lamp_commands,
        };
        sent.push(command.actuator_text());
        let device = &find_device(&self.cloud, command.device())?.device_id;
        self.cloud.send_command(device, command.name(), command.payload());
        Ok(())
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    ///
    /// When it does not hold within `limit`; the error names it as `description`. When a part of
    /// the demo fails, or the user interrupts it.
    pub(crate) async fn wait_until(
        &mut self,
        description: &str,
        limit: Duration,
        condition: impl Fn(&Snapshot) -> bool,
    ) -> Result<()> {
        if !self.watch(limit, condition).await?.condition_met {
            bail!("timed out after {limit:?}, waiting until {description}");
        }
        Ok(())
    }

    /// Waits for `duration` and returns the last snapshot.
    pub(crate) async fn pause(&mut self, duration: Duration) -> Result<Snapshot> {
        Ok(self.watch(duration, |_| false).await?.snapshot)
    }

    /// Waits until `condition` holds, but not longer than `limit`.
    pub(crate) async fn watch(
        &mut self,
        limit: Duration,
        condition: impl Fn(&Snapshot) -> bool,
    ) -> Result<Watched> {
        let deadline = Instant::now() + limit;
        loop {
            let snapshot = self.poll().await?;
            let now = Instant::now();
            if condition(&snapshot) {
                return Ok(Watched { snapshot, condition_met: true });
            } else if now >= deadline {
                return Ok(Watched { snapshot, condition_met: false });
            } else if now >= self.end {
                bail!("the demo exceeds its time limit: this machine is too slow for it");
            }
        }
    }

    /// Waits until the user presses Ctrl-C.
    pub(crate) async fn wait_for_interrupt(&mut self) -> Result<()> {
        loop {
            match self.poll().await {
                Ok(_) => {}
                Err(error) if error.is::<Interrupted>() => break,
                Err(error) => return Err(error),
            }
        }
        self.end = Instant::now() + SHUTDOWN_MAX;
        Ok(())
    }

    /// Waits for one poll interval, checks all parts, and shows a new snapshot.
    async fn poll(&mut self) -> Result<Snapshot> {
        tokio::select! {
            () = sleep(POLL_INTERVAL) => {}
            _ = self.interrupt.recv() => bail!(Interrupted),
            _ = self.terminate.recv() => bail!(Interrupted),
        }
        self.daemon.check()?;
        self.thermometer.check()?;
        self.climate.check()?;
        self.power.check()?;
        self.lamp.check()?;
        let snapshot = self.snapshot().await;
        self.display.show(&snapshot);
        Ok(snapshot)
    }

    async fn snapshot(&self) -> Snapshot {
        let devices = self.cloud.devices().iter();
        let fan = self.thermometer.activity().received;
        let lamp = self.lamp.received();
        Snapshot {
            outage: self.outage,
            status: self.daemon.status().await,
            stored: MAPPINGS.iter().map(|mapping| self.stored(mapping)).sum(),
            streams: devices.map(|device| self.cloud.streams_open(&device.device_id)).sum(),
            thermometer: self.thermometer.activity(),
            climate: self.climate.readings(),
            power: self.power.readings(),
            mqtt_acknowledged: self.climate.all_acknowledged() && self.power.all_acknowledged(),
            lamp_subscribed: self.lamp.is_subscribed(),
            commands_sent: self.fan_commands.len() + self.lamp_commands.len(),
            commands_received: fan.len() + lamp.len(),
            fan: fan.last().cloned(),
            lamp: lamp.last().cloned(),
        }
    }

    /// Counts all readings and commands, after the daemon has stopped and left `remaining`.
    pub(crate) async fn report(&self, remaining: &Status) -> Report {
        let snapshot = self.snapshot().await;
        let bus = |bus: &str, label: &str| {
            let mappings = MAPPINGS.iter().filter(|mapping| mapping.bus == bus);
            let ledger = remaining.ledger.get(bus).cloned().unwrap_or_default();
            BusReport {
                label: label.to_owned(),
                received: ledger.received,
                stored: mappings.map(|mapping| self.stored(mapping)).sum(),
                rejected: ledger.rejected,
                dropped: ledger.dropped,
                ..BusReport::default()
            }
        };
        let probe = BusReport {
            produced: snapshot.thermometer.readings(),
            lines_truncated: snapshot.thermometer.lines_truncated,
            ..bus(PROBE, "probe (serial line)")
        };
        let house = BusReport { produced: snapshot.mqtt_readings(), ..bus(HOUSE, "house (MQTT)") };
        let actuator = |label: &str, sent: &[String], received| ActuatorReport {
            label: label.to_owned(),
            sent: sent.to_vec(),
            received,
        };
        Report {
            buses: vec![probe, house],
            outbox: remaining.outbox.readings,
            actuators: vec![
                actuator("fan (serial line)", &self.fan_commands, snapshot.thermometer.received),
                actuator("lamp (MQTT)", &self.lamp_commands, self.lamp.received()),
            ],
        }
    }

    /// Counts the distinct pairs of time and attribute that the cloud has stored for a mapping.
    fn stored(&self, mapping: &Mapping) -> u64 {
        let Ok(device) = find_device(&self.cloud, mapping.device) else { return 0 };
        let states = self.cloud.states(&device.device_id);
        let mapped = |data: &serde_json::Map<String, Value>| {
            mapping.attributes.iter().filter(|attribute| data.contains_key(**attribute)).count()
        };
        states.iter().map(|state| mapped(&state.data)).sum::<usize>() as u64
    }

    /// Returns the addresses and the token that a user needs to try the parts.
    pub(crate) fn addresses(&self) -> String {
        let mut text = format!(
            "  cloud        {}\n  application  {}\n  API token    {}\n  MQTT broker  mqtt://{}\n",
            self.cloud.url(),
            self.cloud.application_id(),
            self.cloud.api_token(),
            self.mqtt
        );
        for device in self.cloud.devices() {
            writeln!(text, "  {:<11}  {}", device.name, device.device_id).ok();
        }
        text
    }
}

/// The user interrupted the demo with Ctrl-C or SIGTERM.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

fn find_device<'a>(cloud: &'a Sandbox, name: &str) -> Result<&'a Device> {
    let device = cloud.devices().iter().find(|device| device.name == name);
    device.with_context(|| format!("the sandbox has no device {name}"))
}
