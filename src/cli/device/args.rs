//! The arguments of each action, and the queries that they become.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::json_input::JsonInput;
use tidegate_config::KEEP_ALIVE_RANGE;
use tidegate_losant::When;
use tidegate_losant::body::{CallbackUrl, DeviceClass, Email};
use tidegate_losant::query::{Composite, History, Period, Resolution, Shape, SortDirection};
use tidegate_model::{AttributeName, DeviceId, WallTime};

#[derive(Debug, Args)]
pub(in crate::cli) struct StreamArgs {
    /// Interval of keep-alive messages, 2s to 60s; the stream reopens after three silent intervals
    #[arg(long, value_name = "DURATION", value_parser = keep_alive)]
    pub(super) keep_alive_interval: Option<Duration>,
}

/// Why a keep-alive interval is invalid.
#[derive(Debug, thiserror::Error)]
enum KeepAliveError {
    #[error(transparent)]
    Duration(#[from] humantime::DurationError),
    #[error("Losant supports 2s to 60s")]
    OutOfRange,
}

fn keep_alive(text: &str) -> Result<Duration, KeepAliveError> {
    let duration = humantime::parse_duration(text)?;
    let is_in_range = KEEP_ALIVE_RANGE.contains(&duration);
    is_in_range.then_some(duration).ok_or(KeepAliveError::OutOfRange)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// Maximum number of entries
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = limit)]
    limit: Option<NonZeroU32>,
    /// Order of the entries; default: newest first
    #[arg(long, value_name = "ORDER", alias = "sortDirection")]
    sort_direction: Option<SortDirection>,
    /// Length of the window
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Begin of the window
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: Option<When>,
    /// End of the window
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    end: Option<When>,
    /// Deprecated name of --start, for older instances of Losant
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "start")]
    since: Option<When>,
}

fn limit(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "must be a whole number from 1")
}

impl HistoryArgs {
    pub(super) fn history(&self, now: WallTime) -> History {
        History {
            limit: self.limit,
            sort_direction: self.sort_direction,
            duration: self.duration,
            start: self.start.map(|when| when.resolve(now)),
            end: self.end.map(|when| when.resolve(now)),
            since: self.since.map(|when| when.resolve(now)),
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PeriodArgs {
    /// Begin of the period
    #[arg(long, value_name = "TIME", alias = "since", allow_hyphen_values = true)]
    pub(super) start: Option<When>,
    /// End of the period; default: now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(super) end: Option<When>,
}

impl PeriodArgs {
    pub(super) fn period(&self) -> Period {
        Period { start: self.start, end: self.end }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArgs {
    /// Delete all states; otherwise --start or --end is required
    #[arg(long, required_unless_present_any = ["start", "end"])]
    all: bool,
    #[command(flatten)]
    pub(super) period: PeriodArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompositeArgs {
    #[command(flatten)]
    period: PeriodArgs,
    /// Only these attributes
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    attributes: Vec<AttributeName>,
}

impl CompositeArgs {
    pub(super) fn composite(&self) -> Composite {
        Composite { period: self.period.period(), attributes: self.attributes.clone() }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PayloadArgs {
    #[command(flatten)]
    pub(super) period: PeriodArgs,
    /// Length of a step; default: a day
    #[arg(long, value_name = "STEP")]
    pub(super) resolution: Option<Resolution>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShapeArgs {
    /// Show the tags as an object of lists
    #[arg(long, alias = "tagsAsObject")]
    tags_as_object: bool,
    /// Show the attributes as an object
    #[arg(long, alias = "attributesAsObject")]
    attributes_as_object: bool,
}

impl ShapeArgs {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            tags_as_object: self.tags_as_object,
            attributes_as_object: self.attributes_as_object,
            exclude_connection_info: false,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GetArgs {
    #[command(flatten)]
    shape: ShapeArgs,
    /// Omit the connection status
    #[arg(long, alias = "excludeConnectionInfo")]
    exclude_connection_info: bool,
}

impl GetArgs {
    pub(super) fn shape(&self) -> Shape {
        Shape { exclude_connection_info: self.exclude_connection_info, ..self.shape.shape() }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StateArgs {
    /// Values, such as temp=21.5 door=true; name='"21"' is a text
    #[arg(long, value_name = "NAME=VALUE", num_args = 1.., required_unless_present = "json")]
    pub(super) data: Vec<String>,
    /// Time of the measurement; default: now
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) time: Option<When>,
    /// Any JSON, for the workflows that the state triggers
    #[arg(long, value_name = "JSON", conflicts_with = "json")]
    pub(super) meta: Option<String>,
    /// Version of the workflow that it triggers
    #[arg(long, value_name = "VERSION", conflicts_with = "json", alias = "flowVersion")]
    pub(super) flow_version: Option<String>,
    /// One state or a list of states
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with = "data")]
    pub(super) json: Option<JsonInput>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CommandArgs {
    /// Name of the command
    #[arg(long, required_unless_present = "json")]
    pub(super) name: Option<String>,
    /// Payload as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) payload: Option<String>,
    /// Time of the command; default: its arrival
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) time: Option<When>,
    /// The whole command
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with = "name")]
    pub(super) json: Option<JsonInput>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Status {
    Connected,
    Disconnected,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectionArgs {
    /// Connected or disconnected
    #[arg(long, required_unless_present = "json")]
    pub(super) status: Option<Status>,
    /// Time of the connection
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) connected_at: Option<When>,
    /// Time of the disconnection
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) disconnected_at: Option<When>,
    /// Reason of the disconnection
    #[arg(long, value_name = "TEXT", conflicts_with = "json", alias = "reason")]
    pub(super) disconnect_reason: Option<String>,
    /// Number of messages from the device
    #[arg(long, value_name = "NUMBER", conflicts_with = "json")]
    pub(super) messages_from_client: Option<i64>,
    /// Number of messages to the device
    #[arg(long, value_name = "NUMBER", conflicts_with = "json")]
    pub(super) messages_to_client: Option<i64>,
    /// IP address of the device
    #[arg(long, value_name = "ADDRESS", conflicts_with = "json")]
    pub(super) ip_address: Option<String>,
    /// The whole status
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with = "status")]
    pub(super) json: Option<JsonInput>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    pub(super) period: PeriodArgs,
    /// Email address for the link to the file; default: the owner of the token
    #[arg(long, value_name = "ADDRESS")]
    pub(super) email: Option<Email>,
    /// URL that Losant calls with the link to the file
    #[arg(long, value_name = "URL", alias = "callbackUrl")]
    pub(super) callback_url: Option<CallbackUrl>,
    /// Only these attributes
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) attributes: Vec<AttributeName>,
    /// Omit the column with dates; the column with milliseconds stays
    #[arg(long)]
    pub(super) no_date: bool,
    /// Omit the column with the device id
    #[arg(long)]
    pub(super) no_id: bool,
    /// Include blobs in base64 instead of links that expire
    #[arg(long, alias = "includeBlobData")]
    pub(super) include_blob_data: bool,
    /// The whole export
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with_all = [
        "start", "end", "email", "callback_url", "attributes", "no_date", "no_id",
        "include_blob_data",
    ])]
    pub(super) json: Option<JsonInput>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PatchArgs {
    /// The name.
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The description.
    #[arg(long)]
    pub(super) description: Option<String>,
    /// All tags; replaces the old ones
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub(super) tags: Vec<String>,
    /// All attributes; replaces the old ones and deletes the data of omitted attributes
    #[arg(long, value_name = "NAME:TYPE", num_args = 1..)]
    pub(super) attributes: Vec<String>,
    /// The class.
    #[arg(long, value_name = "CLASS")]
    pub(super) device_class: Option<DeviceClass>,
    /// Gateway of a peripheral
    #[arg(long, value_name = "ID")]
    pub(super) gateway_id: Option<DeviceId>,
    /// Parent device, or none
    #[arg(long, value_name = "ID|none")]
    pub(super) parent_id: Option<String>,
    /// Interval at which a system device aggregates its children, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(super) system_interval: Option<i64>,
    /// Undocumented option of Losant
    #[arg(long, value_name = "true|false")]
    pub(super) keep_duplicates: Option<bool>,
    /// The whole patch
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with_all = [
        "name", "description", "tags", "attributes", "device_class", "gateway_id", "parent_id",
        "system_interval", "keep_duplicates",
    ])]
    pub(super) json: Option<JsonInput>,
    #[command(flatten)]
    pub(super) shape: ShapeArgs,
}
