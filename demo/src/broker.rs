//! An MQTT 3.1.1 broker inside the demo process: rumqttd on a free loopback port.
//!
//! rumqttd cannot be stopped, so its threads run until the process exits.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Longest wait until the broker accepts connections.
const START_MAX: Duration = Duration::from_secs(5);

/// Starts the broker and returns its address when it accepts connections.
pub(crate) async fn start() -> Result<SocketAddr> {
    let address = free_port().context("no free loopback port for the MQTT broker")?;
    let mut broker = rumqttd::Broker::new(config(address));
    thread::Builder::new()
        .name("mqtt-broker".to_owned())
        // The check below detects a broker that failed to start.
        .spawn(move || drop(broker.start()))
        .context("cannot start the MQTT broker's thread")?;
    let deadline = Instant::now() + START_MAX;
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > deadline {
            bail!("the MQTT broker does not accept connections on {address} after {START_MAX:?}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(address)
}

/// Returns a free port. rumqttd does not report the port that it chose for port 0, so another
/// program could bind this port before rumqttd does.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Returns a configuration that allows the demo's clients and some more of the user.
fn config(address: SocketAddr) -> Config {
    let server = ServerSettings {
        name: "mqtt-v3".to_owned(),
        listen: address,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 64 * 1024,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let router = RouterConfig {
        max_connections: 32,
        max_outgoing_packet_count: 200,
        max_segment_size: 1024 * 1024,
        max_segment_count: 10,
        custom_segment: None,
        initialized_filters: None,
        shared_subscriptions_strategy: rumqttd::Strategy::default(),
    };
    let servers = BTreeMap::from([("demo".to_owned(), server)]);
    Config {
        id: 0,
        router,
        v4: Some(servers.into_iter().collect()),
        v5: None,
        ws: None,
        cluster: None,
        console: None,
        bridge: None,
        prometheus: None,
        metrics: None,
    }
}
