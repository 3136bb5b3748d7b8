//! Faults of buses and sensors: each is found under its code, and is over after its cure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::{AsyncClient, MqttOptions, v5};

use crate::support::{
    Broker, Daemon, Site, Tty, cloud, expect_healthy, expect_problem, message, mqtt_tables,
    number_messages, number_tables, probe_tables, utf8, wait_until,
};

/// A gateway with a serial sensor that reports `n`.
async fn probe(more: &str) -> (tidegate_sandbox::Sandbox, Site, Tty, Daemon) {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &format!("{}{more}", probe_tables(&["n"])));
    let tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    (cloud, site, tty, daemon)
}

#[tokio::test]
async fn bus_down() {
    let (_cloud, _site, mut tty, daemon) = probe("").await;
    expect_healthy(&daemon);
    tty.unplug();
    expect_problem(&daemon, "bus_down", &["probe"]);
    tty.plug();
    expect_healthy(&daemon);
}

#[tokio::test]
async fn bus_problem() {
    let cloud = cloud().await;
    let file = "[bus.file.w1]\npaths = [\"value\"]\ninterval = \"100 ms\"\n\
                [sensor.w1]\nbus = \"w1\"\ntopic = \"#\"\nformat = \"text\"\n\
                map = [{ channel = \"value\", attribute = \"n\" }]\n";
    let site = Site::new(&cloud, file);
    let daemon = site.start();
    expect_problem(&daemon, "bus_problem", &["w1", "value", "there is no such file"]);
    std::fs::write(site.path("value"), "1").unwrap();
    expect_healthy(&daemon);
}

/// A client that connects with the id of the daemon again and again.
struct Rival {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Rival {
    fn start(port: u16, version: u8) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let run = async move {
            while !is_stopped.load(Ordering::Relaxed) {
                // The session ends when the daemon connects again.
                let session = tokio::time::timeout(Duration::from_secs(3), async {
                    if version == 5 {
                        let options = v5::MqttOptions::new("same-id", "127.0.0.1", port);
                        let (_client, mut session) = v5::AsyncClient::new(options, 8);
                        while session.poll().await.is_ok() {}
                    } else {
                        let options = MqttOptions::new("same-id", "127.0.0.1", port);
                        let (_client, mut session) = AsyncClient::new(options, 8);
                        while session.poll().await.is_ok() {}
                    }
                });
                session.await.ok();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { stop, thread: std::thread::spawn(move || runtime.block_on(run)) }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

async fn assert_finds_rival(version: u8, words: &[&str]) {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let bus = format!("[bus.mqtt.house]\nclient_id = \"same-id\"\nversion = {version}\n");
    site.replace_in_config("[bus.mqtt.house]\n", &bus);
    let daemon = site.start();
    daemon.wait_for_subscription();
    expect_healthy(&daemon);
    let rival = Rival::start(broker.port(), version);
    expect_problem(&daemon, "client_id_shared", words);
    rival.stop();
    expect_healthy(&daemon);
}

#[tokio::test]
async fn client_id_shared() {
    assert_finds_rival(3, &["house", "soon after", "same-id"]).await;
}

#[tokio::test]
async fn client_id_shared_with_mqtt_5() {
    // mosquitto 2.0.11 closes the connection without a reason. Other brokers name it.
    assert_finds_rival(5, &["house", "same-id"]).await;
}

#[tokio::test]
async fn subscription_refused() {
    let cloud = cloud().await;
    let directory = tempfile::TempDir::new().unwrap();
    let rules = directory.path().join("rules.json");
    let allow = |is_allowed: bool| {
        let access = serde_json::json!({
            "publishClientSend": true, "publishClientReceive": true,
            "subscribe": is_allowed, "unsubscribe": true,
        });
        let rules_of_all = serde_json::json!({
            "defaultACLAccess": access, "clients": [], "roles": [],
            "groups": [{ "groupname": "all", "roles": [] }], "anonymousGroup": "all",
        });
        std::fs::write(&rules, rules_of_all.to_string()).unwrap();
    };
    allow(false);
    let plugin = "mosquitto_dynamic_security.so";
    let plugins = std::fs::read_dir("/usr/lib").unwrap();
    let mut plugins = plugins.map(|entry| entry.unwrap().path().join(plugin));
    let Some(plugin) = plugins.find(|path| path.exists()) else {
        let test = crate::support::test_name!();
        return crate::support::skip(test, "the broker has no plugin for access rules");
    };
    let (plugin, file) = (plugin.display(), rules.display());
    // If root starts mosquitto, it runs as the user mosquitto, which could not read the rules.
    let extra = format!("user root\nplugin {plugin}\nplugin_opt_config_file {file}\n");
    let mut broker = Broker::start_with(extra);
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    expect_problem(&daemon, "subscription_refused", &["house", "n/#"]);
    allow(true);
    broker.stop();
    broker.restart();
    expect_healthy(&daemon);
}

#[tokio::test]
async fn sensor_stale() {
    let stale = "[sensor.probe.stale]\nafter = \"2 s\"\nattribute = \"online\"\n";
    let (_cloud, _site, mut tty, daemon) = probe(stale).await;
    let sentence = ["probe", "device gateway silent for "];
    expect_problem(&daemon, "sensor_stale", &sentence);
    wait_until("it is healthy again", || {
        tty.write("n=1\n");
        daemon.status()["health"]["condition"] == "healthy"
    });
}

#[tokio::test]
async fn sensor_rejected() {
    let (_cloud, site, mut tty, daemon) = probe("").await;
    site.replace_in_config("attribute = \"n\"", "attribute = \"n\", valid_max = 100.0");
    assert!(site.run(&["reload"]).status.success());
    for _ in 0..6 {
        tty.write("n=32767\n");
    }
    expect_problem(&daemon, "sensor_rejected", &["probe", "out_of_range", "32767"]);
    tty.write("n=20\n");
    expect_healthy(&daemon);
}

#[tokio::test]
async fn sensor_unmapped() {
    let (_cloud, site, mut tty, daemon) = probe("").await;
    for _ in 0..25 {
        tty.write("m=1\n");
    }
    expect_problem(&daemon, "sensor_unmapped", &["probe", "none of 25 messages", "m"]);
    let page = utf8(&site.run(&["status"]).stdout);
    assert!(page.contains("25 skipped"), "{page}");
    site.replace_in_config("channel = \"n\"", "channel = \"m\"");
    assert!(site.run(&["reload"]).status.success());
    tty.write("m=1\n");
    expect_healthy(&daemon);
}

#[tokio::test]
async fn attribute_duplicate() {
    let (cloud, broker) = (cloud().await, Broker::start());
    // The topic is not known before a message arrives, so `check` cannot find it.
    let sensor = "[sensor.plug]\nbus = \"house\"\ntopic = \"+\"\nformat = \"json\"\n\
                  map = [{ channel = \"/a\", attribute = \"n\" },\n\
                  { expression = \"b\", attribute = \"{{ topic[0] }}\" }]\n";
    let site = Site::new(&cloud, &mqtt_tables(broker.port(), sensor));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish([message("n", r#"{"a":1,"b":2}"#)]).await;
    expect_problem(&daemon, "attribute_duplicate", &["plug", "attribute n"]);
    site.replace_in_config("{{ topic[0] }}", "v1");
    assert!(site.run(&["reload"]).status.success());
    expect_healthy(&daemon);
    broker.publish([message("n", r#"{"a":1,"b":2}"#)]).await;
    wait_until("both arrive", || daemon.count("/ledger/house/stored") == 3);
    expect_healthy(&daemon);
}

#[tokio::test]
async fn reload_failed() {
    let (_cloud, site, _tty, daemon) = probe("").await;
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.replace_in_config("format = \"key-value\"", "format = \"key-valeu\"");
    let output = site.run(&["reload"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    expect_problem(&daemon, "reload_failed", &["sensor.probe.format", "key-value"]);
    daemon.wait_for_log("invalid configuration; keeping the current one");
    site.write_config(&config);
    assert!(site.run(&["reload"]).status.success());
    expect_healthy(&daemon);
}

#[tokio::test]
async fn normal_traffic_is_skipped_without_a_problem() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = Site::new(&cloud, &number_tables(broker.port()));
    let daemon = site.start();
    daemon.wait_for_subscription();
    broker.publish(number_messages(0..2)).await;
    broker.publish((0..30).map(|_| message("n/b", ""))).await;
    wait_until("all are counted", || daemon.count("/ledger/house/received") == 32);
    wait_until("both are stored", || daemon.count("/ledger/house/stored") == 2);
    expect_healthy(&daemon);
    let account = daemon.status()["ledger"]["house"].clone();
    assert_eq!(account["skipped"], serde_json::json!({ "no_value": 30 }));
    assert_eq!(account["rejected"], serde_json::json!({}));
}
