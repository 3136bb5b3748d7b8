//! `payloadCounts` and `payloadCountsBreakdown`: what Losant would charge for.
//!
//! They count whole hours. A breakdown has no entries for spans without payloads; whether Losant's
//! has is not documented.

use serde_json::{Value, json};

use crate::call::Call;
use crate::payloads::{DAY_MS, HOUR_MS};
use crate::reply::{Refusal, Reply};
use crate::time::to_iso;

pub(super) fn sums(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (start_ms, end_ms) = call.query.period(call.now_ms, START_DEFAULT)?;
    let store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
    Ok(Reply::Json("devicePayloadCounts", json!(device.payloads.sum(start_ms, end_ms))))
}

pub(super) fn breakdown(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (start_ms, end_ms) = call.query.period(call.now_ms, START_DEFAULT)?;
    let resolution_ms = match call.query.integer("resolution")? {
        None | Some(DAY_MS) => DAY_MS,
        Some(HOUR_MS) => HOUR_MS,
        Some(_) => return Err(Refusal::validation("resolution must be 86400000 or 3600000")),
    };
    let store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| Refusal::not_found("device"))?;
    let totals = device.payloads.breakdown(start_ms, end_ms, resolution_ms);
    let counts = totals.into_iter().map(|(time_ms, value)| {
        let date = to_iso(time_ms);
        json!({"date": date, "value": value})
    });
    let shown = json!({
        "start": to_iso(start_ms),
        "end": to_iso(end_ms),
        "counts": counts.collect::<Vec<Value>>(),
    });
    Ok(Reply::Json("payloadCountsBreakdown", shown))
}

/// The last 30 days (rest-api/device, "Payload Counts").
const START_DEFAULT: i64 = -30 * DAY_MS;
