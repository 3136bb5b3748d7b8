//! The JSON form of faults.
//!
//! | Fault | Further fields |
//! | --- | --- |
//! | `"fault": "drop"`, `"lose-response"`, `"hang"`, `"captive-portal"` | |
//! | `"fault": "delay"` | `"ms"` |
//! | `"fault": "split"` | `"seed"` (default 0) |
//! | `"fault": "slow"` | `"bytes"` of each piece (default 1), `"ms"` before each |
//! | `"fault": "content-type"` | `"contentType"` |
//! | none | `"status"`, and optionally `"body"` |

use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::action::{Action, UnknownAction};
use crate::cloud::Cloud;
use crate::faults::Fault;
use crate::reply::ApiError;
use crate::silent_loss::LossUnit;

/// Plans faults: `{"action", "calls"}` and the fields of a fault.
pub(super) fn plan(cloud: &Cloud, mut plan: Map<String, Value>) -> Result<(), ApiError> {
    let action = plan.shift_remove("action");
    let action = action.as_ref().and_then(Value::as_str);
    let action = action.ok_or_else(|| ApiError::validation("action must be a string"))?;
    let unknown = |error: UnknownAction| ApiError::validation(error.to_string());
    let action = action.parse::<Action>().map_err(unknown)?;
    let calls = plan.shift_remove("calls").map_or(Some(1), |calls| calls.as_u64());
    let calls = calls.and_then(|calls| usize::try_from(calls).ok());
    let calls = calls.ok_or_else(|| ApiError::validation("calls must be an integer from 0"))?;
    let fields = serde_json::from_value::<FaultFields>(Value::Object(plan));
    let fields = fields.map_err(|error| ApiError::validation(error.to_string()))?;
    cloud.faults.plan(action, calls, fields.into_fault()?);
    Ok(())
}

/// The body of `POST /sandbox/chance`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RandomPlan {
    seed: Option<u32>,
    one_in: u32,
    faults: Vec<FaultFields>,
}

/// Plans random faults. Without a seed it chooses one; the response contains the seed, so that the
/// same faults can be repeated.
pub(super) fn plan_random(cloud: &Cloud, plan: RandomPlan) -> Result<Value, ApiError> {
    let faults =
        plan.faults.into_iter().map(FaultFields::into_fault).collect::<Result<Vec<_>, _>>()?;
    if plan.one_in == 0 || faults.is_empty() {
        return Err(ApiError::validation("oneIn must be 1 or more, and faults not empty"));
    }
    let seed = seed(plan.seed)?;
    cloud.faults.plan_random(seed.into(), plan.one_in, faults);
    Ok(json!({"success": true, "seed": seed}))
}

/// The body of `POST /sandbox/lose`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LossPlan {
    seed: Option<u32>,
    one_in: u32,
    #[serde(default)]
    unit: LossUnit,
}

/// Plans silent losses, with a seed as in [`plan_random`].
pub(super) fn plan_loss(cloud: &Cloud, plan: &LossPlan) -> Result<Value, ApiError> {
    if plan.one_in == 0 {
        return Err(ApiError::validation("oneIn must be 1 or more"));
    }
    let seed = seed(plan.seed)?;
    cloud.silent_losses.plan(seed.into(), plan.one_in, plan.unit);
    Ok(json!({"success": true, "seed": seed}))
}

/// Returns the given seed, or chooses one.
fn seed(given: Option<u32>) -> Result<u32, ApiError> {
    match given {
        Some(seed) => Ok(seed),
        None => SysRng.try_next_u32().map_err(|_| ApiError::no_randomness()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FaultFields {
    fault: Option<Name>,
    status: Option<u16>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    ms: u64,
    #[serde(default = "one")]
    bytes: usize,
    #[serde(default)]
    seed: u64,
    content_type: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Drop,
    LoseResponse,
    Hang,
    Delay,
    Split,
    Slow,
    ContentType,
    CaptivePortal,
}

fn one() -> usize {
    1
}

impl FaultFields {
    fn into_fault(self) -> Result<Fault, ApiError> {
        let time = Duration::from_millis(self.ms);
        match (self.fault, self.status) {
            (None, Some(status)) => Ok(Fault::Status(status, self.body)),
            (Some(Name::Drop), None) => Ok(Fault::Drop),
            (Some(Name::LoseResponse), None) => Ok(Fault::LoseResponse),
            (Some(Name::Hang), None) => Ok(Fault::Hang),
            (Some(Name::Delay), None) => Ok(Fault::Delay(time)),
            (Some(Name::Split), None) => Ok(Fault::Split { seed: self.seed }),
            (Some(Name::Slow), None) => Ok(Fault::Slow { bytes: self.bytes, pause: time }),
            (Some(Name::ContentType), None) => match self.content_type {
                Some(media_type) => Ok(Fault::ContentType(media_type)),
                None => Err(ApiError::validation("content-type needs a contentType")),
            },
            (Some(Name::CaptivePortal), None) => Ok(Fault::CaptivePortal),
            (Some(_), Some(_)) | (None, None) => {
                Err(ApiError::validation("give either status or fault"))
            }
        }
    }
}
