//! A call from request to answer: route, faults, access, body, action.

use std::future;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::access::{self, Target};
use crate::actions::{self, Action};
use crate::cloud::Cloud;
use crate::connection::Caller;
use crate::faults::Fault;
use crate::query::Query;
use crate::reply::{Refusal, events_response};
use crate::schema::Schema;
use crate::time::to_http_date;
use crate::{control, exports, route, stream, trouble};

/// What an action is given: the device exists, and the token may do this to it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) cloud: &'a Arc<Cloud>,
    pub(crate) device_id: &'a str,
    pub(crate) query: Query,
    pub(crate) now_ms: i64,
    /// The address by which the client knows the sandbox, without a slash at the end.
    pub(crate) origin: String,
    body: Payload,
}

/// A body as far as it was read.
#[derive(Debug)]
struct Payload {
    /// `None` when it was larger than allowed.
    bytes: Option<Bytes>,
    is_json: bool,
}

impl Call<'_> {
    /// The body, if it is JSON and the schema has nothing against it.
    pub(crate) fn json(&self, schema: &Schema) -> Result<Value, Refusal> {
        let body = self.parse()?;
        schema.check(&body).map_err(|complaint| self.refuse(complaint))?;
        Ok(body)
    }

    /// As [`Call::json`] of a body that may be left out; `None` when it is.
    pub(crate) fn json_if_any(&self) -> Result<Option<Value>, Refusal> {
        if self.body.bytes.as_ref().is_some_and(Bytes::is_empty) {
            return Ok(None);
        }
        self.parse().map(Some)
    }

    fn parse(&self) -> Result<Value, Refusal> {
        let Some(bytes) = &self.body.bytes else {
            self.cloud.store().counters.oversize_refusals += 1;
            return Err(Refusal::too_large(self.cloud.settings.body_bytes_max));
        };
        if !self.body.is_json {
            return Err(self.refuse("content-type must be application/json".to_owned()));
        }
        let parsed = serde_json::from_slice(bytes);
        parsed.map_err(|error| self.refuse(format!("body is not JSON: {error}")))
    }

    /// 400 for a body that a schema does not accept.
    pub(crate) fn refuse(&self, complaint: String) -> Refusal {
        self.cloud.store().counters.schema_refusals += 1;
        Refusal::validation(complaint)
    }
}

/// Answers any request, or drops it.
pub(crate) async fn answer(
    State(cloud): State<Arc<Cloud>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(path) = parts.uri.path().strip_prefix("/sandbox/") {
        let body = read(body, cloud.settings.body_bytes_max).await;
        return control::answer(&cloud, &caller, &parts.method, path, body.as_ref());
    }
    let link = cloud.faults.link();
    let answered = link.run_until_cancelled(answer_api(&cloud, &parts, body)).await;
    let Some(mut response) = answered.flatten() else {
        cloud.store().counters.dropped_calls += 1;
        caller.hang_up();
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    *cloud.store().counters.answers.entry(response.status().as_u16()).or_default() += 1;
    if cloud.has_clock_offset() {
        date(&mut response, cloud.now_ms());
    }
    response
}

/// Dates an answer by the service's clock; without this it is dated by this machine's.
fn date(response: &mut Response, now_ms: i64) {
    if let Ok(date) = HeaderValue::try_from(to_http_date(now_ms)) {
        response.headers_mut().insert(header::DATE, date);
    }
}

/// `None` when the connection is to be dropped without an answer.
async fn answer_api(cloud: &Arc<Cloud>, parts: &Parts, body: Body) -> Option<Response> {
    // Read in any case: a connection that is closed on unread bytes may lose the answer as well.
    let body = read_payload(parts, body, cloud.settings.body_bytes_max).await;
    if let Some(path) = parts.uri.path().strip_prefix(exports::PATH) {
        return Some(exports::answer(cloud, &parts.method, path));
    }
    let route = match route::find(&parts.method, parts.uri.path()) {
        Ok(route) => route,
        Err(refusal) => return Some(refusal.into_response()),
    };
    let row = route.row();
    *cloud.store().counters.calls.entry(row.name).or_default() += 1;
    if let Some(id) = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
        cloud.store().counters.last_event_id = Some(id.to_owned());
    }
    let fault = cloud.faults.take(row.action);
    let done = || perform(cloud, parts, &route, body).unwrap_or_else(IntoResponse::into_response);
    let response = match fault {
        None => done(),
        Some(Fault::Status(status, text)) => trouble::answer(status, &[], text),
        Some(Fault::Answer { status, headers, body }) => trouble::answer(status, &headers, body),
        Some(Fault::CaptivePortal) => trouble::captive_portal(),
        Some(Fault::Script(steps)) => {
            events_response(stream::script(steps, cloud.faults.streams().cut))
        }
        Some(Fault::Split { seed }) => trouble::split(done(), seed),
        Some(Fault::Slow { bytes, pause }) => trouble::slow(done(), bytes, pause),
        Some(Fault::ContentType(media_type)) => trouble::retyped(done(), &media_type),
        Some(Fault::Delay(delay)) => {
            sleep(delay).await;
            done()
        }
        Some(Fault::Hang) => future::pending().await,
        Some(Fault::Drop) => return None,
        Some(Fault::LoseResponse) => {
            // Whatever it is, nobody is to see it.
            drop(done());
            cloud.store().counters.lost_answers += 1;
            return None;
        }
    };
    Some(response)
}

fn perform(
    cloud: &Arc<Cloud>,
    parts: &Parts,
    route: &route::Route<'_>,
    body: Payload,
) -> Result<Response, Refusal> {
    let query = Query::of(&parts.uri)?;
    let links = query.is_on("_links");
    let now_ms = cloud.now_ms();
    if let Some(trouble) = cloud.store().trouble() {
        return Err(Refusal::unavailable(trouble));
    }
    let device_id = match route {
        route::Route::Authenticate => "",
        route::Route::Device(target) => {
            access::check(&cloud.settings, &cloud.store(), target, bearer(parts), now_ms)?;
            throttle(cloud, target)?;
            target.device_id
        }
    };
    let call = Call { cloud, device_id, query, now_ms, origin: origin(parts), body };
    let reply = actions::perform(route.row(), &call)?;
    Ok(reply.into_response(links, parts.uri.path()))
}

/// Losant's limits on calls: one for state and command together, one for the connection status
/// (rest-api/overview, "Throttles And Limits").
fn throttle(cloud: &Cloud, target: &Target<'_>) -> Result<(), Refusal> {
    let mut store = cloud.store();
    let Some((device, counters)) = store.device_and_counters(target.device_id) else {
        return Ok(());
    };
    let action = target.row.action;
    let throttle = if action == Action::SendState || action == Action::SendCommand {
        &mut device.call_throttle
    } else if action == Action::SetConnectionStatus {
        &mut device.status_throttle
    } else {
        return Ok(());
    };
    if throttle.admit(Instant::now()) {
        return Ok(());
    }
    counters.throttled += 1;
    *counters.throttled_calls.entry(target.row.name).or_default() += 1;
    Err(Refusal::throttled("device exceeded its rate limit"))
}

/// The token of an `Authorization: Bearer …` header.
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// `http://` and what the client called the host.
fn origin(parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or_default())
}

async fn read_payload(parts: &Parts, body: Body, bytes_max: usize) -> Payload {
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| value.as_bytes().starts_with(JSON));
    Payload { bytes: read(body, bytes_max).await, is_json }
}

/// The whole body; `None` when it is larger than allowed or breaks off.
async fn read(body: Body, bytes_max: usize) -> Option<Bytes> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.ok()?;
        length = length.saturating_add(chunk.len());
        if length <= bytes_max {
            bytes.extend_from_slice(&chunk);
        } else if length > bytes_max.saturating_add(SURPLUS_BYTES_MAX) {
            return None;
        }
    }
    (length <= bytes_max).then(|| bytes.into())
}

const JSON: &[u8] = b"application/json";

/// What is read and thrown away of a body that is too large, so that its sender gets the answer.
const SURPLUS_BYTES_MAX: usize = 16 * 1024 * 1024;
