//! The attributes that a configuration produces, with those of command reports.

use tidegate_bus::known_messages;
use tidegate_config::{Config, Topics};
use tidegate_ingest::mapping::{BusSensors, Produced, Production};
use tidegate_model::AttributeType;

/// Returns the attributes that follow from the configuration.
pub(crate) fn production(config: &Config) -> Production {
    let buses = config.buses.values().map(|bus| BusSensors {
        sensors: &bus.sensors,
        messages: known_messages(&bus.kind),
        has_topics: !matches!(bus.kind.topics(), Topics::None),
    });
    let mut production = Production::of(&buses.collect::<Vec<_>>(), &config.devices);
    add_reports(config, &mut production);
    production
}

/// Adds the attributes that report the results of commands.
fn add_reports(config: &Config, production: &mut Production) {
    let report = &config.commands.report;
    let attributes = [
        (&report.command, AttributeType::Text),
        (&report.id, AttributeType::Text),
        (&report.result, AttributeType::Text),
        (&report.message, AttributeType::Text),
        (&report.duration_ms, AttributeType::Number),
    ];
    for actuator in &config.actuators {
        let device = report.by_gateway.unwrap_or(actuator.device);
        for (attribute, data_type) in &attributes {
            let Some(attribute) = attribute else { continue };
            production.add(device, attribute.clone(), Produced::certain(Some(*data_type)));
        }
    }
}
