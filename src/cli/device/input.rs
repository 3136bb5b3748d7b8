//! Bodies: put together from words, or read as JSON; either way through the types that refuse what
//! Losant refuses.

use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::args::{CommandArgs, ConnectionArgs, ExportArgs, PatchArgs, StateArgs, Status};
use crate::cli::Usage;
use tidegate_losant::When;
use tidegate_losant::body::{
    self, ConnectionStatus, DataExport, DeviceCommand, DevicePatch, States,
};
use tidegate_losant::query::Export;
use tidegate_model::WallTime;

/// The largest body that is read, in bytes: far above what Losant takes.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Where a body is.
#[derive(Debug, Clone)]
pub(in crate::cli) enum JsonInput {
    /// `-`.
    Standard,
    /// A text that begins as JSON does.
    Text(String),
    /// Anything else.
    File(PathBuf),
}

impl FromStr for JsonInput {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "-" => Self::Standard,
            _ if text.trim_start().starts_with(['{', '[']) => Self::Text(text.to_owned()),
            _ => Self::File(text.into()),
        })
    }
}

impl JsonInput {
    fn body<T: DeserializeOwned + Serialize>(&self) -> anyhow::Result<T> {
        let mut text = String::new();
        match self {
            Self::Standard => {
                let read = std::io::stdin().lock().take(BODY_BYTES_MAX).read_to_string(&mut text);
                read.context("cannot read standard input")?;
            }
            Self::Text(given) => text.clone_from(given),
            Self::File(path) => {
                let file = std::fs::File::open(path)
                    .map_err(|error| Usage::new(format!("--json {}: {error}", path.display())))?;
                let read = file.take(BODY_BYTES_MAX).read_to_string(&mut text);
                read.with_context(|| format!("cannot read {}", path.display()))?;
            }
        }
        Ok(body::parse(&text).map_err(|error| Usage::new(error.to_string()))?)
    }
}

/// Members that are set, of a body in the making.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn with(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        self.0.extend(value.map(|value| (name.to_owned(), value.into())));
        self
    }

    fn body<T: DeserializeOwned + Serialize>(self) -> anyhow::Result<T> {
        Ok(body::parse(&Value::Object(self.0).to_string())
            .map_err(|error| Usage::new(error.to_string()))?)
    }
}

fn stamped(when: Option<When>, now: WallTime) -> Option<String> {
    when.map(|when| when.resolve(now).to_string())
}

fn parsed(name: &str, text: Option<&String>) -> anyhow::Result<Option<Value>> {
    let Some(text) = text else { return Ok(None) };
    let json = serde_json::from_str(text);
    let json = json.map_err(|error| {
        Usage::new(format!(
            "--{name} is no JSON ({error}); write a text with its quotes: '\"open\"'"
        ))
    });
    Ok(Some(json?))
}

/// A pair such as `temp=21.5`.
fn pair<'a>(word: &'a str, separator: char, option: &str) -> Result<(&'a str, &'a str), Usage> {
    word.split_once(separator)
        .ok_or_else(|| Usage::new(format!("--{option}: \"{word}\" has no \"{separator}\"")))
}

/// The value of a word: a number, true, false, a text in quotes, or else a text.
fn value(word: &str) -> Result<Value, Usage> {
    if word.starts_with('"') {
        return serde_json::from_str(word)
            .map_err(|error| Usage::new(format!("{word} is no text in quotes: {error}")));
    }
    let value =
        tidegate_model::Value::parse_word(word).map_err(|error| Usage::new(error.to_string()))?;
    serde_json::to_value(value).map_err(|error| Usage::new(error.to_string()))
}

pub(super) fn states(args: &StateArgs, now: WallTime) -> anyhow::Result<States> {
    if let Some(json) = &args.json {
        return json.body();
    }
    let mut data = Map::new();
    for word in &args.data {
        let (name, text) = pair(word, '=', "data")?;
        data.insert(name.to_owned(), value(text)?);
    }
    Members::default()
        .with("time", stamped(args.time.or(Some(When::Now)), now))
        .with("data", Some(data))
        .with("meta", parsed("meta", args.meta.as_ref())?)
        .with("flowVersion", args.flow_version.clone())
        .body()
}

pub(super) fn command(args: &CommandArgs, now: WallTime) -> anyhow::Result<DeviceCommand> {
    if let Some(json) = &args.json {
        return json.body();
    }
    Members::default()
        .with("time", stamped(args.time, now))
        .with("name", args.name.clone())
        .with("payload", parsed("payload", args.payload.as_ref())?)
        .body()
}

pub(super) fn connection(args: &ConnectionArgs, now: WallTime) -> anyhow::Result<ConnectionStatus> {
    if let Some(json) = &args.json {
        return json.body();
    }
    let status = args.status.map(|status| match status {
        Status::Connected => "connected",
        Status::Disconnected => "disconnected",
    });
    Members::default()
        .with("status", status)
        .with("connectedAt", stamped(args.connected_at, now))
        .with("disconnectedAt", stamped(args.disconnected_at, now))
        .with("disconnectReason", args.disconnect_reason.clone())
        .with("messagesFromClient", args.messages_from_client)
        .with("messagesToClient", args.messages_to_client)
        .with("ipAddress", args.ip_address.clone())
        .body()
}

/// A query alone where it can say it all, as API versions before the body understand it; else a
/// body alone.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<(Export, Option<DataExport>)> {
    if let Some(json) = &args.json {
        return Ok((Export::default(), Some(json.body()?)));
    }
    let (period, email, callback_url) =
        (args.period.period(), args.email.clone(), args.callback_url.clone());
    let include_blob_data = args.include_blob_data;
    if args.attributes.is_empty() && !args.no_date && !args.no_id {
        return Ok((Export { period, email, callback_url, include_blob_data }, None));
    }
    let names = args.attributes.iter().map(|name| Value::from(&**name)).collect::<Vec<_>>();
    let options = json!({
        "includeDate": !args.no_date,
        "includeID": !args.no_id,
        "includeBlobData": include_blob_data,
    });
    let body = Members::default()
        .with("email", email.map(|email| email.to_string()))
        .with("callbackUrl", callback_url.map(|url| url.to_string()))
        .with("attributes", (!names.is_empty()).then_some(names))
        .with("start", period.start.map(When::as_period_millis))
        .with("end", period.end.map(When::as_period_millis))
        .with("options", Some(options))
        .body()?;
    Ok((Export::default(), Some(body)))
}

pub(super) fn patch(args: &PatchArgs) -> anyhow::Result<DevicePatch> {
    if let Some(json) = &args.json {
        return json.body();
    }
    let tags = args.tags.iter().map(|word| {
        pair(word, '=', "tags").map(|(key, value)| json!({ "key": key, "value": value }))
    });
    let attributes = args.attributes.iter().map(|word| {
        pair(word, ':', "attributes").map(|(name, kind)| json!({ "name": name, "dataType": kind }))
    });
    let (tags, attributes) =
        (tags.collect::<Result<Vec<_>, _>>()?, attributes.collect::<Result<Vec<_>, _>>()?);
    let parent_id = args.parent_id.as_deref().map(|id| match id {
        "none" => Value::Null,
        id => Value::from(id),
    });
    let patch: DevicePatch = Members::default()
        .with("name", args.name.clone())
        .with("description", args.description.clone())
        .with("tags", (!tags.is_empty()).then_some(tags))
        .with("attributes", (!attributes.is_empty()).then_some(attributes))
        .with("deviceClass", args.device_class.map(|class| json!(class)))
        .with("gatewayId", args.gateway_id.map(|id| id.to_string()))
        .with("parentId", parent_id)
        .with("systemInterval", args.system_interval)
        .with("keepDuplicates", args.keep_duplicates)
        .body()?;
    if patch == DevicePatch::default() {
        return Err(Usage::new("there is nothing to change; see --help").into());
    }
    Ok(patch)
}
