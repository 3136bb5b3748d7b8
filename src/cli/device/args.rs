//! The words of each action, and what they ask Losant for.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::input::JsonInput;
use tidegate_config::KEEP_ALIVE_RANGE;
use tidegate_losant::When;
use tidegate_losant::body::{CallbackUrl, DeviceClass, Email};
use tidegate_losant::query::{Composite, History, Period, Resolution, Shape, SortDirection};
use tidegate_model::{AttributeName, DeviceId, WallTime};

#[derive(Debug, Args)]
pub(in crate::cli) struct StreamArgs {
    /// How often Losant sends a sign of life, 2s to 60s; after three silent intervals the stream is
    /// opened again.
    #[arg(long, value_name = "DURATION", value_parser = keep_alive)]
    pub(super) keep_alive_interval: Option<Duration>,
}

fn keep_alive(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let is_known = KEEP_ALIVE_RANGE.contains(&duration);
    is_known.then_some(duration).ok_or_else(|| "Losant serves 2s to 60s".to_owned())
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// The most entries.
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = limit)]
    limit: Option<NonZeroU32>,
    /// Which come first; the newest if not given.
    #[arg(long, value_name = "ORDER", alias = "sortDirection")]
    sort_direction: Option<SortDirection>,
    /// How long the window is.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Where the window begins.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: Option<When>,
    /// Where the window ends.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    end: Option<When>,
    /// The older name of --start, which older instances understand.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "start")]
    since: Option<When>,
}

fn limit(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "write a whole number from 1 on")
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
    /// Where the period begins.
    #[arg(long, value_name = "TIME", alias = "since", allow_hyphen_values = true)]
    pub(super) start: Option<When>,
    /// Where the period ends; now if not given.
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
    /// Deletes everything; else --start or --end is needed.
    #[arg(long, required_unless_present_any = ["start", "end"])]
    all: bool,
    #[command(flatten)]
    pub(super) period: PeriodArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompositeArgs {
    #[command(flatten)]
    period: PeriodArgs,
    /// Only these attributes.
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
    /// The steps; a day if not given.
    #[arg(long, value_name = "STEP")]
    pub(super) resolution: Option<Resolution>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShapeArgs {
    /// Writes the tags as an object of lists.
    #[arg(long, alias = "tagsAsObject")]
    tags_as_object: bool,
    /// Writes the attributes as an object.
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
    /// Leaves out whether it is connected.
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
    /// The values, such as temp=21.5 door=true; name='"21"' is a text.
    #[arg(long, value_name = "NAME=VALUE", num_args = 1.., required_unless_present = "json")]
    pub(super) data: Vec<String>,
    /// When they were measured; now if not given.
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) time: Option<When>,
    /// Any JSON, for the workflows that the state triggers.
    #[arg(long, value_name = "JSON", conflicts_with = "json")]
    pub(super) meta: Option<String>,
    /// The version of a workflow that it is for.
    #[arg(long, value_name = "VERSION", conflicts_with = "json", alias = "flowVersion")]
    pub(super) flow_version: Option<String>,
    /// One state or a list of them.
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with = "data")]
    pub(super) json: Option<JsonInput>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CommandArgs {
    /// The command's name.
    #[arg(long, required_unless_present = "json")]
    pub(super) name: Option<String>,
    /// What goes with it: JSON.
    #[arg(long, value_name = "JSON", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) payload: Option<String>,
    /// When it was given; on arrival if not told.
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) time: Option<When>,
    /// The whole command.
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
    /// Whether it is there.
    #[arg(long, required_unless_present = "json")]
    pub(super) status: Option<Status>,
    /// Since when it is or was connected.
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) connected_at: Option<When>,
    /// Since when it is gone.
    #[arg(long, value_name = "TIME", conflicts_with = "json", allow_hyphen_values = true)]
    pub(super) disconnected_at: Option<When>,
    /// Why it is gone.
    #[arg(long, value_name = "TEXT", conflicts_with = "json", alias = "reason")]
    pub(super) disconnect_reason: Option<String>,
    /// How many messages came from it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "json")]
    pub(super) messages_from_client: Option<i64>,
    /// How many messages went to it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "json")]
    pub(super) messages_to_client: Option<i64>,
    /// From where.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "json")]
    pub(super) ip_address: Option<String>,
    /// The whole status.
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with = "status")]
    pub(super) json: Option<JsonInput>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    pub(super) period: PeriodArgs,
    /// Who is sent the file; the token's owner if not given.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) email: Option<Email>,
    /// What Losant calls with the file's address.
    #[arg(long, value_name = "URL", alias = "callbackUrl")]
    pub(super) callback_url: Option<CallbackUrl>,
    /// Only these attributes.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) attributes: Vec<AttributeName>,
    /// Leaves out the column with dates; the one with milliseconds stays.
    #[arg(long)]
    pub(super) no_date: bool,
    /// Leaves out the column with the device's id.
    #[arg(long)]
    pub(super) no_id: bool,
    /// Blobs in base64, not as links that expire.
    #[arg(long, alias = "includeBlobData")]
    pub(super) include_blob_data: bool,
    /// The whole export.
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with_all = [
        "start", "end", "email", "callback_url", "attributes", "no_date", "no_id", "include_blob_data",
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
    /// All tags, in place of the old ones.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub(super) tags: Vec<String>,
    /// All attributes, in place of the old ones; the data of one that is not named is lost.
    #[arg(long, value_name = "NAME:TYPE", num_args = 1..)]
    pub(super) attributes: Vec<String>,
    /// The class.
    #[arg(long, value_name = "CLASS")]
    pub(super) device_class: Option<DeviceClass>,
    /// The gateway of a peripheral.
    #[arg(long, value_name = "ID")]
    pub(super) gateway_id: Option<DeviceId>,
    /// The parent, or none.
    #[arg(long, value_name = "ID|none")]
    pub(super) parent_id: Option<String>,
    /// How often a system device adds up its children, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(super) system_interval: Option<i64>,
    /// As Losant understands it.
    #[arg(long, value_name = "true|false")]
    pub(super) keep_duplicates: Option<bool>,
    /// The whole patch.
    #[arg(long, value_name = "TEXT|FILE|-", conflicts_with_all = [
        "name", "description", "tags", "attributes", "device_class", "gateway_id", "parent_id",
        "system_interval", "keep_duplicates",
    ])]
    pub(super) json: Option<JsonInput>,
    #[command(flatten)]
    pub(super) shape: ShapeArgs,
}
