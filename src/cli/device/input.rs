//! Builds the bodies of actions from arguments or JSON, and validates them by Losant's schemas.

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

/// The members of a body that are set.
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

fn time_text(when: Option<When>, now: WallTime) -> Option<String> {
    when.map(|when| when.resolve(now).to_string())
}

fn parsed(name: &str, text: Option<&String>) -> anyhow::Result<Option<Value>> {
    let Some(text) = text else { return Ok(None) };
    let json = serde_json::from_str(text);
    let json = json.map_err(|error| {
        Usage::new(format!("--{name} is not valid JSON ({error}); quote a text: '\"open\"'"))
    });
    Ok(Some(json?))
}

/// Splits a pair such as `temp=21.5`.
fn pair<'a>(word: &'a str, separator: char, option: &str) -> Result<(&'a str, &'a str), Usage> {
    word.split_once(separator)
        .ok_or_else(|| Usage::new(format!("--{option}: \"{word}\" has no \"{separator}\"")))
}

/// Parses a value: a number, true, false, a quoted text, or else a text.
fn value(word: &str) -> Result<Value, Usage> {
    if word.starts_with('"') {
        return serde_json::from_str(word)
            .map_err(|error| Usage::new(format!("{word} is not a quoted text: {error}")));
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
        .with("time", time_text(args.time.or(Some(When::Now)), now))
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
        .with("time", time_text(args.time, now))
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
        .with("connectedAt", time_text(args.connected_at, now))
        .with("disconnectedAt", time_text(args.disconnected_at, now))
        .with("disconnectReason", args.disconnect_reason.clone())
        .with("messagesFromClient", args.messages_from_client)
        .with("messagesToClient", args.messages_to_client)
        .with("ipAddress", args.ip_address.clone())
        .body()
}

/// Returns the query or the body of an export.
///
/// A query is preferred, because older versions of the API have no body. Options that a query does
/// not have need the body.
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
