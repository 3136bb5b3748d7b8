//! Buses: the table of kinds, and the checks that concern all of them.
//!
//! A kind of bus is one module, which implements [`Settings`], and one line in the table below.

mod exec;
mod file;
mod frame;
mod frame_presets;
mod gpio;
mod http;
mod modbus;
mod mqtt;
mod port;
mod serial;
mod serial_poll;
mod settings;
mod system;
mod values;

use std::collections::BTreeMap;

pub use exec::{ExecBus, ExecMode};
pub use file::{FileBus, FileMode};
pub use gpio::{AtStart, AtStop, Bias, Drive, Edges, GpioBus, GpioInput, GpioLine, GpioOutput};
pub use http::HttpBus;
pub use modbus::{ModbusBus, ModbusLine, ModbusUnit};
pub(crate) use modbus::{RawRegister, register};
pub use mqtt::{MqttBus, MqttTls, MqttVersion};
pub use port::{FlowControl, Parity, Place, Port, Rs485, StopBits, UsbIdentity, UsbIdentityError};
pub use serial::{SerialBus, SerialPoll};
pub use settings::Topics;
pub use system::SystemBus;

use crate::check::Check;
use crate::key::join;
use crate::table::table;
use settings::{Exclusive, Settings, Table};
use tidegate_ingest::mapping::Sensor;
use tidegate_model::{DeviceId, Name};

/// Names that the ledger uses for states without a bus: results of commands, and imported states.
const RESERVED: [&str; 2] = ["commands", "import"];

/// One connection and the sensors that read from it.
#[derive(Debug, PartialEq)]
pub struct Bus {
    /// The connection.
    pub kind: BusKind,
    /// The sensors.
    pub sensors: Vec<Sensor>,
}

/// Defines the raw tables `[bus.KIND.NAME]`, their resolved settings and their resolution. The
/// module of a kind is named after the word of its table.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($module:ident::$settings:ident)),* $(,)?) => {
        table!(Buses { $($module: BTreeMap<String, $module::Raw>,)* });

        /// The settings of a bus of any kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum BusKind {
            $($(#[$doc])* $variant($module::$settings),)*
        }

        /// The word of each kind in its table `[bus.WORD.NAME]`.
        pub(crate) const WORDS: &[&str] = &[$(stringify!($module)),*];

        impl BusKind {
            /// Returns the word of the kind, as in `[bus.WORD.NAME]`.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($module),)*
                }
            }

            /// Returns whether messages of the bus have topics.
            pub fn topics(&self) -> Topics {
                match self {
                    $(Self::$variant(settings) => settings.topics(),)*
                }
            }

            fn exclusive(&self) -> Vec<Exclusive> {
                match self {
                    $(Self::$variant(settings) => settings.exclusive(),)*
                }
            }
        }

        /// Resolves all buses. A bus with a problem is in the result, too, so that its sensors are
        /// not reported for it.
        pub(crate) fn resolve(
            raw: Buses,
            gateway: Option<DeviceId>,
            check: &mut Check<'_>,
        ) -> BTreeMap<Name, Bus> {
            let mut buses = BTreeMap::new();
            $(for (name, raw) in raw.$module {
                let word = stringify!($module);
                add(&mut buses, word, &name, check, |key, name, check| {
                    let table = Table { key, name, gateway };
                    BusKind::$variant(Settings::resolve(&table, raw, check))
                });
            })*
            check_exclusive(&buses, check);
            buses
        }
    };
}

kinds! {
    /// A serial line.
    Serial(serial::SerialBus),
    /// A Modbus line, serial or TCP.
    Modbus(modbus::ModbusBus),
    /// A session with an MQTT broker.
    Mqtt(mqtt::MqttBus),
    /// Files of the kernel, of programs, or logs.
    File(file::FileBus),
    /// A program.
    Exec(exec::ExecBus),
    /// An HTTP endpoint that receives readings.
    Http(http::HttpBus),
    /// Lines of a GPIO chip.
    Gpio(gpio::GpioBus),
    /// The state of this computer.
    System(system::SystemBus),
}

/// Adds one bus.
fn add(
    buses: &mut BTreeMap<Name, Bus>,
    word: &str,
    name: &str,
    check: &mut Check<'_>,
    resolve: impl FnOnce(&str, &Name, &mut Check<'_>) -> BusKind,
) {
    let key = join(&format!("bus.{word}"), name);
    if RESERVED.contains(&name) {
        let what = "is reserved for states without a bus";
        check.problems.add(&key, what, "give the bus another name");
    }
    let Some(name) = check.parsed::<Name>(&key, name) else { return };
    let kind = resolve(&key, &name, check);
    if let Some(other) = buses.get(&name) {
        let problem = format!("bus.{}.{name} has the same name", other.kind.word());
        check.problems.add(key, problem, "give each bus a name of its own");
        return;
    }
    buses.insert(name, Bus { kind, sensors: Vec::new() });
}

/// Reports resources that two buses need alone. A conflict inside one bus is reported by its kind.
fn check_exclusive(buses: &BTreeMap<Name, Bus>, check: &mut Check<'_>) {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (name, bus) in buses {
        let key = format!("bus.{}.{name}", bus.kind.word());
        for Exclusive { option, resource, fix } in bus.kind.exclusive() {
            match owners.get(&resource) {
                Some(owner) if *owner != key => {
                    let what = format!("{owner} has {resource}, too");
                    check.problems.add(format!("{key}.{option}"), what, fix);
                }
                Some(_) => {}
                None => drop(owners.insert(resource, key.clone())),
            }
        }
    }
}
