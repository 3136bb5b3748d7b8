//! The data types of tidegate: ids, times, values, messages, states and commands.
//!
//! This crate does no IO, reads no clock and depends on no other crate of tidegate.

mod attribute_type;
mod command;
mod eviction;
pub mod excerpt;
mod id;
mod io_problem;
mod ledger;
mod message;
mod name;
mod reading_time;
mod state;
pub mod topic;
mod value;
mod wall_time;
mod write;

pub use attribute_type::{AttributeType, DeclaredAttributes, DeclaredDevices, Misfit, fit_value};
pub use command::{Command, CommandResult, PAYLOAD_BYTES_MAX, Source, Unread};
pub use eviction::{Priority, WhenFull};
pub use id::{ApplicationId, DeviceId, IdError};
pub use io_problem::io_problem;
pub use ledger::{Account, Ledger, Reason};
pub use message::{BusMessage, FingerprintChanges, MessageFingerprint};
pub use name::{AttributeName, AttributeNameError, Name, NameError};
pub use reading_time::{BootId, BootTime, ReadingTime, ReadingTimeError};
pub use state::State;
pub use value::{Value, ValueError};
pub use wall_time::WallTime;
pub use write::{
    Execution, GatewayAction, GpioWrite, HttpMethod, HttpRequest, ModbusData, ModbusWrite, Reply,
    TopicReply, Write,
};
