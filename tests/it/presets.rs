//! The unchanged presets read the messages of their products, all in the conf.d of one daemon.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tidegate_sandbox::{GREENHOUSE_ID, Sandbox};

use crate::support::{
    Broker, Site, assert_content, cloud, judge, message, mqtt_tables, values, values_of, wait_until,
};

/// Returns a site with these unchanged presets.
fn site(cloud: &Sandbox, port: u16, presets: &[&str]) -> Site {
    let site = Site::new(cloud, &mqtt_tables(port, ""));
    // The preset for Losant's devices gives this device another name.
    site.replace_in_config(&format!("[device.greenhouse]\nid = \"{GREENHOUSE_ID}\"\n"), "");
    std::fs::create_dir(site.path("conf.d")).unwrap();
    for preset in presets {
        let text = Path::new("config/examples/presets").join(preset);
        std::fs::copy(text, site.path("conf.d").join(preset)).unwrap();
    }
    site
}

/// A message of a product and its attributes.
struct Sample {
    topic: &'static str,
    payload: &'static str,
    /// Names of attributes, and their values in JSON.
    attributes: &'static [(&'static str, &'static str)],
}

/// Messages from the documentation of the products or the logs of their users.
const SAMPLES: [Sample; 10] = [
    // zigbee2mqtt.io, "MQTT Topics and Messages": WSDCGQ01LM and RTCGQ01LM.
    Sample {
        topic: "zigbee2mqtt/kitchen",
        payload: r#"{"temperature":27.34,"humidity":44.72}"#,
        attributes: &[("kitchen_temperature", "27.34"), ("kitchen_humidity", "44.72")],
    },
    Sample {
        topic: "zigbee2mqtt/hall",
        payload: r#"{"occupancy":true}"#,
        attributes: &[("hall_occupancy", "true")],
    },
    // tasmota.github.io, "AHT1x" and "MQTT", with the usual AM2301.
    Sample {
        topic: "tele/tasmota_1/SENSOR",
        payload: concat!(
            r#"{"Time":"2019-01-05T22:45:12","AM2301":{"Temperature":4.7,"Humidity":93.7},"#,
            r#""TempUnit":"C"}"#,
        ),
        attributes: &[
            ("tasmota_1_am2301_temperature", "4.7"),
            ("tasmota_1_am2301_humidity", "93.7"),
        ],
    },
    // shelly-api-docs.shelly.cloud, Gen2 "Switch", as a Plus 1PM fills it.
    Sample {
        topic: "shellyplus1pm-a8032ab1/status/switch:0",
        payload: concat!(
            r#"{"id":0, "source":"WS_in", "output":true, "apower":10.7, "voltage":120.7, "#,
            r#""current":0.133, "aenergy":{"total":46791.262,"#,
            r#""by_minute":[73.921,177.749,177.749],"minute_ts":1682952864},"#,
            r#""temperature":{"tC":47.9, "tF":118.3}}"#,
        ),
        attributes: &[
            ("shellyplus1pm-a8032ab1_on", "true"),
            ("shellyplus1pm-a8032ab1_power", "10.7"),
            ("shellyplus1pm-a8032ab1_energy_wh", "46791.262"),
            ("shellyplus1pm-a8032ab1_temperature", "47.9"),
        ],
    },
    Sample {
        topic: "shellyplusht-b8d61a8b17cc/status/humidity:0",
        payload: r#"{"id":0,"rh":42.2}"#,
        attributes: &[("shellyplusht-b8d61a8b17cc_humidity", "42.2")],
    },
    // shelly-api-docs.shelly.cloud, Gen1 "MQTT support" of the H&T.
    Sample {
        topic: "shellies/shellyht-3A5F/sensor/temperature",
        payload: "21.62",
        attributes: &[("shellyht-3A5F_temperature", "21.62")],
    },
    // esphome.io, "MQTT Client Component".
    Sample {
        topic: "livingroom/sensor/outside_temp/state",
        payload: "-3.5",
        attributes: &[("livingroom_outside_temp", "-3.5")],
    },
    Sample {
        topic: "livingroom/binary_sensor/door/state",
        payload: "ON",
        attributes: &[("livingroom_door", "\"ON\"")],
    },
    // github.com/Scrin/RuuviBridge: parser/measurement.go; Ruuvi's test vector of data format 5.
    Sample {
        topic: "ruuvi_measurements/CB:B8:33:4C:88:4F",
        payload: concat!(
            r#"{"name":"Sauna","mac":"CB:B8:33:4C:88:4F","data_format":5,"temperature":24.3,"#,
            r#""humidity":53.49,"pressure":100044,"accelerationX":0.004,"batteryVoltage":2.977,"#,
            r#""txPower":4,"rssi":-61,"movementCounter":66}"#,
        ),
        attributes: &[
            ("CBB8334C884F_temperature", "24.3"),
            ("CBB8334C884F_pressure", "100044"),
            ("CBB8334C884F_movements", "66"),
        ],
    },
    // decoder.theengs.io, LYWSD03MMC with the ATC firmware, as OpenMQTTGateway 1.x publishes it.
    Sample {
        topic: "home/OpenMQTTGateway/BTtoMQTT/A4C1386E4AE8",
        payload: concat!(
            r#"{"id":"A4:C1:38:6E:4A:E8","mac_type":0,"name":"ATC_6E4AE8","rssi":-91,"#,
            r#""brand":"Xiaomi","model":"LYWSD03MMC","model_id":"LYWSD03MMC_ATC","tempc":14.2,"#,
            r#""tempf":57.56,"hum":56,"batt":75,"volt":2.887}"#,
        ),
        attributes: &[("A4C1386E4AE8_temperature", "14.2"), ("A4C1386E4AE8_battery", "75")],
    },
];

/// docs.ruuvi.com, "MQTT: Time-stamped data from Bluetooth-sensors".
///
/// The preset sends means of a minute. A stop of the daemon ends the minute.
const RUUVI: Sample = Sample {
    topic: "ruuvi/C8:25:2D:8E:9C:2C/F4:1F:0C:28:CB:D6",
    payload: concat!(
        r#"{"gw_mac":"C8:25:2D:8E:9C:2C","rssi":-26,"aoa":[],"gwts":"1653668027","#,
        r#""ts":"1653668027","data":"0201061BFF99040515AE4C6DC6D7000CFFF803F4ADB6AD69"#,
        r#"7FF41F0C28CBD6","coords":""}"#,
    ),
    attributes: &[
        ("F41F0C28CBD6_temperature", "27.75"),
        ("F41F0C28CBD6_humidity", "48.9"),
        ("F41F0C28CBD6_pressure", "100903.0"),
    ],
};

#[tokio::test]
async fn each_preset_reads_the_payloads_of_its_product() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let presets = [
        "zigbee2mqtt.toml",
        "tasmota.toml",
        "shelly.toml",
        "esphome.toml",
        "ruuvi.toml",
        "ruuvi-gateway.toml",
        "openmqttgateway.toml",
        // The module sparkplug tests its readings.
        "sparkplug.toml",
    ];
    let site = site(&cloud, broker.port(), &presets);
    let daemon = site.start();
    daemon.wait_for_subscription();
    let samples = [RUUVI].into_iter().chain(SAMPLES);
    broker.publish(samples.map(|sample| message(sample.topic, sample.payload))).await;
    for (attribute, value) in SAMPLES.iter().flat_map(|sample| sample.attributes) {
        let value: Value = serde_json::from_str(value).unwrap();
        wait_until(attribute, || values(&cloud, attribute) == [value.clone()]);
    }
    assert!(daemon.terminate().success());
    for (attribute, value) in RUUVI.attributes {
        let value: Value = serde_json::from_str(value).unwrap();
        assert_eq!(values(&cloud, attribute), [value], "{attribute}");
    }
    let account = site.outbox()["ledger"]["house"].clone();
    assert_eq!((&account["rejected"], &account["dropped"]), (&json!({}), &json!({})));
    assert_content(&cloud);
}

#[tokio::test]
async fn losant_mqtt_client_works_through_the_local_broker() {
    let (cloud, broker) = (cloud().await, Broker::start());
    let site = site(&cloud, broker.port(), &["losant.toml"]);
    let daemon = site.start();
    daemon.wait_for_subscription();
    wait_until("the stream is open", || cloud.streams_open(GREENHOUSE_ID) == 1);
    let device = Command::new(judge())
        .args(["tests/conformance/losant_device.py", &broker.port().to_string(), GREENHOUSE_ID])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the device's state arrives", || {
        values_of(&cloud, GREENHOUSE_ID, "temperature") == [json!(21.5)]
            && values_of(&cloud, GREENHOUSE_ID, "humidity") == [json!(40)]
    });
    cloud.send_command(GREENHOUSE_ID, "blink", json!({"times": 3}));
    let output = device.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let command: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(command["name"], "blink");
    assert_eq!(command["payload"], json!({"times": 3}));
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
