//! `tidegate check --online` against the sandbox and real brokers.

use serde_json::{Value, json};
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, Sandbox};

use crate::support::{Broker, End, Site, default_cloud, mqtt_tables, write_private};

const SENSORS: &str = r#"
[sensor.air]
bus = "house"
topic = "air/+"
format = "text"
map = [{ channel = "value", attribute = "temperature" }]
[sensor.door]
bus = "house"
topic = "door"
device = "greenhouse"
format = "json"
map = [{ channel = "open", attribute = "door" }]
"#;

fn check(site: &Site) -> End {
    End::of(&site.run(&["check", "--online"]))
}

/// Asserts that a line of the output has these parts.
fn assert_line(end: &End, parts: &[&str]) {
    let has = |line: &str| parts.iter().all(|part| line.contains(part));
    assert!(end.stdout.lines().any(has), "{parts:?} in {}", end.text());
}

fn patch(site: &Site, device: &str, body: &Value) {
    let token = site.path("token").display().to_string();
    let application = "a00000000000000000000001";
    let words = ["device", "patch", "--yes", "--token-file", &token, "--device", device];
    let words = [&words[..], &["--application", application]].concat();
    let body = body.to_string();
    let end = End::of(&site.run(&[&words[..], &["--json", &body]].concat()));
    assert_eq!(end.code, 0, "{}", end.text());
}

fn site(cloud: &Sandbox, tables: &str) -> Site {
    let site = Site::new(cloud, tables);
    write_private(&site.path("token"), cloud.api_token());
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn good_configuration_passes_online() {
    let (cloud, broker) = (default_cloud().await, Broker::start());
    let site = site(&cloud, &mqtt_tables(broker.port(), SENSORS));
    let end = check(&site);
    assert_eq!(end.code, 0, "{}", end.text());
    for parts in [
        &["ok", "credentials", "application a00000000000000000000001"][..],
        &["ok", GATEWAY_ID, "class gateway"],
        &["ok", "scope device.sendState"],
        &["ok", "device greenhouse", "class peripheral"],
        &["ok", "attributes of greenhouse"],
        &["ok", "broker 127.0.0.1"],
        &["ok", "subscription air/+"],
    ] {
        assert_line(&end, parts);
    }
    assert_eq!(cloud.states(GATEWAY_ID).len(), 0, "nothing is stored");
    let quiet = End::of(&site.run(&["check", "--online", "--quiet"]));
    assert_eq!((quiet.code, &*quiet.text()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_devices_and_attributes_are_named() {
    let (cloud, broker) = (default_cloud().await, Broker::start());
    let site = site(&cloud, &mqtt_tables(broker.port(), SENSORS));
    site.replace_in_config("attribute = \"temperature\"", "attribute = \"gone\"");
    site.replace_in_config("\"open\",", "\"open\", scale = 2.0,");
    patch(&site, GREENHOUSE_ID, &json!({"gatewayId": "d00000000000000000000003"}));
    let end = check(&site);
    assert_eq!(end.code, 1, "{}", end.text());
    assert_line(&end, &["problem", "attributes of gateway", "gone missing", "tidegate provision"]);
    assert_line(&end, &["problem", "device greenhouse"]);
    site.replace_in_config(GREENHOUSE_ID, &"e".repeat(24));
    let end = check(&site);
    assert_line(&end, &["problem", "device greenhouse", "404", "correct device.greenhouse.id"]);
    patch(&site, GATEWAY_ID, &json!({"deviceClass": "standalone"}));
    assert_line(&check(&site), &["problem", "class standalone", "change the class"]);
    site.replace_in_config(GATEWAY_ID, &"b".repeat(24));
    assert_line(&check(&site), &["problem", "credentials", "create an access key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn type_conflicts_are_named() {
    let (cloud, broker) = (default_cloud().await, Broker::start());
    let site = site(&cloud, &mqtt_tables(broker.port(), SENSORS));
    site.replace_in_config("channel = \"open\",", "channel = \"open\", scale = 2.0,");
    let end = check(&site);
    assert_eq!(end.code, 1, "{}", end.text());
    let parts = ["problem", "attributes of greenhouse", "door is boolean, its values are number"];
    assert_line(&end, &parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_without_scopes_is_a_problem() {
    let (cloud, broker) = (default_cloud().await, Broker::start());
    let site = site(&cloud, &mqtt_tables(broker.port(), SENSORS));
    let body = json!({
        "deviceId": GATEWAY_ID, "key": "gateway-key", "secret": "gateway-secret",
        "requestedScopes": ["device.get"]
    });
    let url = format!("{}/auth/device", cloud.url());
    rustls::crypto::ring::default_provider().install_default().ok();
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let token: Value = answer.json().await.unwrap();
    let token = token["token"].as_str().unwrap();
    site.write_credentials(&format!("token = \"{token}\"\n"));
    site.replace_in_config("[losant]", "[losant]\napplication_id = \"a00000000000000000000001\"");
    let end = check(&site);
    assert_eq!(end.code, 1, "{}", end.text());
    assert_line(&end, &["problem", "scope device.sendState", "add device.sendState"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_check_names_what_was_not_checked() {
    let (cloud, broker) = (default_cloud().await, Broker::start());
    let site = site(&cloud, &mqtt_tables(broker.port(), SENSORS));
    cloud.close();
    let end = check(&site);
    assert_eq!(end.code, 69, "{}", end.text());
    assert_line(&end, &["unchecked", "credentials"]);
    assert_line(&end, &["unchecked", "devices, attributes and scopes"]);
    assert_line(&end, &["ok", "broker"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_problems_are_named() {
    let cloud = default_cloud().await;
    let absent = Broker::absent();
    let site = site(&cloud, &mqtt_tables(absent.port(), SENSORS));
    let end = check(&site);
    assert_eq!(end.code, 1, "{}", end.text());
    assert_line(&end, &["problem", "broker", "is the broker running"]);

    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    write_private(&users, "");
    let locked = Broker::start_with(format!(
        "user root\nallow_anonymous false\npassword_file {}\n",
        users.display()
    ));
    site.replace_in_config(&absent.port().to_string(), &locked.port().to_string());
    let end = check(&site);
    assert_eq!(end.code, 1, "{}", end.text());
    assert_line(&end, &["problem", "broker", "refuses user and password"]);
}
