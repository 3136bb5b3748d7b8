//! A world for one measurement: a broker, the sink, and the program between them.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use crate::generator::{Generator, Load};
use crate::peer::{Peer, Site, Tools};
use crate::process::{Program, Usage};
use crate::sequence::WARM_UP;
use crate::sink::Sink;

/// The longest time until a program passes messages on.
const WARM_UP_TIME: Duration = Duration::from_secs(60);

/// The messages of a warm-up, which are repeated each second until some arrive.
const WARM_UP_MESSAGES: u64 = 20;

/// The rest between the warm-up and a measurement.
const REST: Duration = Duration::from_secs(2);

/// The broker hands out no more messages when it wrote at most [`IDLE_BYTES`] for this long. It is
/// longer than the default `sync_interval` of tidegate, which may acknowledge nothing for 5 s.
const IDLE_TIME: Duration = Duration::from_secs(8);

/// The bytes that an idle broker may write: answers to pings.
const IDLE_BYTES: u64 = 100;

/// A broker on a free port, without persistence.
pub(crate) struct Broker {
    /// Its port.
    pub(crate) port: u16,
    program: Program,
}

impl Broker {
    /// Starts mosquitto with so many messages in flight to each client.
    ///
    /// # Errors
    ///
    /// mosquitto is not installed, or does not listen after 10 s.
    pub(crate) fn start(directory: &Path, inflight: u16) -> anyhow::Result<Self> {
        let port = free_port()?;
        let file = directory.join("mosquitto.conf");
        let settings = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             set_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages {inflight}\n"
        );
        fs::write(&file, settings)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("mosquitto");
        // Debian keeps it where an ordinary user's path does not lead.
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin"));
        command.arg("-c").arg(file);
        let program = Program::start(&mut command, &directory.join("mosquitto.log"))?;
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() > Duration::from_secs(10) {
                bail!("mosquitto does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { port, program })
    }

    /// Waits until the broker hands out no more messages, at most for `longest`.
    pub(crate) fn wait_until_idle(&self, longest: Duration) {
        let (started, mut output) = (Instant::now(), self.program.output());
        let mut changed = started;
        while changed.elapsed() < IDLE_TIME && started.elapsed() < longest {
            thread::sleep(Duration::from_millis(100));
            let new = self.program.output();
            if new > output + IDLE_BYTES {
                (output, changed) = (new, Instant::now());
            }
        }
    }
}

/// A broker, a sink and a program that passes messages on.
pub(crate) struct World {
    /// The broker.
    pub(crate) broker: Broker,
    /// The sink.
    pub(crate) sink: Sink,
    program: Program,
    peer: Peer,
    tools: Tools,
    site: Site,
}

impl World {
    /// Starts all parts in a new directory, and waits until messages pass.
    ///
    /// # Errors
    ///
    /// A part does not start, or no message arrives within a minute.
    pub(crate) fn start(
        peer: Peer,
        tools: &Tools,
        directory: &Path,
        inflight: u16,
        retry_max: &'static str,
    ) -> anyhow::Result<Self> {
        let broker = Broker::start(directory, inflight)?;
        let sink = Sink::start()?;
        let directory = directory.join("peer");
        let site = Site { directory, broker: broker.port, sink: sink.port(), retry_max };
        let program = peer.start(tools, &site)?;
        let world = Self { broker, sink, program, peer, tools: tools.clone(), site };
        world.warm_up()?;
        Ok(world)
    }

    /// Returns what the program uses.
    pub(crate) fn usage(&self) -> Usage {
        self.program.usage()
    }

    /// Publishes messages to the broker.
    pub(crate) fn publish(&self, load: Load) -> std::io::Result<Generator> {
        Generator::start(self.broker.port, load, self.sink.progress())
    }

    /// Kills the program, and starts it again after a second.
    pub(crate) fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.program.kill();
        thread::sleep(Duration::from_secs(1));
        self.program = self.peer.start(&self.tools, &self.site)?;
        Ok(())
    }

    fn warm_up(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let range = WARM_UP..WARM_UP + WARM_UP_MESSAGES;
        while self.sink.missing(range.clone()) == WARM_UP_MESSAGES {
            if started.elapsed() > WARM_UP_TIME {
                let log = self.site.directory.join("log");
                bail!("{} passes no message on; see {}", self.peer.name(), log.display());
            }
            let load = Load {
                first: WARM_UP,
                count: WARM_UP_MESSAGES,
                rate: None,
                lead: u64::MAX,
                time: Duration::from_secs(5),
            };
            self.publish(load)?.finish()?;
            thread::sleep(Duration::from_secs(2));
        }
        thread::sleep(REST);
        Ok(())
    }
}

/// Creates an empty directory for the next measurement of a program.
pub(crate) fn fresh_directory(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let directory = root.join("work").join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory).context("cannot create a directory for a measurement")?;
    Ok(fs::canonicalize(directory)?)
}

/// Returns a local port that no program uses.
pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
