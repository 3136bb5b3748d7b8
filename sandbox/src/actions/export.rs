//! `export`: a CSV file of a device's states, made in the background and announced by a call.
//!
//! What to export is said in the query, in the body, or in both, where the body counts
//! (rest-api/device, "Export"). An email is not sent.

use axum::http::Uri;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::exports::{Job, Options};
use crate::query::{BEGINNING, absolute};
use crate::reply::{Refusal, Reply};
use crate::tokens;

/// An order that has passed the schema `deviceDataExport`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    start: Option<f64>,
    end: Option<f64>,
    callback_url: Option<String>,
    attributes: Option<Vec<String>>,
    #[serde(default)]
    options: Options,
}

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut order = from_query(call)?;
    if let Some(body) = call.json_if_any()? {
        let Value::Object(body) = body else {
            return Err(call.refuse("deviceDataExport: body is not an object".to_owned()));
        };
        order.extend(body);
    }
    let order = Value::Object(order);
    call.cloud.schemas.export.check(&order).map_err(|complaint| call.refuse(complaint))?;
    let order: Order =
        serde_json::from_value(order).map_err(|error| call.refuse(error.to_string()))?;
    let callback = order.callback_url.as_deref().map(parse_url).transpose()?;
    let time = |given: Option<f64>, default| absolute(given.map_or(default, whole), call.now_ms);
    let id = tokens::random_id().ok_or_else(Refusal::no_randomness)?;
    call.cloud.exports.start(Job {
        id: id.clone(),
        device_id: call.device_id.to_ascii_lowercase(),
        start_ms: time(order.start, BEGINNING),
        end_ms: time(order.end, 0),
        attributes: order.attributes,
        options: order.options,
        callback,
        origin: call.origin.clone(),
    })?;
    Ok(Reply::started(call.cloud.settings.job_answer, id))
}

/// The query in the form of the body.
fn from_query(call: &Call<'_>) -> Result<Map<String, Value>, Refusal> {
    let mut order = Map::new();
    for name in ["start", "end"] {
        if let Some(time) = call.query.integer(name)? {
            order.insert(name.to_owned(), json!(time));
        }
    }
    for name in ["email", "callbackUrl"] {
        if let Some(text) = call.query.text(name) {
            order.insert(name.to_owned(), json!(text));
        }
    }
    if call.query.is_on("includeBlobData") {
        order.insert("options".to_owned(), json!({"includeBlobData": true}));
    }
    Ok(order)
}

fn parse_url(url: &str) -> Result<Uri, Refusal> {
    let parsed = url.parse::<Uri>().ok().filter(|url| url.host().is_some());
    parsed.ok_or_else(|| Refusal::validation("callbackUrl is not a URL"))
}

#[expect(clippy::cast_possible_truncation, reason = "it saturates, far from any state")]
fn whole(time_ms: f64) -> i64 {
    time_ms.floor() as i64
}
