//! Tables of buses, sensors and actuators for the configurations of tests.

/// A serial bus `probe` on the path `tty` with a key-value sensor that reports these channels under
/// their own names.
pub(crate) fn probe_tables(channels: &[&str]) -> String {
    let entry = |name: &&str| format!("{{ channel = \"{name}\", attribute = \"{name}\" }}");
    let map: Vec<_> = channels.iter().map(entry).collect();
    let map = map.join(", ");
    format!(
        "[bus.serial.probe]\npath = \"tty\"\n\
         [sensor.probe]\nbus = \"probe\"\nformat = \"key-value\"\nmap = [{map}]\n"
    )
}

/// A serial bus `probe` on the path `tty` with an actuator `fan`: the command `fan` writes `FAN` and
/// the member `speed` of its payload.
pub(crate) fn fan_tables() -> String {
    "[bus.serial.probe]\npath = \"tty\"\n\
     [actuator.fan]\ncommand = \"fan\"\nbus = \"probe\"\n\
     write = \"FAN {{ payload.speed }}\\n\"\n"
        .to_owned()
}
