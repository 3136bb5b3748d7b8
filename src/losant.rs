//! The Losant Device API: a session with a token, and one method for each action that the daemon uses.
//!
//! | action | method and path below `/applications/A/devices/D` | used by |
//! | --- | --- | --- |
//! | `commandStream` | GET `/commandStream` | the listener |
//! | `get` | GET (the device itself) | presence, to check the ids at start |
//! | `getCommand` | GET `/command` | the listener, for what it missed |
//! | `sendState` | POST `/state` | the reporter |
//! | `setConnectionStatus` | POST `/setConnectionStatus` | presence |

mod device;
mod error;
mod session;
mod stream;
mod wire;

pub use device::{COMMANDS_MAX, ConnectionStatus, Device};
pub use error::{Error, SetupError};
pub use session::Client;
pub use stream::{CommandStream, StreamEnd};
