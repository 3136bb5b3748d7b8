//! The example configuration of the daemon, and the names in it.

/// The text of the example configuration, which the demo uses unchanged.
pub(crate) const TEXT: &str = include_str!("../../config/examples/demo.toml");

/// The serial bus.
pub(crate) const PROBE: &str = "probe";
/// The MQTT bus.
pub(crate) const HOUSE: &str = "house";

/// The mapped attributes. The demo counts only these, because the daemon can report attributes of
/// its own.
pub(crate) const MAPPINGS: [Mapping; 3] = [
    Mapping { device: "gateway", bus: PROBE, attributes: &["temperature", "humidity"] },
    Mapping {
        device: "greenhouse",
        bus: HOUSE,
        attributes: &["temperature", "humidity", "battery"],
    },
    Mapping { device: "workshop", bus: HOUSE, attributes: &["power"] },
];

/// The attributes of a device that are mapped from a bus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) device: &'static str,
    pub(crate) bus: &'static str,
    pub(crate) attributes: &'static [&'static str],
}

#[cfg(test)]
mod tests {
    use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, WORKSHOP_ID, default_devices};

    use super::*;

    #[test]
    fn example_config_names_the_default_devices() {
        for (table, line) in [
            ("losant", format!("device_id = \"{GATEWAY_ID}\"")),
            ("device.greenhouse", format!("id = \"{GREENHOUSE_ID}\"")),
            ("device.workshop", format!("id = \"{WORKSHOP_ID}\"")),
        ] {
            let (_, rest) = TEXT.split_once(&format!("\n[{table}]\n")).unwrap();
            let body = rest.split("\n[").next().unwrap();
            assert!(body.lines().any(|found| found == line), "{line} is not in [{table}]");
        }
    }

    #[test]
    fn mapped_attributes_are_declared_in_the_sandbox() {
        for Mapping { device: name, attributes, .. } in MAPPINGS {
            let device = default_devices().into_iter().find(|device| device.name == name).unwrap();
            for attribute in attributes {
                let declared = device.attributes.iter().any(|it| it.name == *attribute);
                assert!(declared, "{name} does not declare {attribute}");
            }
        }
    }
}
