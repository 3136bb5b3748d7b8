//! `payloadCounts` and `payloadCountsBreakdown`: return the payloads that Losant would bill.
//!
//! Both count whole hours. A breakdown has no entry for a span without payloads; Losant does not
//! document whether it has one.

use serde_json::{Value, json};

use crate::call::Call;
use crate::payloads::{DAY_MS, HOUR_MS};
use crate::query::Period;
use crate::reply::{ApiError, Reply};
use crate::time::to_iso;

pub(super) fn sums(call: &Call<'_>) -> Result<Reply, ApiError> {
    let Period { start_ms, end_ms } = call.query.period(call.now_ms, START_DEFAULT)?;
    let store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
    Ok(Reply::json("devicePayloadCounts", json!(device.payloads.sum(start_ms, end_ms))))
}

pub(super) fn breakdown(call: &Call<'_>) -> Result<Reply, ApiError> {
    let Period { start_ms, end_ms } = call.query.period(call.now_ms, START_DEFAULT)?;
    let resolution_ms = match call.query.integer("resolution")? {
        None | Some(DAY_MS) => DAY_MS,
        Some(HOUR_MS) => HOUR_MS,
        Some(_) => return Err(ApiError::validation("resolution must be 86400000 or 3600000")),
    };
    let store = call.cloud.store();
    let device = store.device(call.device_id).ok_or_else(|| ApiError::not_found("device"))?;
    let totals = device.payloads.breakdown(start_ms, end_ms, resolution_ms);
    let counts = totals.into_iter().map(|(time_ms, value)| {
        let date = to_iso(time_ms);
        json!({"date": date, "value": value})
    });
    let breakdown = json!({
        "start": to_iso(start_ms),
        "end": to_iso(end_ms),
        "counts": counts.collect::<Vec<Value>>(),
    });
    Ok(Reply::json("payloadCountsBreakdown", breakdown))
}

/// The default `start`, 30 days ago (rest-api/device, "Payload Counts").
const START_DEFAULT: i64 = -30 * DAY_MS;
