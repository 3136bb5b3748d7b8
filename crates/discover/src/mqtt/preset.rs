//! The products that are known by their topics: config/examples/presets has a page for each.

use super::shape::Dialect;
use tidegate_model::topic::TopicFilter;

/// What is known of topics.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// Whose topics they are.
    pub product: &'static str,
    /// Its page in config/examples/presets.
    pub page: &'static str,
    /// The topics.
    pub filter: &'static str,
    /// The name of the sensor that reads them.
    pub sensor: &'static str,
    /// How they are written.
    pub dialect: Dialect,
    /// Whether what the broker retains is the last value of a sensor that seldom speaks.
    pub retained: bool,
}

const JSON: Dialect = Dialect::Json { is_list: false };

/// In the order in which they are asked: `ruuvi/+/+` stands before what is more general.
const PRESETS: [Preset; 16] = [
    json("Losant's devices", "losant.toml", "losant/+/state", "losant"),
    json("Zigbee2MQTT", "zigbee2mqtt.toml", "zigbee2mqtt/+", "zigbee2mqtt"),
    json("Tasmota", "tasmota.toml", "tele/+/SENSOR", "tasmota"),
    json("Tasmota", "tasmota.toml", "tele/+/STATE", "tasmota-state"),
    json("OpenMQTTGateway", "openmqttgateway.toml", "home/+/BTtoMQTT/+", "openmqttgateway"),
    json("RuuviBridge", "ruuvi.toml", "ruuvi_measurements/+", "ruuvi"),
    Preset {
        dialect: Dialect::Ruuvi,
        ..json("Ruuvi Gateway", "ruuvi-gateway.toml", "ruuvi/+/+", "ruuvi-gateway")
    },
    Preset {
        dialect: Dialect::Sparkplug,
        ..json("Sparkplug B", "sparkplug.toml", "spBv1.0/+/+/+/+", "sparkplug")
    },
    json("Shelly", "shelly.toml", "+/status/switch:0", "shelly-switch"),
    json("Shelly", "shelly.toml", "+/status/temperature:0", "shelly-temperature"),
    json("Shelly", "shelly.toml", "+/status/humidity:0", "shelly-humidity"),
    json("Shelly", "shelly.toml", "+/status/devicepower:0", "shelly-battery"),
    text("Shelly", "shelly.toml", "shellies/+/sensor/+", "shelly-first"),
    text("Shelly", "shelly.toml", "shellies/+/relay/0/power", "shelly-first-power"),
    Preset { retained: true, ..text("ESPHome", "esphome.toml", "+/sensor/+/state", "esphome") },
    Preset {
        retained: true,
        ..text("ESPHome", "esphome.toml", "+/binary_sensor/+/state", "esphome-binary")
    },
];

/// Topics on which those products talk of themselves, or are talked to.
const CHATTER: [&str; 18] = [
    "zigbee2mqtt/bridge/#",
    "zigbee2mqtt/+/availability",
    "zigbee2mqtt/+/set/#",
    "zigbee2mqtt/+/get/#",
    "homeassistant/#",
    "tasmota/discovery/#",
    "tele/+/+",
    "cmnd/#",
    "stat/#",
    "losant/+/command",
    "spBv1.0/STATE/#",
    "home/+/LWT",
    "home/+/SYStoMQTT",
    "shellies/announce",
    "shellies/+/online",
    "+/online",
    "+/debug",
    "esphome/discover/#",
];

const fn json(
    product: &'static str,
    page: &'static str,
    filter: &'static str,
    sensor: &'static str,
) -> Preset {
    Preset { product, page, filter, sensor, dialect: JSON, retained: false }
}

const fn text(
    product: &'static str,
    page: &'static str,
    filter: &'static str,
    sensor: &'static str,
) -> Preset {
    Preset { dialect: Dialect::Text, ..json(product, page, filter, sensor) }
}

impl Preset {
    /// The first preset that has this topic.
    pub fn of(topic: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| matches(preset.filter, topic))
    }
}

/// Whether this topic is known to hold no measurement.
pub(super) fn is_chatter(topic: &str) -> bool {
    Preset::of(topic).is_none() && CHATTER.iter().any(|filter| matches(filter, topic))
}

fn matches(filter: &str, topic: &str) -> bool {
    filter.parse::<TopicFilter>().is_ok_and(|filter| filter.matches(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_one() {
        let filters = PRESETS.iter().map(|preset| preset.filter).chain(CHATTER);
        for filter in filters {
            assert!(filter.parse::<TopicFilter>().is_ok(), "{filter}");
        }
    }

    #[test]
    fn a_product_is_known_by_its_topics_and_its_talk_is_none() {
        let cases = [
            ("zigbee2mqtt/kitchen", Some("Zigbee2MQTT"), false),
            ("zigbee2mqtt/bridge/state", None, true),
            ("tele/plug/SENSOR", Some("Tasmota"), false),
            ("tele/plug/LWT", None, true),
            ("losant/5f0000000000000000000001/command", None, true),
            ("house/kitchen/temperature", None, false),
        ];
        for (topic, product, chatter) in cases {
            assert_eq!(Preset::of(topic).map(|preset| preset.product), product, "{topic}");
            assert_eq!(is_chatter(topic), chatter, "{topic}");
        }
    }
}
