//! Authorization: whether a token allows an action on a device.

use crate::action::{Access, Action, ActionSpec};
use crate::devices::{DeviceClass, DeviceSpec};
use crate::reply::ApiError;
use crate::route::{ApplicationTarget, Target};
use crate::settings::Settings;
use crate::store::Store;
use crate::tokens::Grant;

/// Checks that `token` allows the action on the device.
///
/// # Errors
///
/// 401 for an invalid token, then 404 for an unknown application or device, then 403 (or
/// [`Settings::foreign_status`]) when the token does not allow the action.
pub(crate) fn authorize(
    settings: &Settings,
    store: &Store,
    target: &Target<'_>,
    token: Option<&str>,
    now_ms: i64,
) -> Result<(), ApiError> {
    let grant = find_grant(store, token, now_ms)?;
    find_application(settings, target.application_id)?;
    let matches = |id: &str| id.eq_ignore_ascii_case(target.application_id);
    let device = store.device(target.device_id).filter(|device| matches(&device.application_id));
    let device = device.ok_or_else(|| ApiError::not_found("device"))?;
    if !grant.allows(target.spec) {
        return Err(no_scope(target.spec));
    }
    let covers =
        matches(&grant.application_id) && covers(settings, store, grant, &device.spec, target.spec);
    if covers {
        Ok(())
    } else {
        let message = "the token does not allow access to this device";
        Err(ApiError::forbidden(settings.foreign_status, message))
    }
}

/// Checks that `token` allows the action on the devices of the application.
///
/// # Errors
///
/// 401 for an invalid token, then 404 for an unknown application, then 403 when the token does not
/// allow the action.
pub(crate) fn authorize_application(
    settings: &Settings,
    store: &Store,
    target: &ApplicationTarget<'_>,
    token: Option<&str>,
    now_ms: i64,
) -> Result<(), ApiError> {
    let grant = find_grant(store, token, now_ms)?;
    find_application(settings, target.application_id)?;
    let is_own = grant.application_id.eq_ignore_ascii_case(target.application_id);
    if grant.allows(target.spec) && is_own { Ok(()) } else { Err(no_scope(target.spec)) }
}

fn find_grant<'a>(
    store: &'a Store,
    token: Option<&str>,
    now_ms: i64,
) -> Result<&'a Grant, ApiError> {
    let grant = token.and_then(|token| store.tokens.find(token, now_ms));
    grant.ok_or_else(|| ApiError::unauthorized("token is missing or not valid"))
}

fn find_application(settings: &Settings, id: &str) -> Result<(), ApiError> {
    let mut applications = settings.applications.iter();
    if applications.any(|application| application.application_id.eq_ignore_ascii_case(id)) {
        Ok(())
    } else {
        Err(ApiError::not_found("application"))
    }
}

fn no_scope(action: &ActionSpec) -> ApiError {
    ApiError::forbidden(403, format!("no scope of the token allows {}", action.name))
}

/// Returns whether a token covers a device for this action.
///
/// A gateway may report for the peripherals that name it and for floating devices
/// (devices/gateways-peripherals). An access key that covers further devices may read them and send
/// them commands (rest-api/overview).
fn covers(
    settings: &Settings,
    store: &Store,
    grant: &Grant,
    device: &DeviceSpec,
    action: &ActionSpec,
) -> bool {
    let Some(own_id) = &grant.device_id else { return true };
    if device.device_id == *own_id {
        return true;
    }
    let Some(own) = store.device(own_id) else { return false };
    let is_gateway = match own.spec.device_class {
        DeviceClass::Gateway | DeviceClass::EdgeCompute => true,
        DeviceClass::Standalone
        | DeviceClass::Peripheral
        | DeviceClass::Floating
        | DeviceClass::System
        | DeviceClass::Embedded => false,
    };
    let is_peripheral = is_gateway && device.gateway_id.as_ref() == Some(own_id);
    let is_floating = is_gateway && device.device_class == DeviceClass::Floating;
    let is_covered_by_key = settings.peripherals_covered
        && is_peripheral
        && (action.access == Access::Read || action.action == Action::SendCommand);
    let may_report = action.action == Action::SendState && (is_peripheral || is_floating);
    may_report || is_covered_by_key
}
