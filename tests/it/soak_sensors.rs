//! Twenty sensors of all kinds while plugs are pulled at random: nothing leaks, nothing sticks, the ledger adds up.
//!
//! Some seconds in the tests; `make soak-sensors` for half an hour. `SOAK_SECONDS` sets the time and
//! `SOAK_SEED` what happens in it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidegate_sandbox::Sandbox;

use crate::bus_modbus::Server;
use crate::support::{Broker, Daemon, Site, Tty, assert_content, cloud, values};

/// Of each kind that is there several times.
const TTYS: usize = 6;
const FILES: usize = 5;
const TOPICS: usize = 5;

/// What the daemon may grow by, in kB, once all is running: buffers that find their size. A leak of one reading in each round
/// shows in half an hour.
const GROWTH_KB_MAX: u64 = 12_000;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One bus with one sensor, whose attribute is the bus's name.
fn bus(config: &mut String, kind: &str, name: &str, options: &str, sensor: &str) {
    write!(
        config,
        "[bus.{kind}.{name}]\n{options}\n[sensor.{name}]\nbus = \"{name}\"\n{sensor}, attribute = \"{name}\" }}]\n"
    )
    .unwrap();
}

fn instruments(broker: u16, modbus: u16) -> String {
    let text = "format = \"text\"\nmap = [{ channel = \"value\"";
    let pairs = "format = \"key-value\"\nmap = [{ channel = \"n\"";
    let mut config = String::new();
    for at in 0..TTYS {
        bus(&mut config, "serial", &format!("tty{at}"), &format!("path = \"tty{at}\""), pairs);
    }
    for at in 0..FILES - 1 {
        let options = format!("paths = [\"file{at}\"]\ninterval = \"100 ms\"");
        bus(&mut config, "file", &format!("file{at}"), &options, text);
    }
    bus(
        &mut config,
        "file",
        "log",
        "paths = [\"app.log\"]\nmode = \"tail\"\ninterval = \"100 ms\"",
        pairs,
    );
    let run = "command = [\"/bin/echo\", \"n=1\"]\ninterval = \"500 ms\"";
    bus(&mut config, "exec", "run", run, pairs);
    let lines = "command = [\"/bin/sh\", \"-c\", \"for i in 1 2 3 4 5 6 7 8; do echo n=$i; sleep 0.1; done\"]\nmode = \"lines\"";
    bus(&mut config, "exec", "lines", lines, pairs);
    let look = "format = \"json\"\nmap = [{ channel = \"uptime_s\"";
    bus(&mut config, "system", "pi", "interval = \"200 ms\"", look);
    let read = "format = \"json\"\nmap = [{ channel = \"flow\"";
    let line = format!(
        "tcp = \"127.0.0.1:{modbus}\"\ninterval = \"100 ms\"\ntimeout = \"300 ms\"\n[bus.modbus.plc.unit.pump]\nid = 1\nregisters = [{{ channel = \"flow\", table = \"input\", address = 0, kind = \"f32\" }}]\n[bus.modbus.plc.unit.dead]\nid = 2\nregisters = [{{ channel = \"flow\", address = 0 }}]"
    );
    bus(&mut config, "modbus", "plc", &line, read);
    writeln!(config, "[bus.mqtt.house]\nhost = \"127.0.0.1\"\nport = {broker}").unwrap();
    for at in 0..TOPICS {
        writeln!(config, "[sensor.topic{at}]\nbus = \"house\"\ntopic = \"t/{at}\"\n{text}, attribute = \"topic{at}\" }}]").unwrap();
    }
    config
}

/// All attributes, of which each must go on to grow.
fn attributes() -> Vec<String> {
    let several = [("tty", TTYS), ("file", FILES - 1), ("topic", TOPICS)];
    let several = several
        .into_iter()
        .flat_map(|(name, count)| (0..count).map(move |at| format!("{name}{at}")));
    several.chain(["log", "run", "lines", "pi", "plc"].map(str::to_owned)).collect()
}

/// All that can be pulled.
struct World {
    site: Site,
    ttys: Vec<(Tty, bool)>,
    broker: Broker,
    is_broker_there: bool,
    modbus: (u16, Option<Server>),
    count: u64,
}

impl World {
    fn new(cloud: &Sandbox) -> Self {
        let broker = Broker::persistent();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let site = Site::new(cloud, &instruments(broker.port(), port));
        let ttys = (0..TTYS).map(|at| (Tty::plugged(site.path(&format!("tty{at}"))), true));
        let ttys = ttys.collect();
        let modbus = (port, Some(Server::start("tcp", &port.to_string())));
        Self { site, ttys, broker, is_broker_there: true, modbus, count: 0 }
    }

    /// Each instrument says something.
    async fn speak(&mut self) {
        self.count += 1;
        let n = self.count;
        for (tty, _) in self.ttys.iter_mut().filter(|(_, is_plugged)| *is_plugged) {
            tty.write(format!("n={n}\n"));
        }
        for at in 0..FILES - 1 {
            std::fs::write(self.site.path(&format!("file{at}")), n.to_string()).unwrap();
        }
        let log = self.site.path("app.log");
        let mut file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        std::io::Write::write_all(&mut file, format!("n={n}\n").as_bytes()).unwrap();
        if self.is_broker_there {
            let topics = (0..TOPICS).map(|at| (format!("t/{at}"), n.to_string().into_bytes()));
            self.broker.publish(topics).await;
        }
    }

    /// Pulls a plug, or puts it back.
    fn pull(&mut self, rng: &mut StdRng) {
        match rng.random_range(0..10) {
            0..=5 => {
                let at = rng.random_range(0..TTYS);
                self.toggle_tty(at);
            }
            6 => {
                let (at, log) = (rng.random_range(0..FILES - 1), self.site.path("app.log"));
                std::fs::remove_file(self.site.path(&format!("file{at}"))).ok();
                std::fs::rename(&log, self.site.path("app.log.1")).ok();
            }
            7 | 8 => match self.modbus.1.take() {
                Some(server) => drop(server),
                None => self.start_modbus(),
            },
            _ if self.is_broker_there => {
                self.broker.stop();
                self.is_broker_there = false;
            }
            _ => self.start_broker(),
        }
    }

    fn toggle_tty(&mut self, at: usize) {
        let (tty, is_plugged) = &mut self.ttys[at];
        if *is_plugged {
            tty.unplug();
        } else {
            tty.plug();
        }
        *is_plugged = !*is_plugged;
    }

    fn start_modbus(&mut self) {
        self.modbus.1 = Some(Server::start("tcp", &self.modbus.0.to_string()));
    }

    fn start_broker(&mut self) {
        self.broker.restart();
        self.is_broker_there = true;
    }

    fn mend_all(&mut self) {
        for at in 0..TTYS {
            if !self.ttys[at].1 {
                self.toggle_tty(at);
            }
        }
        if self.modbus.1.is_none() {
            self.start_modbus();
        }
        if !self.is_broker_there {
            self.start_broker();
        }
    }
}

/// Waits until every sensor has told something new.
async fn assert_all_tell(world: &mut World, cloud: &Sandbox) {
    let before: Vec<_> =
        attributes().into_iter().map(|name| (values(cloud, &name).len(), name)).collect();
    let deadline = now() + crate::support::PATIENCE;
    loop {
        world.speak().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let is_stuck = |(count, name): &&(usize, String)| values(cloud, name).len() <= *count;
        let stuck: Vec<_> = before.iter().filter(is_stuck).map(|(_, name)| name).collect();
        if stuck.is_empty() {
            return;
        }
        assert!(now() < deadline, "stuck: {stuck:?}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test waits in real time, because there are sockets"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn sensors_of_all_kinds_survive_pulled_plugs() {
    let seed = number("SOAK_SEED", 5);
    let seconds = number("SOAK_SECONDS", 8);
    eprintln!("SOAK_SEED={seed} SOAK_SECONDS={seconds}");
    let (cloud, mut rng) = (cloud().await, StdRng::seed_from_u64(seed));
    let mut world = World::new(&cloud);
    let daemon = world.site.start();
    assert_all_tell(&mut world, &cloud).await;
    let before_kb = daemon.memory_kb();
    let end = now() + Duration::from_secs(seconds);
    let mut pulled = 0;
    while now() < end {
        world.speak().await;
        if rng.random_bool(0.5) {
            world.pull(&mut rng);
            pulled += 1;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..300))).await;
    }
    world.mend_all();
    assert_all_tell(&mut world, &cloud).await;
    finish(daemon, &world, &cloud, (before_kb, pulled));
}

fn finish(daemon: Daemon, world: &World, cloud: &Sandbox, (before_kb, pulled): (u64, u32)) {
    let growth_kb = daemon.memory_kb().saturating_sub(before_kb);
    let lines = daemon.log().lines().filter(|line| line.contains("WARN")).count();
    assert!(daemon.terminate().success());
    let ledger = world.site.outbox()["ledger"].clone();
    let sum = |key: &str| -> u64 {
        ledger.as_object().unwrap().values().map(|account| account[key].as_u64().unwrap()).sum()
    };
    let (received, stored) = (sum("received"), sum("stored"));
    eprintln!(
        "{pulled} plugs pulled, {received} received, {stored} stored, {growth_kb} kB more, {lines} warnings"
    );
    for (bus, account) in ledger.as_object().unwrap() {
        eprintln!("{bus}: rejected {}, dropped {}", account["rejected"], account["dropped"]);
    }
    assert!(growth_kb < GROWTH_KB_MAX, "{growth_kb} kB more than at the beginning");
    assert_content(cloud);
}
