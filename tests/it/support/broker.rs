//! A real mosquitto, and its clients.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PublishProperties;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, v5};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{TIMEOUT, free_port, wait_until};

/// The number of ports that are tried.
const PORTS_MAX: usize = 5;

/// A mosquitto on a port of its own.
pub(crate) struct Broker {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
    /// Whether the broker keeps its sessions over a restart.
    is_persistent: bool,
    /// More lines of the configuration, such as another listener.
    extra: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_as(false)
    }

    /// Starts a broker that keeps its sessions over an orderly restart.
    pub(crate) fn persistent() -> Self {
        Self::start_as(true)
    }

    /// Starts a broker with more lines of configuration.
    pub(crate) fn start_with(extra: String) -> Self {
        Self::launch(false, extra)
    }

    fn start_as(is_persistent: bool) -> Self {
        Self::launch(is_persistent, String::new())
    }

    fn launch(is_persistent: bool, extra: String) -> Self {
        let directory = TempDir::new().unwrap();
        let mut broker = Self { directory, port: 0, process: None, is_persistent, extra };
        // Another process may take the port between its choice and its use.
        for _ in 0..PORTS_MAX {
            broker.port = free_port();
            if broker.try_restart() {
                return broker;
            }
        }
        panic!("mosquitto does not start: {}", broker.log());
    }

    /// Returns a broker that does not run yet.
    pub(crate) fn absent() -> Self {
        let mut broker = Self::start();
        broker.stop();
        broker
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn restart(&mut self) {
        assert!(self.try_restart(), "mosquitto does not start: {}", self.log());
    }

    /// Starts mosquitto. Returns `false` if it ends at once.
    fn try_restart(&mut self) -> bool {
        let file = self.directory.path().join("mosquitto.conf");
        // Without the last line mosquitto keeps at most 1,000 messages for a client.
        let mut config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n",
            self.port
        );
        if self.is_persistent {
            let directory = self.directory.path().display();
            // If root starts mosquitto, it runs as the user mosquitto, which could not write here.
            write!(config, "persistence true\npersistence_location {directory}/\nuser root\n")
                .unwrap();
        }
        config.push_str(&self.extra);
        std::fs::write(&file, config).unwrap();
        let program = Path::new("/usr/sbin/mosquitto");
        let program = if program.exists() { program } else { Path::new("mosquitto") };
        let log = File::create(self.directory.path().join("log")).unwrap();
        let process = Command::new(program).arg("-c").arg(&file).stderr(log).spawn();
        let process = self
            .process
            .insert(process.expect("cannot run mosquitto: tests/prepare.sh installs it"));
        let mut has_ended = false;
        wait_until("mosquitto listens", || {
            has_ended = process.try_wait().unwrap().is_some();
            has_ended || TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        !has_ended
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// Ends the broker with SIGTERM, so that it saves its sessions, and starts it again.
    pub(crate) fn restart_in_order(&mut self) {
        let mut process = self.process.take().unwrap();
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        process.wait().unwrap();
        self.restart();
    }

    fn options(&self, client_id: &str) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, "127.0.0.1", self.port);
        options.set_max_packet_size(64 << 20, 64 << 20).set_keep_alive(Duration::from_secs(5));
        options
    }

    /// Publishes messages with QoS 1. Returns when the broker has acknowledged all of them.
    pub(crate) async fn publish(&self, messages: impl IntoIterator<Item = (String, Vec<u8>)>) {
        self.publish_as(messages, false).await;
    }

    pub(crate) async fn publish_as(
        &self,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
        retain: bool,
    ) {
        let (client, mut connection) = AsyncClient::new(self.options("publisher"), 8);
        for (topic, payload) in messages {
            client.try_publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
            acknowledged(&mut connection).await;
        }
    }

    /// Publishes a message with MQTT 5 and QoS 1 that expires after `expiry_s` seconds.
    pub(crate) async fn publish_expiring(&self, topic: &str, payload: &str, expiry_s: u32) {
        let options = v5::MqttOptions::new("expiring", "127.0.0.1", self.port);
        let (client, mut connection) = v5::AsyncClient::new(options, 8);
        let message_expiry_interval = Some(expiry_s);
        let properties = PublishProperties { message_expiry_interval, ..Default::default() };
        let (qos, payload) = (v5::mqttbytes::QoS::AtLeastOnce, payload.to_owned());
        client.try_publish_with_properties(topic, qos, false, payload, properties).unwrap();
        let is_answer = |event| matches!(event, v5::Event::Incoming(v5::Incoming::PubAck(_)));
        while !is_answer(connection.poll().await.unwrap()) {}
    }

    /// Publishes the numbers from 0 on with QoS 1, one per `interval`, until
    /// [`finish`](Publisher::finish).
    pub(crate) fn publish_numbers(&self, topic: &str, interval: Duration) -> Publisher {
        let (client, mut connection) = AsyncClient::new(self.options("steady"), 8);
        let (finish, topic) = (Arc::new(AtomicBool::new(false)), topic.to_owned());
        let is_finished = Arc::clone(&finish);
        let publish = async move {
            let mut ticks = tokio::time::interval(interval);
            let mut count = 0;
            while !is_finished.load(Ordering::Relaxed) {
                ticks.tick().await;
                client.try_publish(&topic, QoS::AtLeastOnce, false, count.to_string()).unwrap();
                acknowledged(&mut connection).await;
                count += 1;
            }
            count
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Publisher { finish, thread: std::thread::spawn(move || runtime.block_on(publish)) }
    }

    /// Publishes the messages of a pattern with QoS 1 until [`finish`](PatternPublisher::finish).
    ///
    /// Up to [`AHEAD_MAX`] messages are unacknowledged at a time.
    pub(crate) fn publish_pattern(&self, pattern: Pattern) -> PatternPublisher {
        let (client, connection) = AsyncClient::new(self.options("pattern"), AHEAD_MAX);
        let finish = Arc::new(AtomicBool::new(false));
        let publish = pattern.publish(client, connection, Arc::clone(&finish));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        PatternPublisher { finish, thread: std::thread::spawn(move || runtime.block_on(publish)) }
    }

    /// Subscribes to a filter. Returns when the broker has confirmed the subscription.
    pub(crate) async fn subscribe(&self, filter: &str) -> Subscriber {
        let (client, mut connection) = AsyncClient::new(self.options("subscriber"), 8);
        client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
        while !matches!(connection.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
        Subscriber { _client: client, connection }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until the broker has acknowledged a message.
async fn acknowledged(connection: &mut EventLoop) {
    let acknowledged = async {
        while !matches!(connection.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {}
    };
    tokio::time::timeout(TIMEOUT, acknowledged).await.expect("the broker acknowledges");
}

/// A client that publishes on a thread of its own.
pub(crate) struct Publisher {
    finish: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Publisher {
    /// Ends the client. Returns how many messages the broker has acknowledged.
    pub(crate) fn finish(self) -> u64 {
        self.finish.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The most messages that are unacknowledged at a time.
const AHEAD_MAX: usize = 100;

/// A pattern of messages: message `n` of each topic, then message `n` + 1.
pub(crate) struct Pattern {
    pub(crate) topics: Vec<String>,
    pub(crate) payload: fn(u64) -> Vec<u8>,
    /// Messages per second, over all topics.
    pub(crate) per_second: u32,
}

impl Pattern {
    /// Returns how many messages of each topic the broker has acknowledged.
    async fn publish(
        self,
        client: AsyncClient,
        mut connection: EventLoop,
        finish: Arc<AtomicBool>,
    ) -> Vec<u64> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.per_second);
        let (mut counts, mut turn, mut in_flight) = (vec![0; self.topics.len()], 0, 0);
        loop {
            let is_finished = finish.load(Ordering::Relaxed);
            if is_finished && in_flight == 0 {
                return counts;
            }
            tokio::select! {
                _ = ticks.tick(), if !is_finished && in_flight < AHEAD_MAX => {
                    let (topic, payload) = (&self.topics[turn], (self.payload)(counts[turn]));
                    client.try_publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
                    counts[turn] += 1;
                    turn = (turn + 1) % self.topics.len();
                    in_flight += 1;
                }
                event = connection.poll() => {
                    let is_ack = matches!(event.unwrap(), Event::Incoming(Packet::PubAck(_)));
                    in_flight -= usize::from(is_ack);
                }
            }
        }
    }
}

/// A client that publishes a pattern on a thread of its own.
pub(crate) struct PatternPublisher {
    finish: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl PatternPublisher {
    /// Ends the client. Returns how many messages of each topic the broker has acknowledged.
    pub(crate) fn finish(self) -> Vec<u64> {
        self.finish.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A client that receives messages.
pub(crate) struct Subscriber {
    _client: AsyncClient,
    connection: EventLoop,
}

impl Subscriber {
    /// Receives the next message.
    pub(crate) async fn next(&mut self) -> Publish {
        let next = async {
            loop {
                if let Event::Incoming(Packet::Publish(publish)) =
                    self.connection.poll().await.unwrap()
                {
                    return publish;
                }
            }
        };
        tokio::time::timeout(TIMEOUT, next).await.expect("a message arrives")
    }
}
