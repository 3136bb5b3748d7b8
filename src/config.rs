//! The configuration: from files and environment to a [`Config`] that holds only valid things.
//!
//! `load` merges the layers into a `Raw`, `resolve` turns that into a [`Config`]. Both collect every problem before
//! they give up, so that an operator sees all mistakes at once.

mod field;
mod load;
mod problem;
mod raw;
mod resolve;
mod secret;
#[cfg(test)]
mod tests;
mod types;

use std::path::Path;

pub use problem::{Problem, Problems};
pub use resolve::KEEP_ALIVE_RANGE;
pub use secret::{CloudCredentials, Secret, UserPassword, read_credentials, read_token};
pub use types::{
    Bus, BusKind, Cloud, Commands, Config, ExecBus, ExecMode, FileBus, FileMode, FlowControl,
    HttpBus, ModbusBus, ModbusLine, ModbusUnit, MqttBus, MqttTls, OutboxSettings, Parity, Place,
    Port, Proxy, SerialBus, SerialPoll, StopBits, SystemBus, Topics, UsbIdentity, UsbIdentityError,
};

/// The defaults, which are also the annotated example: `config/tidegate.toml`.
pub const DEFAULTS: &str = include_str!("../config/tidegate.toml");

/// Reads and checks the configuration in `file`, with the `conf.d` directory beside it and the environment over it.
///
/// # Errors
/// All problems that could be found; the caller shows them and exits with 78 (`EX_CONFIG`).
pub fn load(file: &Path) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let environment = std::env::vars().collect();
    let raw = load::load(file, environment, &mut problems);
    let config = raw.and_then(|raw| resolve::resolve(raw, file, &mut problems));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}
