//! The HTTP service: routing, faults, authorization, throttling, and the action itself.

use std::future;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use crate::action::Action;
use crate::call::{Call, RequestBody};
use crate::cloud::Cloud;
use crate::connection::Peer;
use crate::faults::Fault;
use crate::query::Query;
use crate::reply::{ApiError, events_response};
use crate::route::{Route, Target};
use crate::time::to_http_date;
use crate::{access, control, exports, fault_response, handlers, route, stream};

/// Responds to a request, or aborts its connection.
pub(crate) async fn respond(
    State(cloud): State<Arc<Cloud>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(path) = parts.uri.path().strip_prefix("/sandbox/") {
        let body = read(body, cloud.settings.body_bytes_max).await.unwrap_or_default();
        return control::respond(&cloud, &peer, &parts.method, path, &body);
    }
    let outage = cloud.faults.outage();
    let response = outage.run_until_cancelled(respond_as_losant(&cloud, &parts, body)).await;
    let Some(mut response) = response.flatten() else {
        cloud.store().counters.dropped_calls += 1;
        peer.abort();
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    *cloud.store().counters.responses.entry(response.status().as_u16()).or_default() += 1;
    if cloud.has_clock_offset() {
        set_date(&mut response, cloud.now_ms());
    }
    response
}

/// Dates a response by the clock of the simulated service; without this, hyper dates it by the
/// clock of this host.
fn set_date(response: &mut Response, now_ms: i64) {
    if let Ok(date) = HeaderValue::try_from(to_http_date(now_ms)) {
        response.headers_mut().insert(header::DATE, date);
    }
}

/// Returns `None` when the connection must be dropped without a response.
async fn respond_as_losant(cloud: &Arc<Cloud>, parts: &Parts, body: Body) -> Option<Response> {
    // Read the body even when it is unused: closing a connection with unread bytes can also destroy
    // the response.
    let body = read_body(parts, body, cloud.settings.body_bytes_max).await;
    if let Some(path) = parts.uri.path().strip_prefix(exports::PATH) {
        return Some(cloud.exports.respond(&parts.method, path));
    }
    let route = match route::find(&parts.method, parts.uri.path()) {
        Ok(route) => route,
        Err(error) => return Some(error.into_response()),
    };
    let spec = route.spec();
    *cloud.store().counters.calls.entry(spec.name).or_default() += 1;
    if let Some(id) = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
        cloud.store().counters.last_event_id = Some(id.to_owned());
    }
    let fault = cloud.faults.next(spec.action);
    let execute =
        || execute(cloud, parts, &route, body).unwrap_or_else(IntoResponse::into_response);
    let response = match fault {
        None => execute(),
        Some(Fault::Status(status, text)) => fault_response::custom(status, &[], text),
        Some(Fault::Response { status, headers, body }) => {
            fault_response::custom(status, &headers, body)
        }
        Some(Fault::CaptivePortal) => fault_response::captive_portal(),
        Some(Fault::Script(steps)) => {
            events_response(stream::script(steps, cloud.faults.stream_signals().cut))
        }
        Some(Fault::Split { seed }) => fault_response::split(execute(), seed),
        Some(Fault::Slow { bytes, pause }) => fault_response::slow(execute(), bytes, pause),
        Some(Fault::ContentType(media_type)) => {
            fault_response::with_content_type(execute(), &media_type)
        }
        Some(Fault::Delay(delay)) => {
            sleep(delay).await;
            execute()
        }
        Some(Fault::Hang) => future::pending().await,
        Some(Fault::Drop) => return None,
        Some(Fault::LoseResponse) => {
            drop(execute());
            cloud.store().counters.lost_responses += 1;
            return None;
        }
    };
    Some(response)
}

fn execute(
    cloud: &Arc<Cloud>,
    parts: &Parts,
    route: &Route<'_>,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let query = Query::of(&parts.uri)?;
    let links = query.is_on("_links");
    let now_ms = cloud.now_ms();
    if let Some(failure) = cloud.store().write_failure() {
        return Err(ApiError::unavailable(failure.to_string()));
    }
    let (settings, token) = (&cloud.settings, bearer(parts));
    let (application_id, device_id) = match route {
        Route::Authenticate => ("", ""),
        Route::Application(target) => {
            access::authorize_application(settings, &cloud.store(), target, token, now_ms)?;
            (target.application_id, "")
        }
        Route::Device(target) => {
            access::authorize(settings, &cloud.store(), target, token, now_ms)?;
            throttle(cloud, target)?;
            (target.application_id, target.device_id)
        }
    };
    let origin = origin(parts);
    let call = Call { cloud, application_id, device_id, query, now_ms, origin, body };
    let reply = handlers::execute(route.spec().action, &call)?;
    Ok(reply.into_response(links, parts.uri.path()))
}

/// Applies Losant's limits on calls: one for states and commands together, one for the connection
/// status (rest-api/overview, "Throttles And Limits").
fn throttle(cloud: &Cloud, target: &Target<'_>) -> Result<(), ApiError> {
    let mut store = cloud.store();
    let Some((device, counters)) = store.device_and_counters(target.device_id) else {
        return Ok(());
    };
    let action = target.spec.action;
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
    *counters.throttled_calls.entry(target.spec.name).or_default() += 1;
    Err(ApiError::throttled("device exceeded its rate limit"))
}

/// Returns the token of the header `Authorization: Bearer …`.
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// Returns `http://` and the value of the header `Host`.
fn origin(parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or_default())
}

async fn read_body(parts: &Parts, body: Body, bytes_max: usize) -> RequestBody {
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| value.as_bytes().starts_with(JSON));
    RequestBody { bytes: read(body, bytes_max).await, is_json }
}

/// Reads the whole body; returns `None` when it is larger than the limit or incomplete.
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

/// Bytes over the limit that are read and discarded, so that the client receives the 413.
const SURPLUS_BYTES_MAX: usize = 16 * 1024 * 1024;
