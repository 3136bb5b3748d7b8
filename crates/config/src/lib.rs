//! The configuration: from files and environment to a [`Config`] that holds only valid things.
//!
//! `load` merges the layers into a `Raw`, `resolve` turns that into a [`Config`]. Both collect every problem before
//! they give up, so that an operator sees all mistakes at once.

mod annotated;
mod check_text;
mod difference;
mod explain;
mod field;
mod load;
mod option_info;
mod origin;
mod problem;
mod raw;
mod render;
mod replace;
mod resolve;
mod schema;
mod secret;
mod shape;
mod suggest;
#[cfg(test)]
mod tests;
mod types;

use std::path::Path;

pub use check_text::check_text;
pub use difference::{BusDifference, Difference};
pub use explain::{Entry, changed_keys, explain};
pub use load::status_socket;
pub use origin::Origin;
pub use problem::{Problem, Problems};
pub use render::render;
pub use replace::replace;
pub use resolve::KEEP_ALIVE_RANGE;
pub use schema::schema;
pub use secret::{CloudCredentials, Secret, UserPassword, read_credentials, read_token};
pub use types::{
    AtStart, AtStop, Bias, Bus, BusKind, Cloud, Commands, Config, Drive, Edges, ExecBus, ExecMode,
    FileBus, FileMode, FlowControl, GpioBus, GpioInput, GpioLine, GpioOutput, HttpBus, ModbusBus,
    ModbusLine, ModbusUnit, MqttBus, MqttTls, MqttVersion, OutboxSettings, Parity, Place, Port,
    Proxy, Rs485, SerialBus, SerialPoll, StopBits, SystemBus, Topics, UsbIdentity,
    UsbIdentityError,
};

/// The defaults, which are also the annotated example: `config/tidegate.toml`.
pub const DEFAULTS: &str = include_str!("../../../config/tidegate.toml");

/// Reads and checks the configuration in `file`, with the `conf.d` directory beside it and the environment over it.
///
/// # Errors
/// All problems that could be found; the caller shows them and exits with 78 (`EX_CONFIG`).
pub fn load(file: &Path) -> Result<Config, Problems> {
    explain(file).map(|(config, _)| config)
}

/// The same for those who only look, and do not talk to Losant: whoever may read the configuration need not be allowed to read
/// the access key, which may be encrypted, too. It holds none.
///
/// # Errors
/// As [`load()`].
pub fn look(file: &Path) -> Result<Config, Problems> {
    explain::explain_to(Purpose::Inspect, file).map(|(config, _)| config)
}

/// The same for those who find out what a bus is good for: one that nothing uses yet is no mistake then.
///
/// # Errors
/// As [`load()`].
pub fn look_at_buses(file: &Path) -> Result<Config, Problems> {
    explain::explain_to(Purpose::Discover, file).map(|(config, _)| config)
}

/// Who reads a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The daemon, and what acts in its place.
    Daemon,
    /// A person who looks at it, without the access key.
    Inspect,
    /// The same, while it is being written.
    Discover,
}
