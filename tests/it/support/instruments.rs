//! Tables of buses, sensors and actuators for the configurations of tests, and their messages.

use std::ops::Range;

/// Returns a serial bus `probe` on the path `tty` with a key-value sensor that reports these
/// channels under their own names.
pub(crate) fn probe_tables(channels: &[&str]) -> String {
    let entry = |name: &&str| format!("{{ channel = \"{name}\", attribute = \"{name}\" }}");
    let map: Vec<_> = channels.iter().map(entry).collect();
    let map = map.join(", ");
    format!(
        "[bus.serial.probe]\npath = \"tty\"\n\
         [sensor.probe]\nbus = \"probe\"\nformat = \"key-value\"\nmap = [{map}]\n"
    )
}

/// Returns a serial bus `probe` on the path `tty` with an actuator `fan`.
///
/// The command `fan` writes `FAN` and the member `speed` of its payload.
pub(crate) fn fan_tables() -> String {
    "[bus.serial.probe]\npath = \"tty\"\n\
     [actuator.fan]\ncommand = \"fan\"\nbus = \"probe\"\n\
     write = \"FAN {{ payload.speed }}\\n\"\n"
        .to_owned()
}

/// Returns an MQTT bus `house` on this port with `sensors`.
pub(crate) fn mqtt_tables(port: u16, sensors: &str) -> String {
    format!("[bus.mqtt.house]\nhost = \"127.0.0.1\"\nport = {port}\n{sensors}")
}

/// Returns an MQTT bus `house` with a sensor of the topics `n/#` that reports numbers as `n`.
pub(crate) fn number_tables(port: u16) -> String {
    mqtt_tables(
        port,
        "[sensor.number]\nbus = \"house\"\ntopic = \"n/#\"\nformat = \"text\"\n\
         map = [{ channel = \"value\", attribute = \"n\" }]\n",
    )
}

/// Returns a message with each number of a range, for the sensor of [`number_tables`].
pub(crate) fn number_messages(range: Range<u64>) -> impl Iterator<Item = (String, Vec<u8>)> {
    range.map(|number| message("n/a", number.to_string()))
}

/// Returns an MQTT message: its topic and its payload.
pub(crate) fn message(topic: &str, payload: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (topic.to_owned(), payload.into())
}
