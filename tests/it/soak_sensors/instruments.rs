//! The twenty-two instruments: their configuration, and the messages of those on serial lines.

use std::fmt::Write as _;

/// Number of watched files.
pub(super) const FILES: usize = 4;
/// Number of MQTT topics.
pub(super) const TOPICS: usize = 5;

/// The protocol of an instrument on a serial line.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    /// Lines such as `n=12`.
    Pairs,
    /// Records such as `x,12`, separated by semicolons.
    Records,
    /// A binary frame: a marker, the number, and their exclusive or.
    Binary,
    /// A sentence of NMEA 0183 with a depth in metres.
    Sentence,
    /// A text that ends with an idle time.
    Idle,
    /// The number, in answer to a request.
    Polled,
}

pub(super) const TTYS: [Protocol; 6] = [
    Protocol::Pairs,
    Protocol::Records,
    Protocol::Binary,
    Protocol::Sentence,
    Protocol::Idle,
    Protocol::Polled,
];

impl Protocol {
    /// Returns the options of the bus beside its path.
    fn bus_options(self) -> &'static str {
        match self {
            Self::Pairs | Self::Sentence => "",
            Self::Records => "frame = { kind = \"delimiter\", delimiter = \";\" }",
            Self::Binary => {
                "frame = { kind = \"fixed\", size = 7, start = \"0xaa55\", checksum = \"xor\" }"
            }
            Self::Idle => "frame = { kind = \"idle\", idle_time = \"10 ms\" }",
            Self::Polled => {
                "poll = [\"N?\\n\"]\npoll_interval = \"100 ms\"\n\
                 poll_timeout = \"200 ms\"\npoll_gap = \"5 ms\""
            }
        }
    }

    /// Returns the options of the sensor, up to the open end of its only mapping.
    fn sensor_options(self) -> &'static str {
        match self {
            Self::Pairs => PAIRS,
            Self::Records => "format = \"csv\"\nmap = [{ channel = \"1\"",
            Self::Binary => {
                "format = \"binary\"\nfields = [{ name = \"n\", offset = 2, kind = \"u32\" }]\n\
                 map = [{ channel = \"n\""
            }
            Self::Sentence => "format = \"nmea\"\nmap = [{ channel = \"depth\"",
            Self::Idle => {
                "format = \"regex\"\npattern = '^<(?<n>\\d+)>$'\nmap = [{ channel = \"n\""
            }
            Self::Polled => TEXT,
        }
    }

    /// Returns a message with the number.
    pub(super) fn message(self, n: u32) -> Vec<u8> {
        match self {
            Self::Pairs => format!("n={n}\n").into(),
            Self::Records => format!("x,{n};").into(),
            Self::Binary => {
                let mut frame = [&[0xaa, 0x55], &n.to_be_bytes()[..]].concat();
                frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
                frame
            }
            Self::Sentence => {
                let body = format!("SDDPT,{n}.0,0.0");
                let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
                format!("${body}*{sum:02X}\r\n").into()
            }
            Self::Idle => format!("<{n}>").into(),
            Self::Polled => format!("{n}\n").into(),
        }
    }
}

const TEXT: &str = "format = \"text\"\nmap = [{ channel = \"value\"";
const PAIRS: &str = "format = \"key-value\"\nmap = [{ channel = \"n\"";

/// The ports of the instruments on the network.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) broker: u16,
    pub(super) modbus: u16,
    pub(super) push: u16,
}

/// Adds a bus with one sensor, whose attribute is the bus's name.
fn bus(config: &mut String, kind: &str, name: &str, options: &str, sensor: &str) {
    write!(
        config,
        "[bus.{kind}.{name}]\n{options}\n\
         [sensor.{name}]\nbus = \"{name}\"\n{sensor}, attribute = \"{name}\" }}]\n"
    )
    .unwrap();
}

/// Adds a Modbus bus with a unit that answers and one that does not.
fn modbus(config: &mut String, name: &str, place: &str) {
    let units = format!(
        "{place}\ninterval = \"100 ms\"\ntimeout = \"300 ms\"\n\
         [bus.modbus.{name}.unit.pump]\nid = 1\nregisters = [\
         {{ channel = \"flow\", table = \"input\", address = 0, kind = \"f32\" }}]\n\
         [bus.modbus.{name}.unit.dead]\nid = 2\n\
         registers = [{{ channel = \"flow\", address = 0 }}]"
    );
    bus(config, "modbus", name, &units, "format = \"json\"\nmap = [{ channel = \"flow\"");
}

/// Returns the configuration of all instruments.
pub(super) fn configuration(ports: Ports) -> String {
    let mut config = String::new();
    for (at, protocol) in TTYS.into_iter().enumerate() {
        let options = format!("path = \"tty{at}\"\n{}", protocol.bus_options());
        bus(&mut config, "serial", &format!("tty{at}"), &options, protocol.sensor_options());
    }
    for at in 0..FILES {
        let mode = if at % 2 == 0 { "interval" } else { "change" };
        let options = format!("paths = [\"file{at}\"]\nmode = \"{mode}\"\ninterval = \"100 ms\"");
        bus(&mut config, "file", &format!("file{at}"), &options, TEXT);
    }
    let log = "paths = [\"app.log\"]\nmode = \"tail\"\ninterval = \"100 ms\"";
    bus(&mut config, "file", "log", log, PAIRS);
    let run = "command = [\"/bin/echo\", \"n=1\"]\ninterval = \"500 ms\"";
    bus(&mut config, "exec", "run", run, PAIRS);
    // The program ends after a time that counts as success, so that it is started again at once.
    let count =
        "command = [\"/bin/sh\", \"-c\", \"for i in $(seq 620); do echo n=$i; sleep 0.1; done\"]";
    let lines = format!("{count}\nmode = \"lines\"");
    bus(&mut config, "exec", "lines", &lines, PAIRS);
    let uptime = "format = \"json\"\nmap = [{ channel = \"uptime_s\"";
    bus(&mut config, "system", "pi", "interval = \"200 ms\"", uptime);
    modbus(&mut config, "plc", &format!("tcp = \"127.0.0.1:{}\"", ports.modbus));
    modbus(&mut config, "meter", "path = \"meter\"\nbaud_rate = 19200");
    let push = format!("listen = \"127.0.0.1:{}\"\ncredentials_file = \"push-token\"", ports.push);
    bus(&mut config, "http", "push", &push, "format = \"json\"\nmap = [{ channel = \"n\"");
    writeln!(config, "[bus.mqtt.house]\nhost = \"127.0.0.1\"\nport = {}", ports.broker).unwrap();
    for at in 0..TOPICS {
        let name = format!("topic{at}");
        writeln!(
            config,
            "[sensor.{name}]\nbus = \"house\"\ntopic = \"t/{at}\"\n\
             {TEXT}, attribute = \"{name}\" }}]"
        )
        .unwrap();
    }
    config
}

/// Returns all attributes. Each must get new values.
pub(super) fn attributes() -> Vec<String> {
    let several = [("tty", TTYS.len()), ("file", FILES), ("topic", TOPICS)];
    let several = several
        .into_iter()
        .flat_map(|(name, count)| (0..count).map(move |at| format!("{name}{at}")));
    let single = ["log", "run", "lines", "pi", "plc", "meter", "push"];
    several.chain(single.map(str::to_owned)).collect()
}
