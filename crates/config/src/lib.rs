//! The configuration: merges files and environment into a [`Config`] that holds only valid values.
//!
//! `load` merges the layers into a `Raw`, and `resolve` turns the `Raw` into a [`Config`]. Both
//! collect all problems before they fail, so that an operator sees all mistakes at once.

mod access;
mod address;
mod annotated;
mod bus;
mod check;
mod check_text;
mod difference;
mod explain;
mod field;
mod key;
mod load;
mod notation;
mod option_info;
mod origin;
mod pem;
mod problem;
mod provisional;
mod raw;
mod render;
mod replace;
mod resolve;
#[cfg(test)]
mod round_trip;
mod schema;
mod secret;
mod shape;
mod suggest;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod topics;
mod types;

use std::path::Path;

pub use bus::{
    AtStart, AtStop, Bias, Bus, BusKind, Drive, Edges, ExecBus, ExecMode, FileBus, FileMode,
    FlowControl, GpioBus, GpioInput, GpioLine, GpioOutput, HttpBus, ModbusBus, ModbusLine,
    ModbusUnit, MqttBus, MqttTls, MqttVersion, Parity, Place, Port, Rs485, SerialBus, SerialPoll,
    StopBits, SystemBus, Topics, UsbIdentity, UsbIdentityError,
};
pub use check_text::check_text;
pub use difference::{BusDifference, Difference};
pub use explain::{Entry, changed_keys, explain};
pub use load::status_socket;
pub use origin::Origin;
pub use problem::{Problem, Problems, Severity};
pub use provisional::load_provisional;
pub use render::{portable, render};
pub use replace::replace;
pub use resolve::KEEP_ALIVE_RANGE;
pub use schema::schema;
pub use secret::{CloudCredentials, Secret, UserPassword, read_credentials, read_token};
pub use types::{Cloud, Commands, Config, OutboxSettings, Proxy};

use check::Purpose;

/// The annotated defaults, `config/tidegate.toml`.
pub const DEFAULTS: &str = include_str!("../../../config/tidegate.toml");

/// Loads the configuration in `file`, with the `conf.d` directory beside it and the environment.
///
/// # Errors
/// All problems of the configuration. The caller prints them and exits with 78 (`EX_CONFIG`).
pub fn load(file: &Path) -> Result<Config, Problems> {
    explain::load_for(Purpose::Daemon, file)
}

/// Loads the configuration to check it: a file of secrets that is missing or cannot be read is a
/// note in the warnings, and everything else is checked.
///
/// # Errors
/// As [`load()`].
pub fn load_to_check(file: &Path) -> Result<Config, Problems> {
    explain::load_for(Purpose::Check, file)
}

/// Loads the configuration as [`load_to_check()`] does, with every value and its place.
///
/// # Errors
/// As [`load()`].
pub fn explain_to_check(file: &Path) -> Result<(Config, Vec<Entry>), Problems> {
    explain::explain_for(Purpose::Check, file)
}

/// Loads the configuration without the access key, for commands that do not talk to Losant: a user
/// who may read the configuration may lack access to the key, and the key may be encrypted.
///
/// # Errors
/// As [`load()`].
pub fn load_to_inspect(file: &Path) -> Result<Config, Problems> {
    explain::load_for(Purpose::Inspect, file)
}

/// Loads the configuration without the access key, and accepts buses that no sensor or actuator
/// uses yet: for commands that look for sensors on them.
///
/// # Errors
/// As [`load()`].
pub fn load_to_discover(file: &Path) -> Result<Config, Problems> {
    explain::load_for(Purpose::Discover, file)
}
