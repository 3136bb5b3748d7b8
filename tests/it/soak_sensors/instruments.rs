//! The twenty-two instruments: how the daemon is told of them, and what those on a line say.

use std::fmt::Write as _;

/// Of each kind that is there several times.
pub(super) const FILES: usize = 4;
pub(super) const TOPICS: usize = 5;

/// What an instrument on a serial line speaks: how its bus and its sensor are configured.
#[derive(Clone, Copy)]
pub(super) enum Tongue {
    /// `n=12`, in lines.
    Pairs,
    /// `x,12`, between semicolons.
    Records,
    /// A frame of bytes: a mark, the number, and their exclusive or.
    Bytes,
    /// A sentence of NMEA 0183 with a depth in metres.
    Sentence,
    /// A text that ends with a silence.
    Breath,
    /// The number, when it is asked for.
    Answer,
}

pub(super) const TTYS: [Tongue; 6] = [
    Tongue::Pairs,
    Tongue::Records,
    Tongue::Bytes,
    Tongue::Sentence,
    Tongue::Breath,
    Tongue::Answer,
];

impl Tongue {
    /// What the bus has beside its path.
    fn line(self) -> &'static str {
        match self {
            Self::Pairs | Self::Sentence => "",
            Self::Records => "frame = { kind = \"delimiter\", delimiter = \";\" }",
            Self::Bytes => {
                "frame = { kind = \"fixed\", size = 7, start = \"0xaa55\", checksum = \"xor\" }"
            }
            Self::Breath => "frame = { kind = \"idle\", idle_time = \"10 ms\" }",
            Self::Answer => {
                "poll = [\"N?\\n\"]\npoll_interval = \"100 ms\"\npoll_timeout = \"200 ms\"\npoll_gap = \"5 ms\""
            }
        }
    }

    /// How the sensor takes the number out of it, up to the open end of its only mapping.
    fn reading(self) -> &'static str {
        match self {
            Self::Pairs => PAIRS,
            Self::Records => "format = \"csv\"\nmap = [{ channel = \"1\"",
            Self::Bytes => {
                "format = \"binary\"\nfields = [{ name = \"n\", offset = 2, kind = \"u32\" }]\nmap = [{ channel = \"n\""
            }
            Self::Sentence => "format = \"nmea\"\nmap = [{ channel = \"depth\"",
            Self::Breath => {
                "format = \"regex\"\npattern = '^<(?<n>\\d+)>$'\nmap = [{ channel = \"n\""
            }
            Self::Answer => TEXT,
        }
    }

    /// Says the number.
    pub(super) fn say(self, n: u32) -> Vec<u8> {
        match self {
            Self::Pairs => format!("n={n}\n").into(),
            Self::Records => format!("x,{n};").into(),
            Self::Bytes => {
                let mut frame = [&[0xaa, 0x55], &n.to_be_bytes()[..]].concat();
                frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
                frame
            }
            Self::Sentence => {
                let body = format!("SDDPT,{n}.0,0.0");
                let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
                format!("${body}*{sum:02X}\r\n").into()
            }
            Self::Breath => format!("<{n}>").into(),
            Self::Answer => format!("{n}\n").into(),
        }
    }
}

const TEXT: &str = "format = \"text\"\nmap = [{ channel = \"value\"";
const PAIRS: &str = "format = \"key-value\"\nmap = [{ channel = \"n\"";

/// Where the instruments are that are reached over the network.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) broker: u16,
    pub(super) modbus: u16,
    pub(super) push: u16,
}

/// One bus with one sensor, whose attribute is the bus's name.
fn bus(config: &mut String, kind: &str, name: &str, options: &str, sensor: &str) {
    write!(
        config,
        "[bus.{kind}.{name}]\n{options}\n[sensor.{name}]\nbus = \"{name}\"\n{sensor}, attribute = \"{name}\" }}]\n"
    )
    .unwrap();
}

/// A Modbus line with a unit that answers and one that does not.
fn modbus(config: &mut String, name: &str, place: &str) {
    let units = format!(
        "{place}\ninterval = \"100 ms\"\ntimeout = \"300 ms\"\n\
         [bus.modbus.{name}.unit.pump]\nid = 1\nregisters = [{{ channel = \"flow\", table = \"input\", address = 0, kind = \"f32\" }}]\n\
         [bus.modbus.{name}.unit.dead]\nid = 2\nregisters = [{{ channel = \"flow\", address = 0 }}]"
    );
    bus(config, "modbus", name, &units, "format = \"json\"\nmap = [{ channel = \"flow\"");
}

/// The configuration.
pub(super) fn configuration(ports: Ports) -> String {
    let mut config = String::new();
    for (at, tongue) in TTYS.into_iter().enumerate() {
        let options = format!("path = \"tty{at}\"\n{}", tongue.line());
        bus(&mut config, "serial", &format!("tty{at}"), &options, tongue.reading());
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
    // It ends after a time that shows that it was well, so that it is started again at once.
    let count =
        "command = [\"/bin/sh\", \"-c\", \"for i in $(seq 620); do echo n=$i; sleep 0.1; done\"]";
    let lines = format!("{count}\nmode = \"lines\"");
    bus(&mut config, "exec", "lines", &lines, PAIRS);
    let look = "format = \"json\"\nmap = [{ channel = \"uptime_s\"";
    bus(&mut config, "system", "pi", "interval = \"200 ms\"", look);
    modbus(&mut config, "plc", &format!("tcp = \"127.0.0.1:{}\"", ports.modbus));
    modbus(&mut config, "meter", "path = \"meter\"\nbaud_rate = 19200");
    let push = format!("listen = \"127.0.0.1:{}\"\ncredentials_file = \"push-token\"", ports.push);
    bus(&mut config, "http", "push", &push, "format = \"json\"\nmap = [{ channel = \"n\"");
    writeln!(config, "[bus.mqtt.house]\nhost = \"127.0.0.1\"\nport = {}", ports.broker).unwrap();
    for at in 0..TOPICS {
        let name = format!("topic{at}");
        writeln!(config, "[sensor.{name}]\nbus = \"house\"\ntopic = \"t/{at}\"\n{TEXT}, attribute = \"{name}\" }}]").unwrap();
    }
    config
}

/// All attributes, of which each must go on to grow.
pub(super) fn attributes() -> Vec<String> {
    let several = [("tty", TTYS.len()), ("file", FILES), ("topic", TOPICS)];
    let several = several
        .into_iter()
        .flat_map(|(name, count)| (0..count).map(move |at| format!("{name}{at}")));
    let single = ["log", "run", "lines", "pi", "plc", "meter", "push"];
    several.chain(single.map(str::to_owned)).collect()
}
