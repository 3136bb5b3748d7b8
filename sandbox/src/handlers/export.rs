//! `export`: queues an export of a device's states as a CSV file.
//!
//! The options can be in the query, in the body, or in both; the body takes precedence
//! (rest-api/device, "Export"). The sandbox sends no email.

use axum::http::Uri;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::exports::{Job, Options};
use crate::query::{BEGINNING, absolute};
use crate::reply::{ApiError, Reply};
use crate::tokens;

/// A request that is valid by the schema `deviceDataExport`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExportRequest {
    start: Option<f64>,
    end: Option<f64>,
    callback_url: Option<String>,
    attributes: Option<Vec<String>>,
    #[serde(default)]
    options: Options,
}

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let mut fields = from_query(call)?;
    if let Some(body) = call.optional_json()? {
        let Value::Object(body) = body else {
            return Err(call.reject("deviceDataExport: body is not an object"));
        };
        fields.extend(body);
    }
    let fields = Value::Object(fields);
    let valid = call.cloud.schemas.export.validate(&fields);
    valid.map_err(|violation| call.reject(violation.to_string()))?;
    let request: ExportRequest =
        serde_json::from_value(fields).map_err(|error| call.reject(error.to_string()))?;
    let callback = request.callback_url.as_deref().map(parse_url).transpose()?;
    let time = |given: Option<f64>, default| absolute(given.map_or(default, floor), call.now_ms);
    let id = tokens::random_id().ok_or_else(ApiError::no_randomness)?;
    call.cloud.exports.enqueue(Job {
        id: id.clone(),
        device_id: call.device_id.to_ascii_lowercase(),
        start_ms: time(request.start, BEGINNING),
        end_ms: time(request.end, 0),
        attributes: request.attributes,
        options: request.options,
        callback,
        origin: call.origin.clone(),
    })?;
    Ok(Reply::job(call.cloud.settings.job_response, id))
}

/// Converts the query to the fields of the body.
fn from_query(call: &Call<'_>) -> Result<Map<String, Value>, ApiError> {
    let mut fields = Map::new();
    for name in ["start", "end"] {
        if let Some(time) = call.query.integer(name)? {
            fields.insert(name.to_owned(), json!(time));
        }
    }
    for name in ["email", "callbackUrl"] {
        if let Some(text) = call.query.text(name) {
            fields.insert(name.to_owned(), json!(text));
        }
    }
    if call.query.is_on("includeBlobData") {
        fields.insert("options".to_owned(), json!({"includeBlobData": true}));
    }
    Ok(fields)
}

fn parse_url(url: &str) -> Result<Uri, ApiError> {
    let parsed = url.parse::<Uri>().ok().filter(|url| url.host().is_some());
    parsed.ok_or_else(|| ApiError::validation("callbackUrl is not a URL"))
}

#[expect(clippy::cast_possible_truncation, reason = "a saturated time is far from any state")]
fn floor(time_ms: f64) -> i64 {
    time_ms.floor() as i64
}
