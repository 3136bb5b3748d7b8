//! The client of the Losant Device API: a session with a token, and one method for each action.
//!
//! The module `device` has the table of the actions.

mod action;
pub mod body;
mod call;
mod device;
mod devices;
mod error;
pub mod query;
mod request;
mod session;
pub mod sse;
mod stream;
mod when;
mod wire;

pub use action::{Action, Credential};
pub use call::{Accepted, Answer, Call, ConnectionEntry, DeviceDescription, StreamCall, Success};
pub use devices::ListedDevice;
pub use error::{Error, SetupError, describe};
pub use request::Request;
pub use session::{AnswerDate, Client};
pub use stream::{EventStream, Item, StreamEnd};
pub use when::{When, WhenError};
