//! All that the instruments hang on, and all that can be pulled.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tidegate_sandbox::Sandbox;

use super::instruments::{FILES, Ports, TOPICS, TTYS, Tongue, configuration};
use crate::bus_modbus::Server;
use crate::support::{Broker, Site, Tty, join_ttys, write_private};

/// How long a push waits for its answer, which comes when the reading is on the disk.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// A Modbus server, while it is there.
struct Units {
    kind: &'static str,
    place: String,
    server: Option<Server>,
}

impl Units {
    fn new(kind: &'static str, place: String) -> Self {
        let server = Some(Server::start(kind, &place));
        Self { kind, place, server }
    }

    fn toggle(&mut self) {
        if self.server.take().is_none() {
            self.mend();
        }
    }

    fn mend(&mut self) {
        if self.server.is_none() {
            self.server = Some(Server::start(self.kind, &self.place));
        }
    }
}

pub(super) struct World {
    pub(super) site: Site,
    ttys: Vec<(Tty, bool)>,
    broker: Broker,
    is_broker_there: bool,
    units: [Units; 2],
    push: String,
    http: reqwest::Client,
    count: u32,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl World {
    pub(super) fn new(cloud: &Sandbox) -> Self {
        let broker = Broker::persistent();
        let ports = Ports { broker: broker.port(), modbus: free_port(), push: free_port() };
        let site = Site::new(cloud, &configuration(ports));
        write_private(&site.path("push-token"), "token\n");
        let ttys = (0..TTYS.len()).map(|at| (Tty::plugged(site.path(&format!("tty{at}"))), true));
        let ttys = ttys.collect();
        let server = site.path("meter-server");
        join_ttys(&site.path("meter"), &server);
        let units = [
            Units::new("tcp", ports.modbus.to_string()),
            Units::new("rtu", server.to_str().unwrap().to_owned()),
        ];
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().timeout(PUSH_TIMEOUT).build().unwrap();
        let push = format!("http://127.0.0.1:{}/push", ports.push);
        Self { site, ttys, broker, is_broker_there: true, units, push, http, count: 0 }
    }

    /// Each instrument says something.
    pub(super) async fn speak(&mut self) {
        self.count += 1;
        let n = self.count;
        for ((tty, is_plugged), tongue) in self.ttys.iter_mut().zip(TTYS) {
            let is_asked = || !matches!(tongue, Tongue::Answer);
            if *is_plugged && (is_asked() || tty.try_read_line().is_some()) {
                tty.write(tongue.say(n));
            }
        }
        for at in 0..FILES {
            std::fs::write(self.site.path(&format!("file{at}")), n.to_string()).unwrap();
        }
        let log = self.site.path("app.log");
        let mut file = std::fs::File::options().create(true).append(true).open(log).unwrap();
        writeln!(file, "n={n}").unwrap();
        if self.is_broker_there {
            let topics = (0..TOPICS).map(|at| (format!("t/{at}"), n.to_string().into_bytes()));
            self.broker.publish(topics).await;
        }
        let push = self.http.post(&self.push).bearer_auth("token").body(format!("{{\"n\": {n}}}"));
        assert_eq!(push.send().await.unwrap().status(), 200);
    }

    /// Pulls a plug, or puts it back, or disturbs a line.
    pub(super) fn pull(&mut self, rng: &mut StdRng) {
        match rng.random_range(0..12) {
            0..=5 => self.toggle_tty(rng.random_range(0..TTYS.len())),
            6 => {
                let (at, log) = (rng.random_range(0..FILES), self.site.path("app.log"));
                std::fs::remove_file(self.site.path(&format!("file{at}"))).ok();
                std::fs::rename(&log, self.site.path("app.log.1")).ok();
            }
            7 | 8 => self.units[rng.random_range(0..2)].toggle(),
            9 | 10 => {
                let (tty, is_plugged) = &mut self.ttys[rng.random_range(0..TTYS.len())];
                let noise: Vec<u8> = (0..rng.random_range(1..64)).map(|_| rng.random()).collect();
                if *is_plugged {
                    tty.try_write(&noise);
                }
            }
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

    fn start_broker(&mut self) {
        self.broker.restart();
        self.is_broker_there = true;
    }

    pub(super) fn mend_all(&mut self) {
        for at in 0..TTYS.len() {
            if !self.ttys[at].1 {
                self.toggle_tty(at);
            }
        }
        self.units.iter_mut().for_each(Units::mend);
        if !self.is_broker_there {
            self.start_broker();
        }
    }
}
