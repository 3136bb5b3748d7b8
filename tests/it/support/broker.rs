//! A real mosquitto, and clients that talk to it.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, Publish, QoS};
use tempfile::TempDir;

use super::{PATIENCE, wait_until};

/// A broker on a port of its own.
pub(crate) struct Broker {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut broker = Self { directory: TempDir::new().unwrap(), port, process: None };
        broker.restart();
        broker
    }

    /// A broker that is not there yet.
    pub(crate) fn absent() -> Self {
        let mut broker = Self::start();
        broker.stop();
        broker
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn restart(&mut self) {
        let file = self.directory.path().join("mosquitto.conf");
        // Without the last line mosquitto throws away what a client has not fetched beyond 1,000 messages.
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n",
            self.port
        );
        std::fs::write(&file, config).unwrap();
        let program = Path::new("/usr/sbin/mosquitto");
        let program = if program.exists() { program } else { Path::new("mosquitto") };
        let process = Command::new(program)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed: run tests/prepare.sh");
        self.process = Some(process);
        wait_until("mosquitto listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn options(&self, client_id: &str) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, "127.0.0.1", self.port);
        options.set_max_packet_size(64 << 20, 64 << 20).set_keep_alive(Duration::from_secs(5));
        options
    }

    /// Publishes with QoS 1, and returns when the broker has acknowledged all of them.
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
            let acknowledged = async {
                while !matches!(
                    connection.poll().await.unwrap(),
                    Event::Incoming(Packet::PubAck(_))
                ) {}
            };
            tokio::time::timeout(PATIENCE, acknowledged).await.expect("the broker acknowledges");
        }
    }

    /// Subscribes, and returns when the broker has confirmed it.
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

/// A client that listens.
pub(crate) struct Subscriber {
    _client: AsyncClient,
    connection: rumqttc::EventLoop,
}

impl Subscriber {
    /// The next message.
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
        tokio::time::timeout(PATIENCE, next).await.expect("a message comes")
    }
}
