//! Faults as JSON.
//!
//! | Fault | Further fields |
//! | --- | --- |
//! | `"fault": "drop"`, `"lose-response"`, `"hang"`, `"captive-portal"` | |
//! | `"fault": "delay"` | `"ms"` |
//! | `"fault": "split"` | `"seed"` (0 unless told) |
//! | `"fault": "slow"` | `"bytes"` at a time (1 unless told), `"ms"` before each |
//! | `"fault": "content-type"` | `"contentType"` |
//! | none | `"status"`, and `"body"` if there is to be one |

use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::actions::{Action, UnknownAction};
use crate::cloud::Cloud;
use crate::faults::Fault;
use crate::reply::Refusal;

/// `{"action", "calls"}` beside the fields of a fault.
pub(super) fn plan(cloud: &Cloud, mut plan: Map<String, Value>) -> Result<(), Refusal> {
    let action = plan.shift_remove("action");
    let action = action.as_ref().and_then(Value::as_str);
    let action = action.ok_or_else(|| Refusal::validation("action must be a text"))?;
    let unknown = |error: UnknownAction| Refusal::validation(error.to_string());
    let action = action.parse::<Action>().map_err(unknown)?;
    let calls = plan.shift_remove("calls").map_or(Some(1), |calls| calls.as_u64());
    let calls = calls.and_then(|calls| usize::try_from(calls).ok());
    let calls = calls.ok_or_else(|| Refusal::validation("calls must be a whole number"))?;
    let form = serde_json::from_value::<Form>(Value::Object(plan));
    let form = form.map_err(|error| Refusal::validation(error.to_string()))?;
    cloud.faults.plan(action, calls, form.into_fault()?);
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Chance {
    seed: Option<u32>,
    one_in: u32,
    faults: Vec<Form>,
}

/// A seed that is not given is chosen, and answered in any case, so that it can be given next time.
pub(super) fn chance(cloud: &Cloud, chance: Chance) -> Result<Value, Refusal> {
    let faults = chance.faults.into_iter().map(Form::into_fault).collect::<Result<Vec<_>, _>>()?;
    if chance.one_in == 0 || faults.is_empty() {
        return Err(Refusal::validation("oneIn must be 1 or more, and faults not empty"));
    }
    let seed = match chance.seed {
        Some(seed) => seed,
        None => SysRng.try_next_u32().map_err(|_| Refusal::no_randomness())?,
    };
    cloud.faults.set_chance(seed.into(), chance.one_in, faults);
    Ok(json!({"success": true, "seed": seed}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
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

impl Form {
    fn into_fault(self) -> Result<Fault, Refusal> {
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
                None => Err(Refusal::validation("content-type needs a contentType")),
            },
            (Some(Name::CaptivePortal), None) => Ok(Fault::CaptivePortal),
            (Some(_), Some(_)) | (None, None) => {
                Err(Refusal::validation("give either status or fault"))
            }
        }
    }
}
