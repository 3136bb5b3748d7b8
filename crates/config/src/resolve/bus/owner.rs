//! What only one bus can have: a tty, a session with a broker, a port, a line of a chip. Two that want the same would push each other
//! out for ever, or one would wait for what the other never gives back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::resolve::Check;
use crate::{Bus, BusKind, GpioBus, GpioLine, ModbusLine, MqttBus, Place};
use tidegate_model::Name;

/// Something of which there is one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Tty(String),
    Session(String, u16, String),
    Port(SocketAddr),
    Line(PathBuf, GpioLine),
}

/// Tells of things that two buses want.
pub(super) fn one_owner_each(buses: &BTreeMap<Name, Bus>, check: &mut Check<'_>) {
    let mut owners: BTreeMap<Thing, String> = BTreeMap::new();
    for (name, bus) in buses {
        let key = format!("bus.{}.{name}", bus.kind.word());
        for (option, thing) in things(&bus.kind) {
            // What is missing is told already.
            if thing.is_empty(check) {
                continue;
            }
            match owners.get(&thing) {
                Some(owner) if *owner != key => {
                    let what = format!("{owner} has {}, too", thing.words());
                    check.problems.add(format!("{key}.{option}"), what, thing.fix());
                }
                // Two lines of one bus are told with their names.
                Some(_) => {}
                None => drop(owners.insert(thing, key.clone())),
            }
        }
    }
}

/// What a bus has, and the option that says so.
fn things(kind: &BusKind) -> Vec<(&'static str, Thing)> {
    match kind {
        BusKind::Serial(serial) => vec![tty(&serial.port.place)],
        BusKind::Modbus(modbus) => match &modbus.line {
            ModbusLine::Rtu(port) => vec![tty(&port.place)],
            // Many take several connections.
            ModbusLine::Tcp { .. } => Vec::new(),
        },
        BusKind::Mqtt(MqttBus { host, port, client_id, .. }) => {
            vec![("client_id", Thing::Session(host.clone(), *port, client_id.clone()))]
        }
        BusKind::Http(http) => vec![("listen", Thing::Port(http.listen))],
        BusKind::Gpio(GpioBus { chip, inputs, outputs, .. }) => {
            let inputs = inputs.iter().map(|input| ("input", &input.line));
            let outputs = outputs.iter().map(|output| ("output", &output.line));
            let line = |(word, line): (&'static str, &GpioLine)| {
                (word, Thing::Line(chip.clone(), line.clone()))
            };
            inputs.chain(outputs).map(line).collect()
        }
        BusKind::File(_) | BusKind::Exec(_) | BusKind::System(_) => Vec::new(),
    }
}

fn tty(place: &Place) -> (&'static str, Thing) {
    match place {
        Place::Path(path) => ("path", Thing::Tty(path.to_string_lossy().into_owned())),
        Place::Usb(identity) => {
            let interface = identity
                .interface
                .map(|number| format!(", interface {number}"))
                .unwrap_or_default();
            ("usb", Thing::Tty(format!("{place}{interface}")))
        }
    }
}

impl Thing {
    fn is_empty(&self, check: &Check<'_>) -> bool {
        match self {
            Self::Tty(path) => *path == check.path("").to_string_lossy(),
            Self::Session(host, _, id) => host.is_empty() || id.is_empty(),
            // Any that is free.
            Self::Port(address) => address.port() == 0,
            Self::Line(..) => false,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Tty(place) => place.clone(),
            Self::Session(host, port, id) => format!("\"{id}\" at {host}:{port}"),
            Self::Port(address) => address.to_string(),
            Self::Line(chip, line) => format!("{line} of {}", chip.display()),
        }
    }

    fn fix(&self) -> &'static str {
        match self {
            Self::Tty(_) => "give each its own tty; several sensors can share one bus",
            Self::Session(..) => {
                "take one away: a broker ends a session when another takes its name"
            }
            Self::Port(_) => "give each its own port; several sensors can share one bus",
            Self::Line(..) => "give each its own line",
        }
    }
}
