//! Who may do what to which device.

use crate::actions::{Access, Action, Row};
use crate::builder::Settings;
use crate::reply::Refusal;
use crate::store::Store;
use crate::tokens::Grant;
use crate::world::{DeviceClass, DeviceSpec};

/// What a call is aimed at, as its path says.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) application_id: &'a str,
    pub(crate) device_id: &'a str,
    pub(crate) row: &'static Row,
}

/// Lets a call with this token pass, or says why not: 401, then 404, then 403.
pub(crate) fn check(
    settings: &Settings,
    store: &Store,
    target: &Target<'_>,
    token: Option<&str>,
    now_ms: i64,
) -> Result<(), Refusal> {
    let grant = token.and_then(|token| store.tokens.find(token, now_ms));
    let grant = grant.ok_or_else(|| Refusal::unauthorized("token is missing or not valid"))?;
    let named = |id: &str| id.eq_ignore_ascii_case(target.application_id);
    if !settings.applications.iter().any(|application| named(&application.application_id)) {
        return Err(Refusal::not_found("application"));
    }
    let device = store.device(target.device_id).filter(|device| named(&device.application_id));
    let device = device.ok_or_else(|| Refusal::not_found("device"))?;
    if !grant.allows(target.row) {
        let message = format!("none of the token's scopes allows {}", target.row.name);
        return Err(Refusal::forbidden(403, message));
    }
    if named(&grant.application_id) && reaches(settings, store, grant, &device.spec, target.row) {
        Ok(())
    } else {
        let message = "the token does not reach this device";
        Err(Refusal::forbidden(settings.foreign_status, message))
    }
}

/// Whether a token reaches a device for this action.
///
/// A gateway reports for the peripherals that name it and for floating devices
/// (devices/gateways-peripherals). An access key that covers further devices may read them and send
/// them commands (rest-api/overview).
fn reaches(
    settings: &Settings,
    store: &Store,
    grant: &Grant,
    device: &DeviceSpec,
    row: &Row,
) -> bool {
    let Some(own_id) = &grant.device_id else { return true };
    if device.device_id == *own_id {
        return true;
    }
    let Some(own) = store.device(own_id) else { return false };
    let relays = match own.spec.device_class {
        DeviceClass::Gateway | DeviceClass::EdgeCompute => true,
        DeviceClass::Standalone
        | DeviceClass::Peripheral
        | DeviceClass::Floating
        | DeviceClass::System
        | DeviceClass::Embedded => false,
    };
    let tied = relays && device.gateway_id.as_ref() == Some(own_id);
    let floating = relays && device.device_class == DeviceClass::Floating;
    let covered = settings.peripherals_covered
        && tied
        && (row.access == Access::Read || row.action == Action::SendCommand);
    (row.action == Action::SendState && (tied || floating)) || covered
}
