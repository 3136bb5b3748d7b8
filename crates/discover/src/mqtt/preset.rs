//! Products that are recognised by their topics. config/examples/presets has a file for each.

use super::shape::DetectedFormat;
use tidegate_model::topic::TopicFilter;

/// The topics of a product.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name of the product.
    pub product: &'static str,
    /// Its file in config/examples/presets.
    pub example_file: &'static str,
    /// The filter of its topics.
    pub filter: &'static str,
    /// The name of the sensor.
    pub sensor: &'static str,
    /// The format of its messages.
    pub format: DetectedFormat,
    /// Whether retained messages are read: the last values of sensors that seldom publish.
    pub retained: bool,
}

const JSON: DetectedFormat = DetectedFormat::Json { is_list: false };

/// The presets, in the order of the search: specific filters before general ones.
const PRESETS: &[Preset] = &[
    json("Losant's devices", "losant.toml", "losant/+/state", "losant"),
    json("Zigbee2MQTT", "zigbee2mqtt.toml", "zigbee2mqtt/+", "zigbee2mqtt"),
    json("Tasmota", "tasmota.toml", "tele/+/SENSOR", "tasmota"),
    json("Tasmota", "tasmota.toml", "tele/+/STATE", "tasmota-state"),
    json("OpenMQTTGateway", "openmqttgateway.toml", "home/+/BTtoMQTT/+", "openmqttgateway"),
    json("RuuviBridge", "ruuvi.toml", "ruuvi_measurements/+", "ruuvi"),
    Preset {
        format: DetectedFormat::Ruuvi,
        ..json("Ruuvi Gateway", "ruuvi-gateway.toml", "ruuvi/+/+", "ruuvi-gateway")
    },
    Preset {
        format: DetectedFormat::Sparkplug,
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

/// Topics that products use for commands and for their own status.
const INTERNAL_TOPICS: [&str; 18] = [
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
    example_file: &'static str,
    filter: &'static str,
    sensor: &'static str,
) -> Preset {
    Preset { product, example_file, filter, sensor, format: JSON, retained: false }
}

const fn text(
    product: &'static str,
    example_file: &'static str,
    filter: &'static str,
    sensor: &'static str,
) -> Preset {
    Preset { format: DetectedFormat::Text, ..json(product, example_file, filter, sensor) }
}

impl Preset {
    /// Returns the first preset whose filter matches the topic.
    pub fn of(topic: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| matches(preset.filter, topic))
    }
}

/// Returns whether a topic is known to have no measurements.
pub(super) fn is_internal(topic: &str) -> bool {
    Preset::of(topic).is_none() && INTERNAL_TOPICS.iter().any(|filter| matches(filter, topic))
}

fn matches(filter: &str, topic: &str) -> bool {
    filter.parse::<TopicFilter>().is_ok_and(|filter| filter.matches(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_valid() {
        let filters = PRESETS.iter().map(|preset| preset.filter).chain(INTERNAL_TOPICS);
        for filter in filters {
            assert!(filter.parse::<TopicFilter>().is_ok(), "{filter}");
        }
    }

    #[test]
    fn recognises_products_and_internal_topics() {
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
            assert_eq!(is_internal(topic), chatter, "{topic}");
        }
    }
}
