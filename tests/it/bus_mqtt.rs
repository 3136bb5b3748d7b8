//! Retained messages, last wills, shared subscriptions and TLS with a real broker, in MQTT 3.1.1
//! and MQTT 5.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Broker, Relay, Site, assert_content, cloud, values, wait_until, write_private,
};

/// The options of a bus for each version.
const VERSIONS: [&str; 2] = ["version = 3", "version = 5"];

fn bus(port: u16, options: &str) -> String {
    format!(
        r#"
[bus.mqtt.house]
host = "127.0.0.1"
port = {port}
{options}
[sensor.n]
bus = "house"
topic = "n/+"
format = "text"
retained = true
map = [{{ channel = "value", attribute = "n" }}]
"#
    )
}

fn message(topic: &str, payload: &str) -> (String, Vec<u8>) {
    (topic.to_owned(), payload.into())
}

#[tokio::test]
async fn retained_value_is_stored_once_across_connections() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let relay = Relay::to(broker.port());
    let site = Site::new(&cloud, &bus(relay.port(), "version = 5"));
    broker.publish_as([message("n/a", "1")], true).await;
    let daemon = site.start();
    wait_until("it arrives", || values(&cloud, "n") == [json!(1)]);
    let connections = || daemon.log().matches("broker connected").count();
    for round in 2..5 {
        relay.cut();
        wait_until("it is connected again", || connections() == round);
    }
    wait_until("it came again", || daemon.count("/ledger/house/duplicates") >= 3);
    broker.publish_as([message("n/a", "2")], true).await;
    wait_until("the new one arrives", || values(&cloud, "n").len() == 2);
    assert_eq!(values(&cloud, "n"), [json!(1), json!(2)]);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn all_of_many_retained_values_arrive() {
    for version in VERSIONS {
        let (cloud, broker) = (cloud().await, Broker::start());
        let site = Site::new(&cloud, &bus(broker.port(), &format!("{version}\nqos = 0")));
        broker.publish_as((0..10_000).map(|n| message(&format!("n/{n}"), "1")), true).await;
        let daemon = site.start();
        wait_until("all arrive", || {
            let dropped = daemon.count("/ledger/house/dropped/queue_full");
            assert_eq!(dropped, 0, "dropped");
            daemon.count("/ledger/house/received") == 10_000
        });
        assert!(daemon.terminate().success());
        site.outbox();
    }
}

/// Starts a broker that calls this for each connection after it has accepted it.
fn fake_broker(then: impl Fn(&mut TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 1_024];
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let connect = stream.read(&mut buffer).unwrap();
            assert!(connect > 0);
            stream.write_all(&[0x20, 2, 0, 0]).unwrap();
            then(&mut stream);
        }
    });
    port
}

#[tokio::test]
async fn refused_subscription_is_reported_while_it_lasts() {
    let cloud = cloud().await;
    let port = fake_broker(|stream| {
        let mut request = [0; 64];
        assert!(stream.read(&mut request).unwrap() > 4);
        stream.write_all(&[0x90, 3, request[2], request[3], 0x80]).unwrap();
        while stream.read(&mut request).unwrap_or(0) > 0 {}
    });
    let site = Site::new(&cloud, &bus(port, ""));
    let daemon = site.start();
    daemon.wait_for_log("the broker refuses this subscription");
    wait_until("the status has it", || {
        daemon.status()["health"].to_string().contains("subscription_refused")
    });
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn flapping_broker_is_retried_slowly_and_logged_once() {
    let cloud = cloud().await;
    let connections = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&connections);
    let port = fake_broker(move |stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert!(stream.read(&mut [0; 64]).unwrap() > 0);
    });
    let site = Site::new(&cloud, &bus(port, ""));
    let daemon = site.start();
    wait_until("it has tried often", || connections.load(Ordering::Relaxed) >= 5);
    assert_eq!(
        daemon.log().matches("WARN cannot connect to broker; retrying").count(),
        1,
        "{}",
        daemon.log()
    );
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn status_topic_shows_whether_the_gateway_is_connected() {
    for version in VERSIONS {
        let (cloud, broker) = (cloud().await, Broker::start());
        let options = format!("{version}\nstatus_topic = \"tidegate/status\"");
        let site = Site::new(&cloud, &bus(broker.port(), &options));
        let mut watcher = broker.subscribe("tidegate/status").await;
        let daemon = site.start();
        assert_eq!(watcher.next().await.payload, "online");
        daemon.kill();
        assert_eq!(watcher.next().await.payload, "offline", "the last will");
        let daemon = site.start();
        assert_eq!(watcher.next().await.payload, "online");
        assert!(daemon.terminate().success());
        assert_eq!(watcher.next().await.payload, "offline", "a stop in good order");
        site.outbox();
    }
}

/// A broker with this setting sends a message only when it has the acknowledgement of the one
/// before.
#[tokio::test]
async fn broker_with_a_window_of_one_does_not_wait_for_the_interval() {
    const MESSAGES: usize = 100;
    let cloud = cloud().await;
    let broker = Broker::start_with("max_inflight_messages 1\n".to_owned());
    let site = Site::new(&cloud, &bus(broker.port(), ""));
    site.replace_in_config("commit_interval = \"50 ms\"", "commit_interval = \"3 s\"");
    let daemon = site.start();
    daemon.wait_for_subscription();
    let messages = (0..MESSAGES).map(|number| message("n/1", &number.to_string()));
    broker.publish(messages).await;
    // Three seconds for each would be five minutes.
    wait_until("all messages arrive", || values(&cloud, "n").len() == MESSAGES);
    daemon.wait_until_sent();
    assert!(daemon.terminate().success());
    assert_content(&cloud);
    site.outbox();
}

#[tokio::test]
async fn messages_published_while_away_arrive_once() {
    for version in VERSIONS {
        let (cloud, broker) = (cloud().await, Broker::start());
        let site = Site::new(&cloud, &bus(broker.port(), version));
        let daemon = site.start();
        daemon.wait_for_subscription();
        assert!(daemon.terminate().success());
        broker.publish((1..=9).map(|n| message("n/a", &n.to_string()))).await;
        let daemon = site.start();
        wait_until("they arrive", || values(&cloud, "n").last() == Some(&json!(9)));
        daemon.kill();
        broker.publish([message("n/a", "10")]).await;
        let daemon = site.start();
        wait_until("the last arrives", || values(&cloud, "n").last() == Some(&json!(10)));
        assert!(daemon.terminate().success());
        let expected: Vec<_> = (1..=10).map(|n| json!(n)).collect();
        assert_eq!(values(&cloud, "n"), expected, "{version}");
        site.outbox();
    }
}

#[tokio::test]
async fn mqtt_5_honours_the_expiry_of_messages() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &bus(broker.port(), "version = 5"));
    let daemon = site.start();
    daemon.wait_for_subscription();
    assert!(daemon.terminate().success());
    broker.publish_expiring("n/a", "2", 1).await;
    broker.publish([message("n/a", "3")]).await;
    // The broker counts whole seconds of its own clock.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let daemon = site.start();
    wait_until("the other arrives", || values(&cloud, "n").last() == Some(&json!(3)));
    assert!(!values(&cloud, "n").contains(&json!(2)));
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn two_gateways_share_a_subscription() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let sites = [("one", VERSIONS[0]), ("other", VERSIONS[1])].map(|(id, version)| {
        let options = format!("{version}\nshare = \"gateways\"\nclient_id = \"{id}\"");
        Site::new(&cloud, &bus(broker.port(), &options))
    });
    let daemons = sites.each_ref().map(Site::start);
    for daemon in &daemons {
        daemon.wait_for_subscription();
    }
    // The subscription follows the connection: earlier messages reach one gateway or none.
    let mut sent = 0;
    let stored = |at: usize| daemons[at].count("/ledger/house/stored");
    while stored(0) == 0 || stored(1) == 0 {
        broker.publish([message("n/a", &sent.to_string())]).await;
        sent += 1;
        assert!(sent < 1_000, "all go to one gateway");
    }
    let before = stored(0) + stored(1);
    broker.publish((0..40).map(|n| message("n/a", &n.to_string()))).await;
    wait_until("each arrives once", || stored(0) + stored(1) >= before + 40);
    for daemon in daemons {
        assert!(daemon.terminate().success());
    }
    let total: u64 =
        sites.iter().map(|site| site.outbox()["ledger"]["house"]["stored"].as_u64().unwrap()).sum();
    assert!(total <= sent + 40, "{total} stored of {}", sent + 40);
}

/// The files of a certificate authority, and of certificates that it has signed.
fn certify(directory: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own = authority.clone().self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(authority, key);
    std::fs::write(directory.join("ca.pem"), own.pem()).unwrap();
    for name in ["server", "client"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned()];
        let mut wish = rcgen::CertificateParams::new(names).unwrap();
        // OpenSSL takes a certificate with the name of its issuer for a self-signed one.
        wish.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = wish.signed_by(&key, &issuer).unwrap();
        std::fs::write(directory.join(format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        let both = certificate.pem() + &key.serialize_pem();
        write_private(&directory.join(format!("{name}.pem")), &both);
    }
}

#[tokio::test]
async fn tls_broker_and_gateway_verify_each_other() {
    let cloud = cloud().await;
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    certify(at);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |name: &str| at.join(name).display().to_string();
    let broker = Broker::start_with(format!(
        "user root\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile \
         {}\nrequire_certificate true\n",
        file("ca.pem"),
        file("server.crt"),
        file("server.key")
    ));
    let strangers = TempDir::new().unwrap();
    certify(strangers.path());
    let ca = |directory: &Path| format!("ca_file = \"{}\"", directory.join("ca.pem").display());
    let certificate = format!("client_certificate = \"{}\"", file("client.pem"));
    for (options, trouble) in [
        (format!("{}\n{certificate}", ca(strangers.path())), "invalid peer certificate"),
        (ca(at), "cannot connect to broker; retrying"),
        (certificate.clone(), "invalid peer certificate"),
    ] {
        let site = Site::new(&cloud, &bus(port, &options));
        let daemon = site.start();
        daemon.wait_for_log(trouble);
        assert!(!daemon.log().contains("broker connected"), "{}", daemon.log());
        assert!(daemon.terminate().success());
    }
    for (n, version) in VERSIONS.into_iter().enumerate() {
        let options = format!("{version}\n{}\n{certificate}", ca(at));
        let site = Site::new(&cloud, &bus(port, &options));
        let daemon = site.start();
        daemon.wait_for_subscription();
        broker.publish_as([message("n/a", &n.to_string())], true).await;
        wait_until("it arrives", || values(&cloud, "n").last() == Some(&json!(n)));
        assert!(!daemon.log().contains("PRIVATE KEY"));
        assert!(daemon.terminate().success());
        site.outbox();
    }
    assert_content(&cloud);
}
