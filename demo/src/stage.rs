//! Everything that takes part in the demo, set up and watched in one place.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tidegate_sandbox::{Device, Sandbox};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::daemon::{Daemon, Setup};
use crate::display::Display;
use crate::figures::Figures;
use crate::mqtt::{Instrument, Lamp, Spec};
use crate::order::Order;
use crate::status::Status;
use crate::tally::{Bus, Orders, Tally};
use crate::thermometer::Thermometer;
use crate::work::WorkDir;
use crate::{broker, weather};

/// The serial bus of the example configuration.
pub(crate) const PROBE: &str = "probe";
/// The MQTT bus of the example configuration.
pub(crate) const HOUSE: &str = "house";
/// The attributes that the example configuration maps, by device and bus. Others are not counted:
/// the daemon may report on itself.
const MAPPED: [(&str, &str, &[&str]); 3] = [
    ("gateway", PROBE, &["temperature", "humidity"]),
    ("greenhouse", HOUSE, &["temperature", "humidity", "battery"]),
    ("workshop", HOUSE, &["power"]),
];
const CLIMATE: Spec = Spec {
    client_id: "climate-sensor",
    topic: "sensors/greenhouse/climate",
    every: Duration::from_millis(300),
    readings: 3,
    payload: weather::climate,
};
const POWER: Spec = Spec {
    client_id: "power-meter",
    topic: "sensors/workshop/power",
    every: Duration::from_millis(250),
    readings: 1,
    payload: weather::power,
};
/// The longest that a run may take until the instruments stop, on any machine.
const LENGTH_MAX: Duration = Duration::from_secs(50);
/// How much of a run may follow after [`Stage::linger`].
const REST_MAX: Duration = Duration::from_secs(20);
/// How often conditions are checked and figures shown.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The cast. Dropping it ends everything, the daemon by force.
pub(crate) struct Stage {
    pub(crate) cloud: Sandbox,
    pub(crate) thermometer: Thermometer,
    pub(crate) daemon: Daemon,
    pub(crate) display: Display,
    climate: Instrument,
    power: Instrument,
    lamp: Lamp,
    lamp_orders: Vec<String>,
    fan_orders: Vec<String>,
    mqtt: SocketAddr,
    dark: bool,
    end: Instant,
    interrupt: Signal,
    terminate: Signal,
}

impl Stage {
    /// Starts everything; the instruments are plugged in, but silent.
    pub(crate) async fn set(program: PathBuf, work: &WorkDir, display: Display) -> Result<Self> {
        let cloud = Sandbox::start().await.context("cannot start the sandbox")?;
        let mqtt = broker::start().await?;
        let mut thermometer = Thermometer::new(work.path().join("probe.tty"));
        thermometer.plug()?;
        let gateway = find(&cloud, "gateway")?;
        work.configure(&gateway.key, &gateway.secret)?;
        let daemon = Daemon::start(Setup {
            program,
            directory: work.path().to_owned(),
            cloud_url: cloud.url().to_owned(),
            mqtt_port: mqtt.port(),
        })?;
        Ok(Self {
            cloud,
            thermometer,
            daemon,
            display,
            climate: Instrument::connect(mqtt, CLIMATE),
            power: Instrument::connect(mqtt, POWER),
            lamp: Lamp::connect(mqtt, "actuators/lamp/set"),
            lamp_orders: Vec::new(),
            fan_orders: Vec::new(),
            mqtt,
            dark: false,
            end: Instant::now() + LENGTH_MAX,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Lets all instruments send their readings, or silences them.
    pub(crate) fn talk(&self, on: bool) {
        self.thermometer.talk(on);
        self.climate.talk(on);
        self.power.talk(on);
    }

    /// Cuts the cloud off, or brings it back.
    pub(crate) fn go_dark(&mut self, dark: bool) {
        self.cloud.set_dark(dark);
        self.dark = dark;
    }

    /// Sends an order through the cloud and notes what the actuator should see of it.
    pub(crate) fn order(&mut self, order: Order) -> Result<()> {
        let sent = match order {
            Order::Fan(_) => &mut self.fan_orders,
            Order::Lamp(_) => &mut self.lamp_orders,
        };
        sent.push(order.on_the_wire());
        let device = &find(&self.cloud, order.device())?.device_id;
        self.cloud.send_command(device, order.command(), order.payload());
        Ok(())
    }

    /// Watches until `done` holds; fails with `what` after `limit`.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        done: impl Fn(&Figures) -> bool,
    ) -> Result<()> {
        match self.watch(limit, done).await? {
            (_, true) => Ok(()),
            (_, false) => bail!("{what}: not within {limit:?}"),
        }
    }

    /// Watches for `time`; returns what is seen at its end.
    pub(crate) async fn pause(&mut self, time: Duration) -> Result<Figures> {
        Ok(self.watch(time, |_| false).await?.0)
    }

    /// Watches until `done` holds (then `true`) or `limit` is over.
    pub(crate) async fn watch(
        &mut self,
        limit: Duration,
        done: impl Fn(&Figures) -> bool,
    ) -> Result<(Figures, bool)> {
        let deadline = Instant::now() + limit;
        loop {
            let figures = self.look().await?;
            let now = Instant::now();
            if done(&figures) {
                return Ok((figures, true));
            } else if now >= deadline {
                return Ok((figures, false));
            } else if now >= self.end {
                bail!("the demo's time is over: this machine is too slow for it");
            }
        }
    }

    /// Watches until the person has had enough.
    pub(crate) async fn linger(&mut self) -> Result<()> {
        loop {
            match self.look().await {
                Ok(_) => {}
                Err(error) if error.is::<Interrupted>() => break,
                Err(error) => return Err(error),
            }
        }
        self.end = Instant::now() + REST_MAX;
        Ok(())
    }

    /// Waits a moment, fails when somebody broke down or the person had enough, shows the figures.
    async fn look(&mut self) -> Result<Figures> {
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            _ = self.interrupt.recv() => bail!(Interrupted),
            _ = self.terminate.recv() => bail!(Interrupted),
        }
        self.daemon.check()?;
        self.thermometer.check()?;
        self.climate.check()?;
        self.power.check()?;
        self.lamp.check()?;
        let figures = self.figures().await;
        self.display.show(&figures);
        Ok(figures)
    }

    async fn figures(&self) -> Figures {
        let devices = self.cloud.devices().iter();
        let fan = self.thermometer.record().heard;
        let lamp = self.lamp.heard();
        Figures {
            dark: self.dark,
            status: self.daemon.status().await,
            stored: MAPPED.iter().map(|(name, _, attributes)| self.stored(name, attributes)).sum(),
            streams: devices.map(|device| self.cloud.streams_open(&device.device_id)).sum(),
            probe: self.thermometer.record(),
            climate: self.climate.readings(),
            power: self.power.readings(),
            house_settled: self.climate.is_settled() && self.power.is_settled(),
            lamp_listens: self.lamp.is_subscribed(),
            sent: self.fan_orders.len() + self.lamp_orders.len(),
            executed: fan.len() + lamp.len(),
            fan: fan.last().cloned(),
            lamp: lamp.last().cloned(),
        }
    }

    /// Counts everything, after the daemon has stopped and left `remains`.
    pub(crate) async fn tally(&self, remains: &Status) -> Tally {
        let figures = self.figures().await;
        let bus = |bus: &str, label: &str, produced, lines_cut| {
            let of_bus = MAPPED.iter().filter(|(_, its_bus, _)| *its_bus == bus);
            let ledger = remains.ledger.get(bus).cloned().unwrap_or_default();
            Bus {
                label: label.to_owned(),
                produced,
                lines_cut,
                received: ledger.received,
                stored: of_bus.map(|(name, _, attributes)| self.stored(name, attributes)).sum(),
                rejected: ledger.rejected,
                dropped: ledger.dropped,
            }
        };
        let orders = |label: &str, expected: &[String], seen| Orders {
            label: label.to_owned(),
            expected: expected.to_vec(),
            seen,
        };
        Tally {
            buses: vec![
                bus(
                    PROBE,
                    "probe (serial line)",
                    figures.probe.readings(),
                    figures.probe.lines_cut,
                ),
                bus(HOUSE, "house (MQTT)", figures.house(), 0),
            ],
            outbox: remains.outbox.readings,
            orders: vec![
                orders("fan (serial line)", &self.fan_orders, figures.probe.heard.clone()),
                orders("lamp (MQTT)", &self.lamp_orders, self.lamp.heard()),
            ],
        }
    }

    /// Distinct (time, attribute) of one device in the cloud, of the attributes given.
    fn stored(&self, device: &str, attributes: &[&str]) -> u64 {
        let Ok(device) = find(&self.cloud, device) else { return 0 };
        let states = self.cloud.states(&device.device_id);
        let of_state = |data: &serde_json::Map<String, Value>| {
            attributes.iter().filter(|attribute| data.contains_key(**attribute)).count()
        };
        states.iter().map(|state| of_state(&state.data)).sum::<usize>() as u64
    }

    /// What a person needs to play along.
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

/// The person pressed Ctrl-C, or asked for the end in another way.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

fn find<'a>(cloud: &'a Sandbox, name: &str) -> Result<&'a Device> {
    let device = cloud.devices().iter().find(|device| device.name == name);
    device.with_context(|| format!("the sandbox has no device {name}"))
}

#[cfg(test)]
mod tests {
    use tidegate_sandbox::default_devices;

    use super::*;

    #[test]
    fn mapped_attributes_are_declared_in_the_sandbox() {
        for (name, _, attributes) in MAPPED {
            let device = default_devices().into_iter().find(|device| device.name == name).unwrap();
            for attribute in attributes {
                let declared = device.attributes.iter().any(|it| it.name == *attribute);
                assert!(declared, "{name} does not declare {attribute}");
            }
        }
    }
}
