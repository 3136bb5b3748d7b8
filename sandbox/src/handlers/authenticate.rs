//! `POST /auth/device`: issues a token for an access key and its secret (rest-api/auth).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::call::Call;
use crate::event::Event;
use crate::reply::{ApiError, Reply};
use crate::store::DeviceRecord;
use crate::tokens::Grant;
use crate::value::integer;

/// Responds with 400 to malformed credentials and with 401 to wrong ones.
pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let body = call.json(&call.cloud.schemas.credentials)?;
    let text = |name: &str| {
        let missing = || ApiError::validation(format!("deviceCredentials: {name} is required"));
        body.get(name).and_then(Value::as_str).ok_or_else(missing)
    };
    let (device_id, key, secret) = (text("deviceId")?, text("key")?, text("secret")?);
    let ttl_s = body.get("tokenTTL").and_then(integer);
    let scopes = requested_scopes(&body);

    let mut store = call.cloud.store();
    let matches = |device: &&DeviceRecord| device.spec.key == key && device.spec.secret == secret;
    let device = store.device(device_id).filter(matches);
    let device = device.ok_or_else(|| ApiError::unauthorized("device credentials are wrong"))?;
    let (application_id, spec) = (device.application_id.clone(), device.spec.clone());
    let token = store.tokens.generate(call.now_ms);
    let token = token.ok_or_else(|| ApiError::unavailable("too many tokens are valid"))?;
    let expires_ms = expiry(ttl_s, call.now_ms);
    let grant = Grant::device(&application_id, &spec.device_id, scopes, expires_ms);
    store.commit(Event::Token { token: token.clone(), grant });
    let authed = json!({
        "applicationId": application_id,
        "deviceId": spec.device_id,
        "deviceClass": spec.device_class,
        "token": token,
        "ownerType": "user",
        "filterType": "all",
        "pubTopics": [],
        "subTopics": [],
    });
    Ok(Reply::json("authedDevice", authed))
}

/// Returns the requested scopes, by default `all.Device` (rest-api/schemas, "Device Credentials").
fn requested_scopes(body: &Value) -> BTreeSet<String> {
    let requested = body.get("requestedScopes").and_then(Value::as_array);
    let scopes = requested.into_iter().flatten().filter_map(Value::as_str);
    let scopes: BTreeSet<_> = scopes.map(str::to_owned).collect();
    if scopes.is_empty() { BTreeSet::from(["all.Device".to_owned()]) } else { scopes }
}

/// Returns the time of expiry. `tokenTTL` is in seconds and 0 means no expiry; Losant documents
/// neither.
fn expiry(ttl_s: Option<i64>, now_ms: i64) -> Option<i64> {
    let lifetime_s = ttl_s.filter(|seconds| *seconds > 0)?;
    Some(now_ms.saturating_add(lifetime_s.saturating_mul(1000)))
}
