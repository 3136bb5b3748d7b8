//! The arguments and the help of `tidegate device`.

use clap::Subcommand;

use super::args::{
    CommandArgs, CompositeArgs, ConnectionArgs, ExportArgs, GetArgs, HistoryArgs, PatchArgs,
    PayloadArgs, PeriodArgs, RemoveArgs, StateArgs, StreamArgs,
};

/// The end of the help of `tidegate device`.
pub(in crate::cli) const AFTER_HELP: &str = "\
Losant's own names, such as sendState, are accepted too.

Times:   now, 2h (two hours ago), 2026-05-01T10:00:00Z, or milliseconds since 1970.
Bodies:  name=value words, or --json with a text, a file, or - for standard input.
Output:  JSON on standard output; in a pipe, one element of a list per line.
         Messages go to standard error.

The access key of a device is sufficient for all actions except delete, export, patch,
remove-data, payload-counts and payload-counts-breakdown. These need an application token
from a file (--token-file), which the daemon never holds.

Exit codes:
   0  done
   1  Losant refuses the call: not found, invalid, too often
  64  wrong arguments, or an irreversible action was not confirmed
  69  Losant cannot be reached, or does not answer
  77  the credentials or their scopes do not permit the action
  78  the configuration or a credentials file is invalid";

/// The actions, in Losant's order.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeviceCommand {
    /// Print the commands that are sent to a device, one per line, until interrupted.
    #[command(alias = "commandStream")]
    CommandStream(StreamArgs),
    /// Delete a device with all its data. Needs --token-file.
    Delete,
    /// Export the states of a device to a CSV file. Needs --token-file.
    Export(ExportArgs),
    /// Show a device.
    Get(GetArgs),
    /// Show commands that were sent to a device; by default the last one.
    #[command(alias = "getCommand")]
    GetCommand(HistoryArgs),
    /// Show the last value of each attribute.
    #[command(alias = "getCompositeState")]
    GetCompositeState(CompositeArgs),
    /// Show the connection log of a device; by default the last entry.
    #[command(alias = "getLogEntries")]
    GetLogEntries(HistoryArgs),
    /// Show states of a device; by default the last one.
    #[command(alias = "getState")]
    GetState(HistoryArgs),
    /// Change a device; asks before data is lost. Needs --token-file.
    Patch(PatchArgs),
    /// Delete the states of a period. Needs --token-file.
    #[command(alias = "removeData")]
    RemoveData(RemoveArgs),
    /// Send a command to a device.
    #[command(alias = "sendCommand")]
    SendCommand(CommandArgs),
    /// Send a state; counts towards Losant's limit of 30 calls in 15 s per device.
    #[command(alias = "sendState")]
    SendState(StateArgs),
    /// Report that a device is connected or disconnected.
    #[command(alias = "setConnectionStatus")]
    SetConnectionStatus(ConnectionArgs),
    /// Print the states that a device reports, one per line, until interrupted.
    #[command(alias = "stateStream")]
    StateStream(StreamArgs),
    /// Count the payloads that a device sent and received. Needs --token-file.
    #[command(alias = "payloadCounts")]
    PayloadCounts(PeriodArgs),
    /// Count the payloads by day or hour. Needs --token-file.
    #[command(alias = "payloadCountsBreakdown")]
    PayloadCountsBreakdown(PayloadArgs),
}
