//! `tidegate device`: every action of the Device API, from a terminal or a script.

mod args;
mod command;
mod confirm;
mod follow;
mod input;
mod json_input;
mod loss;
mod perform;
mod print;
mod target;

pub(super) use command::{AFTER_HELP, DeviceCommand};
pub(super) use perform::perform as run;
pub(super) use target::TargetArgs;
