//! `tidegate device`: every action of the Device API, from a terminal or a script.

mod args;
mod ask;
mod follow;
mod input;
mod loss;
mod perform;
mod print;
mod target;

use clap::Subcommand;

pub(super) use target::TargetArgs;

use args::{
    CommandArgs, CompositeArgs, ConnectionArgs, ExportArgs, GetArgs, HistoryArgs, PatchArgs,
    PayloadArgs, PeriodArgs, RemoveArgs, StateArgs, StreamArgs,
};

/// What the help of `tidegate device` ends with.
pub(super) const AFTER_HELP: &str = "\
Losant's own names, such as sendState, are understood, too.

Times:   now, 2h (two hours ago), 2026-05-01T10:00:00Z, or milliseconds since 1970.
Bodies:  name=value words, or --json with a text, a file, or - for standard input.
Output:  JSON on standard output; into a pipe, one element of a list a line. Messages go to \
    standard error.

A device's access key is enough for all but delete, export, patch, remove-data, payload-counts and
payload-counts-breakdown: these need an application token from a file (--token-file), which the \
    daemon never holds.

Exit codes:
   0  done
   1  Losant refuses: not found, not well-formed, too often
  64  wrong arguments, or no yes to what cannot be undone
  69  Losant cannot be reached, or does not speak
  77  the credentials, or their scopes, are not good for it
  78  the configuration or a credentials file cannot be used";

/// The actions, in Losant's order.
#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// Prints the commands that are sent to a device, one a line, for ever.
    #[command(alias = "commandStream")]
    CommandStream(StreamArgs),
    /// Deletes a device with all its data. Needs --token-file.
    Delete,
    /// Has Losant make a CSV file of a device's states. Needs --token-file.
    Export(ExportArgs),
    /// Shows a device.
    Get(GetArgs),
    /// Shows commands that were sent to a device; the last one if nothing is asked.
    #[command(alias = "getCommand")]
    GetCommand(HistoryArgs),
    /// Shows the last value of each attribute.
    #[command(alias = "getCompositeState")]
    GetCompositeState(CompositeArgs),
    /// Shows when a device was connected and disconnected; the last time if nothing is asked.
    #[command(alias = "getLogEntries")]
    GetLogEntries(HistoryArgs),
    /// Shows states of a device; the last one if nothing is asked.
    #[command(alias = "getState")]
    GetState(HistoryArgs),
    /// Changes a device; asks before something is lost. Needs --token-file.
    Patch(PatchArgs),
    /// Deletes the states of a period. Needs --token-file.
    #[command(alias = "removeData")]
    RemoveData(RemoveArgs),
    /// Sends a command to a device.
    #[command(alias = "sendCommand")]
    SendCommand(CommandArgs),
    /// Sends a state. It counts towards the 30 calls in 15 s that Losant takes for a device, as the
    /// daemon's do.
    #[command(alias = "sendState")]
    SendState(StateArgs),
    /// Tells Losant that a device is connected or not.
    #[command(alias = "setConnectionStatus")]
    SetConnectionStatus(ConnectionArgs),
    /// Prints the states that a device reports, one a line, for ever.
    #[command(alias = "stateStream")]
    StateStream(StreamArgs),
    /// Counts what a device sent and was sent. Needs --token-file.
    #[command(alias = "payloadCounts")]
    PayloadCounts(PeriodArgs),
    /// The same by the day or the hour. Needs --token-file.
    #[command(alias = "payloadCountsBreakdown")]
    PayloadCountsBreakdown(PayloadArgs),
}

/// Does one action.
pub(super) fn run(target: &TargetArgs, command: DeviceCommand) -> anyhow::Result<()> {
    perform::perform(target, command)
}
