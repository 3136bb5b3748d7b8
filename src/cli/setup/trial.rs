//! Validates one answer with the configuration: a small configuration that is valid except for it.

use toml::{Table, Value};

use super::answers::NAME;

/// The kind of bus in the trial configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrialBus {
    /// A serial line.
    Serial,
    /// An MQTT broker.
    Broker,
}

/// Validates the tables of a bus.
pub(super) fn check(tables: &Table, kind: TrialBus) -> Result<(), String> {
    first_problem(&format!("{tables}\n{}", sensor(kind, None)), "bus.")
}

/// Validates one option of the sensor.
pub(super) fn check_option(option: &str, value: &Value, kind: TrialBus) -> Result<(), String> {
    let bus = match kind {
        TrialBus::Serial => format!("[bus.serial.{NAME}]\npath = \"/dev/null\"\n"),
        TrialBus::Broker => format!("[bus.mqtt.{NAME}]\nhost = \"localhost\"\n"),
    };
    let text = format!("{bus}{}", sensor(kind, Some((option, value))));
    first_problem(&text, &format!("sensor.{NAME}.{option}"))
}

/// Returns a valid sensor with one other option.
fn sensor(kind: TrialBus, other: Option<(&str, &Value)>) -> String {
    let mut sensor = Table::new();
    sensor.insert("bus".to_owned(), NAME.into());
    if kind == TrialBus::Broker {
        sensor.insert("topic".to_owned(), "a".into());
    }
    sensor.insert("format".to_owned(), "json".into());
    let members = [("channel", "a"), ("attribute", "a")];
    let members = members.map(|(name, text)| (name.to_owned(), Value::from(text)));
    let mapping = Value::Table(members.into_iter().collect());
    sensor.insert("map".to_owned(), Value::Array(vec![mapping]));
    sensor.extend(other.map(|(option, value)| (option.to_owned(), value.clone())));
    let named = Table::from_iter([(NAME.to_owned(), Value::from(sensor))]);
    Table::from_iter([("sensor".to_owned(), Value::from(named))]).to_string()
}

/// Returns the first problem below a key.
fn first_problem(text: &str, key: &str) -> Result<(), String> {
    let Err(problems) = tidegate_config::check_text(text) else { return Ok(()) };
    let found = problems.iter().find(|problem| problem.at.starts_with(key));
    let shown = |problem: &tidegate_config::Problem| {
        let fix = if problem.fix.is_empty() { String::new() } else { format!("; {}", problem.fix) };
        format!("{}{fix}", problem.what)
    };
    found.map_or(Ok(()), |problem| Err(shown(problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_validated_one_by_one() {
        for (option, good, bad) in
            [("topic", "sensors/+/climate", "a/#/b"), ("format", "key-value", "jason")]
        {
            assert_eq!(check_option(option, &good.into(), TrialBus::Broker), Ok(()), "{option}");
            assert!(check_option(option, &bad.into(), TrialBus::Broker).is_err(), "{option}");
        }
        let bus = |rate: i64| {
            let text =
                format!("[bus.serial.{NAME}]\npath = \"/dev/ttyUSB0\"\nbaud_rate = {rate}\n");
            check(&text.parse().unwrap(), TrialBus::Serial)
        };
        assert_eq!(bus(9_600), Ok(()));
        assert!(bus(-1).is_err());
    }
}
