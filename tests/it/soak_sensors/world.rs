//! The instruments, their connections, and random disturbances of them.

use std::io::Write as _;

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tidegate_sandbox::Sandbox;

use super::instruments::{FILES, Ports, Protocol, TOPICS, TTYS, configuration};
use crate::bus_modbus::Server;
use crate::support::{Broker, Site, Tty, free_port, join_ttys, write_private};

/// The longest wait for the answer to a push. The daemon answers when the reading is on the disk.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// A Modbus server that can be stopped and started.
struct Units {
    kind: &'static str,
    address: String,
    server: Option<Server>,
}

impl Units {
    fn new(kind: &'static str, address: String) -> Self {
        let server = Some(Server::start(kind, &address));
        Self { kind, address, server }
    }

    fn toggle(&mut self) {
        if self.server.take().is_none() {
            self.start();
        }
    }

    fn start(&mut self) {
        if self.server.is_none() {
            self.server = Some(Server::start(self.kind, &self.address));
        }
    }
}

/// A serial line that can be unplugged.
struct SerialLine {
    tty: Tty,
    is_plugged: bool,
}

impl SerialLine {
    fn toggle(&mut self) {
        if self.is_plugged {
            self.tty.unplug();
        } else {
            self.tty.plug();
        }
        self.is_plugged = !self.is_plugged;
    }
}

pub(super) struct World {
    pub(super) site: Site,
    lines: Vec<SerialLine>,
    broker: Broker,
    is_broker_running: bool,
    units: [Units; 2],
    push: String,
    http: reqwest::Client,
    count: u32,
}

impl World {
    pub(super) fn new(cloud: &Sandbox) -> Self {
        let broker = Broker::persistent();
        let ports = Ports { broker: broker.port(), modbus: free_port(), push: free_port() };
        let site = Site::new(cloud, &configuration(ports));
        write_private(&site.path("push-token"), "token\n");
        let line = |at| {
            let tty = Tty::plugged(site.path(&format!("tty{at}")));
            SerialLine { tty, is_plugged: true }
        };
        let lines = (0..TTYS.len()).map(line).collect();
        let server = site.path("meter-server");
        join_ttys(&site.path("meter"), &server);
        let units = [
            Units::new("tcp", ports.modbus.to_string()),
            Units::new("rtu", server.to_str().unwrap().to_owned()),
        ];
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().timeout(PUSH_TIMEOUT).build().unwrap();
        let push = format!("http://127.0.0.1:{}/push", ports.push);
        Self { site, lines, broker, is_broker_running: true, units, push, http, count: 0 }
    }

    /// Writes a new value of each instrument that is connected.
    pub(super) async fn write_values(&mut self) {
        self.count += 1;
        let n = self.count;
        for (line, protocol) in self.lines.iter_mut().zip(TTYS) {
            let needs_request = matches!(protocol, Protocol::Polled);
            if line.is_plugged && (!needs_request || line.tty.try_read_line().is_some()) {
                line.tty.write(protocol.message(n));
            }
        }
        for at in 0..FILES {
            std::fs::write(self.site.path(&format!("file{at}")), n.to_string()).unwrap();
        }
        let log = self.site.path("app.log");
        let mut file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        writeln!(file, "n={n}").unwrap();
        if self.is_broker_running {
            let topics = (0..TOPICS).map(|at| (format!("t/{at}"), n.to_string().into_bytes()));
            self.broker.publish(topics).await;
        }
        let push = self.http.post(&self.push).bearer_auth("token").body(format!("{{\"n\": {n}}}"));
        assert_eq!(push.send().await.unwrap().status(), 200);
    }

    /// Disconnects or reconnects something, or disturbs a line.
    pub(super) fn disturb(&mut self, rng: &mut StdRng) {
        match rng.random_range(0..12) {
            0..=5 => self.lines[rng.random_range(0..TTYS.len())].toggle(),
            6 => {
                let (at, log) = (rng.random_range(0..FILES), self.site.path("app.log"));
                std::fs::remove_file(self.site.path(&format!("file{at}"))).ok();
                std::fs::rename(&log, self.site.path("app.log.1")).ok();
            }
            7 | 8 => self.units[rng.random_range(0..2)].toggle(),
            9 | 10 => {
                let line = &mut self.lines[rng.random_range(0..TTYS.len())];
                let noise: Vec<u8> = (0..rng.random_range(1..64)).map(|_| rng.random()).collect();
                if line.is_plugged {
                    line.tty.try_write(&noise);
                }
            }
            _ if self.is_broker_running => {
                self.broker.stop();
                self.is_broker_running = false;
            }
            _ => self.start_broker(),
        }
    }

    fn start_broker(&mut self) {
        self.broker.restart();
        self.is_broker_running = true;
    }

    pub(super) fn repair_all(&mut self) {
        self.lines.iter_mut().filter(|line| !line.is_plugged).for_each(SerialLine::toggle);
        self.units.iter_mut().for_each(Units::start);
        if !self.is_broker_running {
            self.start_broker();
        }
    }
}
