//! Messages, and the topic groups and tables that are inferred from them.

use std::collections::BTreeSet;

use super::*;

/// Two messages of each, ten seconds apart.
fn learnt(messages: &[(&str, &str)]) -> TopicSurvey {
    let mut survey = TopicSurvey::default();
    let start = now();
    for round in 0..2 {
        for (topic, payload) in messages {
            survey.handle_message(
                topic,
                payload.as_bytes(),
                start + Duration::from_secs(10 * round),
            );
        }
    }
    survey
}

#[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
fn now() -> Instant {
    Instant::now()
}

fn filters(survey: &TopicSurvey) -> Vec<String> {
    survey.topic_groups().iter().map(TopicGroup::filter).collect()
}

fn page(survey: &TopicSurvey) -> String {
    sensors(&"house".parse().unwrap(), &survey.topic_groups(), BTreeSet::new())
}

#[test]
fn topics_that_differ_in_a_level_are_one_family() {
    let survey = learnt(&[
        ("house/kitchen/temperature", "21.5"),
        ("house/bath/temperature", "23"),
        ("house/kitchen/humidity", "40"),
        ("house/bath/humidity", "60"),
        ("house/bath/door", "open"),
        ("meter/1/values", r#"{"u": 230, "i": 1.5}"#),
        ("meter/2/values", r#"{"u": 231, "i": 0.5, "cos": 1}"#),
        ("meter/2/name", r#"{"name": "pump"}"#),
    ]);
    let expected = [
        "house/+/humidity",
        "house/+/temperature",
        "house/bath/door",
        "meter/+/values",
        "meter/2/name",
    ];
    assert_eq!(filters(&survey), expected);
}

#[test]
fn wildcard_excludes_other_formats() {
    let survey = learnt(&[("a/1/v", "1"), ("a/2/v", "2"), ("a/3/v", r#"{"v": 3}"#)]);
    assert_eq!(filters(&survey), ["a/1/v", "a/2/v", "a/3/v"]);
    let survey = learnt(&[("pump", "1"), ("fan", "2"), ("lamp", "3")]);
    assert_eq!(filters(&survey), ["fan", "lamp", "pump"], "the filter + would let all in");
}

#[test]
fn products_are_recognised_and_their_talk_is_left_out() {
    let survey = learnt(&[
        ("zigbee2mqtt/kitchen", r#"{"temperature":27.34,"humidity":44.72}"#),
        ("zigbee2mqtt/hall", r#"{"occupancy":true}"#),
        ("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#),
        ("tele/plug/SENSOR", r#"{"Time":"2019-01-05T22:45:12","ENERGY":{"Power":4.7}}"#),
        ("tele/plug/LWT", "Online"),
        ("garden/soil/1", "12"),
        ("garden/soil/2", "13"),
        ("homeassistant/sensor/x/config", r#"{"name":"x"}"#),
    ]);
    assert_eq!(filters(&survey), ["tele/+/SENSOR", "zigbee2mqtt/+", "garden/soil/+"]);
    let page = page(&survey);
    for expected in [
        "# Zigbee2MQTT: see the example presets/zigbee2mqtt.toml.\n[sensor.zigbee2mqtt]",
        "{ channel = \"occupancy\", attribute = \"{{ topic[1] }}_occupancy\" },  \
         # boolean, such as true",
        "{ channel = \"/ENERGY/Power\", attribute = \"{{ topic[1] }}_ENERGY_Power\" },  \
         # number, such as 4.7",
        "# its time, 2019-01-05T22:45:12, has no zone: see time and zone\n",
        "attribute = \"soil_{{ topic[2] }}\" },  # number, such as 12",
    ] {
        assert!(page.contains(expected), "missing: {expected}\nin:\n{page}");
    }
}

#[test]
fn recognises_the_messages_of_products() {
    // The sources of the samples stand in tests/it/presets.rs.
    let cases = [
        (
            "ruuvi/C8:25:2D:8E:9C:2C/F4:1F:0C:28:CB:D6",
            concat!(
                r#"{"gw_mac":"C8:25:2D:8E:9C:2C","rssi":-26,"aoa":[],"gwts":"1653668027","#,
                r#""ts":"1653668027","data":"0201061BFF99040515AE4C6DC6D7000CFFF803F4ADB6AD69"#,
                r#"7FF41F0C28CBD6","coords":""}"#
            ),
            ("ruuvi-gateway", "temperature"),
        ),
        (
            "ruuvi_measurements/CB:B8:33:4C:88:4F",
            r#"{"name":"Sauna","temperature":24.3}"#,
            ("ruuvi", "temperature"),
        ),
        (
            "home/OpenMQTTGateway/BTtoMQTT/A4C1386E4AE8",
            r#"{"id":"A4:C1:38:6E:4A:E8","tempc":14.2}"#,
            ("openmqttgateway", "tempc"),
        ),
        ("shellies/shellyht-3A5F/sensor/temperature", "21.62", ("shelly-first", "value")),
        ("livingroom/binary_sensor/door/state", "ON", ("esphome-binary", "value")),
    ];
    for (topic, payload, (sensor, channel)) in cases {
        let topic_groups = learnt(&[(topic, payload)]).topic_groups();
        let [group] = &topic_groups[..] else { panic!("{topic}: {topic_groups:?}") };
        assert_eq!(group.preset.map(|preset| preset.sensor), Some(sensor), "{topic}");
        assert!(group.channels.get(channel).is_some(), "{group:?}");
    }
}

#[test]
fn losant_device_is_a_peripheral_with_attributes() {
    let topic = "losant/5f0000000000000000000001/state";
    let survey = learnt(&[(topic, r#"{"time":1700000000000,"data":{"temperature":21.5}}"#)]);
    let expected = r#"# Losant's devices: see the example presets/losant.toml.
[device.5f0000000000000000000001]
id = "5f0000000000000000000001"

[sensor.losant]
bus = "house"
topic = "losant/+/state"
format = "json"
device = "{{ topic[1] }}"
time = { channel = "time", format = "ms" }
map = [
  { channel = "/data/temperature", attribute = "temperature" },  # number, such as 21.5
]
"#;
    assert_eq!(page(&survey), expected);
}

#[test]
fn attributes_of_two_sensors_have_different_names() {
    let survey = learnt(&[
        ("attic/air:1/state", r#"{"t": 1, "x": 1}"#),
        ("cellar/floor/now", r#"{"t": 2, "y": 1}"#),
        ("attic/air:1/label", r#"{"x y": "a"}"#),
    ]);
    let page = page(&survey);
    let expected = [
        "\"attic_air_1_state_t\"",
        "\"cellar_floor_now_t\"",
        "\"x_y\"",
        "[sensor.attic-air_1-state]",
    ];
    for expected in expected {
        assert!(page.contains(expected), "missing: {expected}\nin:\n{page}");
    }
}

#[test]
fn names_that_are_taken_are_not_given_again() {
    let survey = learnt(&[("attic/climate", r#"{"a b": 1, "a_b": 2}"#)]);
    let taken = BTreeSet::from(["attic-climate".to_owned()]);
    let page = sensors(&"house".parse().unwrap(), &survey.topic_groups(), taken);
    for expected in ["[sensor.attic-climate-2]", "attribute = \"a_b\"", "attribute = \"a_b-2\""] {
        assert!(page.contains(expected), "missing: {expected}\nin:\n{page}");
    }
}

#[test]
fn memory_is_bounded_and_ignored_messages_are_counted() {
    let mut survey = TopicSurvey::default();
    for number in 0..TOPICS_MAX + 5 {
        survey.handle_message(&format!("t/{number}/{number}"), b"{\"a\": 1}", now());
    }
    survey.handle_message(&"t".repeat(TOPIC_BYTES_MAX + 1), b"1", now());
    assert_eq!((survey.topics().count(), survey.ignored()), (TOPICS_MAX, 6));
}

#[test]
fn changing_format_is_text_and_bytes_are_omitted() {
    let mut survey = learnt(&[("a", "21.5"), ("b", "x=1")]);
    survey.handle_message("a", b"off", now());
    survey.handle_message("b", b"off", now());
    survey.handle_message("c", b"\x00\x01", now());
    assert_eq!(filters(&survey), ["a", "b"]);
    assert!(survey.topic_groups().iter().all(|group| group.format == DetectedFormat::Text));
}
