//! `tidegate provision` against the sandbox: attributes, their types, and new peripherals.

use serde_json::Value;
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, Sandbox, WORKSHOP_ID};

use crate::support::{Broker, End, Site, default_cloud, mqtt_tables, utf8, write_private};

/// A site with an application token in a file.
struct Bench {
    cloud: Sandbox,
    site: Site,
}

impl Bench {
    async fn new(tables: &str) -> Self {
        let cloud = default_cloud().await;
        let site = Site::new(&cloud, tables);
        write_private(&site.path("token"), cloud.api_token());
        Self { cloud, site }
    }

    fn run(&self, words: &[&str]) -> End {
        End::of(&self.site.run(&[&["provision"], words].concat()))
    }

    /// Runs with the application token and without a question.
    fn create(&self, words: &[&str]) -> End {
        let token = self.site.path("token").display().to_string();
        self.run(&[&["--yes", "--token-file", &token], words].concat())
    }

    /// Returns the attributes of a device in the cloud with their types.
    fn attributes(&self, device: &str) -> Vec<String> {
        let output = self.site.run(&["device", "get", "--device", device]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |attribute: &Value, key: &str| attribute[key].as_str().unwrap().to_owned();
        let list = document["attributes"].as_array().unwrap().iter();
        list.map(|attribute| format!("{}:{}", text(attribute, "name"), text(attribute, "dataType")))
            .collect()
    }

    /// Returns the attributes of a device that were not there at the start.
    fn added(&self, device: &str) -> Vec<String> {
        let before = ["temperature:number", "message:string"];
        let all = self.attributes(device);
        assert!(before.iter().all(|one| all.contains(&(*one).to_owned())), "{all:?}");
        all.into_iter().skip(45).collect()
    }
}

/// The rows of a table in `text`, with single blanks.
fn rows(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with("DEVICE")).skip(1);
    let rows = lines.take_while(|line| !line.is_empty());
    rows.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

const PROBE: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
stale = { after = "1 min", attribute = "probeOnline" }
map = [{ channel = "t", attribute = "brandNew" }, { channel = "d", attribute = "hatch" }]
[sensor.other]
bus = "probe"
device = "greenhouse"
format = "json"
map = [{ channel = "t", attribute = "newToo" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn provision_creates_only_missing_attributes() {
    let bench = Bench::new(PROBE).await;
    let shown = bench.run(&["--dry-run"]);
    assert_eq!(shown.code, 0, "{}", shown.text());
    let expected = [
        "gateway brandNew number? add",
        "gateway hatch number? add",
        "gateway probeOnline boolean add",
        "greenhouse newToo number? add",
    ];
    assert_eq!(rows(&shown.text()), expected);
    assert!(shown.text().contains("0 in Losant, 4 missing"), "{}", shown.text());
    assert_eq!(bench.added(GATEWAY_ID), [""; 0], "a dry run creates nothing");

    let created = bench.create(&["--type", "hatch=boolean"]);
    assert_eq!(created.code, 0, "{}", created.text());
    let expected = ["brandNew:number", "hatch:boolean", "probeOnline:boolean"];
    assert_eq!(bench.added(GATEWAY_ID), expected);
    assert_eq!(bench.added(GREENHOUSE_ID), ["newToo:number"]);

    let again = bench.create(&["--type", "hatch=boolean"]);
    assert_eq!(again.code, 0, "{}", again.text());
    assert_eq!(again.text().trim(), "Nothing to do: Losant has 4 attributes of 2 devices.");
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_needs_a_token_and_a_yes() {
    let bench = Bench::new(PROBE).await;
    assert_eq!(bench.run(&[]).code, 64);
    let token = bench.site.path("token").display().to_string();
    assert_eq!(bench.run(&["--token-file", &token]).code, 64);
    write_private(&bench.site.path("token"), "no-such-token");
    assert_eq!(bench.create(&[]).code, 77);
    assert_eq!(bench.added(GATEWAY_ID), [""; 0]);
}

/// Buses and reports whose settings fix the types.
const TYPES: &str = r#"
[bus.modbus.line]
tcp = "127.0.0.1:502"
[bus.modbus.line.unit.pump]
id = 1
registers = [
  { channel = "on", table = "coil", address = 0 },
  { channel = "dry", table = "discrete", address = 0 },
  { channel = "flow", address = 0, kind = "f32" },
  { channel = "model", address = 4, kind = "text", length = 4 },
]
[sensor.line]
bus = "line"
format = "json"
map = [{ channel = "*", attribute = "{{ topic[0] }}_{{ channel }}" }]
[bus.gpio.pins]
[bus.gpio.pins.input.gate]
line = 1
[bus.gpio.pins.input.meter]
line = 2
edges = "count-rising"
[sensor.gate]
bus = "pins"
topic = "gate"
format = "json"
map = [{ channel = "level", attribute = "gate" }]
[sensor.meter]
bus = "pins"
topic = "meter"
format = "json"
map = [{ channel = "count", attribute = "pulses" }]
[bus.serial.gps]
path = "tty"
[sensor.gps]
bus = "gps"
device = "workshop"
format = "nmea"
map = [
  { channel = "position", attribute = "where" },
  { channel = "speed", attribute = "mean_speed", aggregate = "mean", window = "1 min" },
  { channel = "quality", attribute = "fix", values = { 0 = "no", 1 = "yes" } },
]
[commands.report]
device = "gateway"
result = "lastResult"
duration_ms = "lastDuration"
[actuator.pump]
command = "pump"
device = "workshop"
bus = "line"
unit = "pump"
table = "coil"
address = 0
value = "{{ payload.on }}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn provision_takes_types_from_decoders_and_reports() {
    let bench = Bench::new(TYPES).await;
    let created = bench.create(&[]);
    assert_eq!(created.code, 0, "{}", created.text());
    let expected = [
        "gate:boolean",
        "lastDuration:number",
        "lastResult:string",
        "pulses:number",
        "pump_dry:boolean",
        "pump_flow:number",
        "pump_model:string",
        "pump_on:boolean",
    ];
    assert_eq!(bench.added(GATEWAY_ID), expected);
    assert_eq!(bench.added(WORKSHOP_ID), ["fix:string", "mean_speed:number", "where:gps"]);
    assert!(bench.create(&[]).text().starts_with("Nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_reports_conflicts_and_replaces_on_request() {
    let bench = Bench::new(
        r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [
  { channel = "d", attribute = "door", scale = 2.0 },
  { channel = "s", attribute = "status" },
  { channel = "n", attribute = "fresh" },
]
"#,
    )
    .await;
    let conflict = bench.create(&["--type", "gateway.status=number"]);
    assert_eq!(conflict.code, 1, "{}", conflict.text());
    for text in [
        "gateway.door: Losant has the type boolean, the values are number",
        "gateway.status: Losant has the type string, the values are number",
        "--replace-type",
        "2 attributes have another type in Losant",
    ] {
        assert!(conflict.text().contains(text), "{text}: {}", conflict.text());
    }
    assert_eq!(bench.added(GATEWAY_ID), ["fresh:number"], "the rest is created");
    assert!(bench.attributes(GATEWAY_ID).contains(&"door:boolean".to_owned()));
    let replaced = bench.create(&["--replace-type"]);
    assert_eq!(replaced.code, 0, "{}", replaced.text());
    assert!(bench.attributes(GATEWAY_ID).contains(&"door:number".to_owned()));
    assert!(bench.attributes(GATEWAY_ID).contains(&"status:string".to_owned()));
}

/// Two sensors with names from topics.
const TEMPLATES: &str = r#"
[sensor.zigbee]
bus = "house"
topic = "z/+"
device = "{{ topic[1] }}"
format = "json"
stale = { after = "1 h", attribute = "reachable" }
map = [{ channel = "t", attribute = "air", scale = 2.0 }]
[sensor.plugs]
bus = "house"
topic = "plug/+"
format = "json"
map = [{ channel = "*", attribute = "{{ topic[1] }}_{{ channel }}" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn provision_resolves_templates_of_known_devices() {
    let bench = Bench::new(&mqtt_tables(1, TEMPLATES)).await;
    let created = bench.create(&[]);
    assert_eq!(created.code, 0, "{}", created.text());
    for device in [GREENHOUSE_ID, WORKSHOP_ID] {
        assert_eq!(bench.added(device), ["air:number", "reachable:boolean"]);
    }
    assert!(created.text().contains("sensor plugs: its messages name more"), "{}", created.text());
    let file = bench.site.path("messages");
    std::fs::write(&file, "plug/tv {\"on\":true,\"w\":\"4.5\"}\nplug/tv offline\n").unwrap();
    let learned = bench.create(&["--learned", file.to_str().unwrap()]);
    assert_eq!(learned.code, 0, "{}", learned.text());
    let added = bench.added(GATEWAY_ID);
    assert!(added.contains(&"tv_on:boolean".to_owned()), "{added:?}");
    assert!(added.contains(&"tv_w:number".to_owned()), "{added:?}");
    let again = bench.create(&["--learned", file.to_str().unwrap()]);
    assert!(again.text().contains("Nothing to do"), "{}", again.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_learns_from_a_broker_and_creates_peripherals() {
    let broker = Broker::start();
    let retained = [("z/attic", r#"{"t":1}"#), ("z/Living-Room", r#"{"t":2}"#)];
    let retained = retained.map(|(topic, text)| (topic.to_owned(), text.as_bytes().to_vec()));
    broker.publish_as(retained.into_iter(), true).await;
    let bench = Bench::new(&mqtt_tables(broker.port(), TEMPLATES)).await;
    let words = ["--learn", "1s", "--create-devices"];
    let shown = bench.run(&[&words[..], &["--dry-run"]].concat());
    assert!(rows(&shown.text()).contains(&"attic device create device".to_owned()), "{shown:?}");
    let created = bench.create(&words);
    assert_eq!(created.code, 0, "{}", created.text());
    for line in ["[device.attic]", "[device.living-room]", "Living-Room = \"living-room\""] {
        assert!(created.text().contains(line), "{line}: {}", created.text());
    }
    let written = bench.create(&[&words[..], &["--write"]].concat());
    assert!(written.text().contains("has this peripheral already"), "{}", written.text());
    let again = bench.create(&words);
    assert!(again.text().contains("Nothing to do"), "{}", again.text());
    assert_eq!(bench.attributes("attic"), ["air:number", "reachable:boolean"]);
    let token = bench.cloud.api_token();
    for file in ["conf.d/devices.toml", "tidegate.toml", "credentials.toml"] {
        let text = std::fs::read_to_string(bench.site.path(file)).unwrap();
        assert!(!text.contains(token), "the token is kept in {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_creates_peripherals_without_an_id() {
    let tables = r#"
[device.attic]
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
device = "attic"
format = "key-value"
map = [{ channel = "t", attribute = "air" }]
[sensor.cellar]
bus = "probe"
device = "cellar"
format = "key-value"
map = [{ channel = "t", attribute = "air" }]
"#;
    let bench = Bench::new(tables).await;
    assert_eq!(bench.run(&["--dry-run"]).code, 78, "the ids are missing");
    let shown = bench.run(&["--dry-run", "--create-devices"]);
    let expected = [
        "attic device create device",
        "attic air number? add",
        "cellar device create device",
        "cellar air number? add",
    ];
    assert_eq!(rows(&shown.text()), expected);
    let created = bench.create(&["--create-devices", "--write"]);
    assert_eq!(created.code, 0, "{}", created.text());
    assert_eq!(utf8(&bench.site.run(&["check", "--quiet"]).stderr), "");
    assert_eq!(bench.attributes("cellar"), ["air:number"]);
    let shown = bench.site.run(&["device", "get", "--device", "cellar"]);
    let device: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (&device["deviceClass"], &device["gatewayId"]),
        (&"peripheral".into(), &GATEWAY_ID.into())
    );
    assert!(bench.create(&["--create-devices"]).text().contains("Nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_names_devices_that_losant_lacks() {
    let bench = Bench::new(PROBE).await;
    bench.site.replace_in_config(GREENHOUSE_ID, &"e".repeat(24));
    let shown = bench.create(&[]);
    assert_eq!(shown.code, 1, "{}", shown.text());
    assert!(shown.text().contains("correct the id of greenhouse"), "{}", shown.text());
    assert_eq!(bench.added(GATEWAY_ID).len(), 3, "the gateway's are created");
}
