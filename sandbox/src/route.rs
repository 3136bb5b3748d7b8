//! Routing: from method and path to an action.

use axum::http::Method;

use crate::action::{APPLICATION_ACTIONS, AUTHENTICATE, ActionSpec, DEVICE_ACTIONS};
use crate::reply::ApiError;

/// The destination of a request.
#[derive(Debug)]
pub(crate) enum Route<'a> {
    /// `POST /auth/device`.
    Authenticate,
    /// An action on the devices of an application.
    Application(ApplicationTarget<'a>),
    /// An action on a device.
    Device(Target<'a>),
}

/// The action and the application that a path names.
#[derive(Debug)]
pub(crate) struct ApplicationTarget<'a> {
    pub(crate) application_id: &'a str,
    pub(crate) spec: &'static ActionSpec,
}

/// The action and the device that a path names.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) application_id: &'a str,
    pub(crate) device_id: &'a str,
    pub(crate) spec: &'static ActionSpec,
}

impl Route<'_> {
    pub(crate) fn spec(&self) -> &'static ActionSpec {
        match self {
            Self::Authenticate => &AUTHENTICATE,
            Self::Application(target) => target.spec,
            Self::Device(target) => target.spec,
        }
    }
}

/// Finds the route of a request.
///
/// # Errors
///
/// 405 for each unknown method or path, which is the response of the live service.
pub(crate) fn find<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, ApiError> {
    let found = if path == "/auth/device" && *method == AUTHENTICATE.method {
        Some(Route::Authenticate)
    } else {
        let application = || find_application(method, path).map(Route::Application);
        find_device(method, path).map(Route::Device).or_else(application)
    };
    found.ok_or_else(|| ApiError::method_not_allowed(method.as_str()))
}

fn find_device<'a>(method: &Method, path: &'a str) -> Option<Target<'a>> {
    let path = path.strip_prefix("/applications/")?;
    let (application_id, path) = path.split_once('/')?;
    let path = path.strip_prefix("devices/")?;
    let end = path.find('/').unwrap_or(path.len());
    let (device_id, tail) = path.split_at_checked(end)?;
    let spec = DEVICE_ACTIONS.iter().find(|spec| spec.tail == tail && spec.method == *method)?;
    Some(Target { application_id, device_id, spec })
}

fn find_application<'a>(method: &Method, path: &'a str) -> Option<ApplicationTarget<'a>> {
    let path = path.strip_prefix("/applications/")?;
    let (application_id, path) = path.split_once('/')?;
    let spec = APPLICATION_ACTIONS.iter().find(|spec| spec.method == *method)?;
    (path == "devices").then_some(ApplicationTarget { application_id, spec })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: &Method, path: &str) -> Option<&'static str> {
        find(method, path).ok().map(|route| route.spec().name)
    }

    #[test]
    fn method_selects_the_action_on_a_device() {
        let path = "/applications/a/devices/d";
        assert_eq!(name(&Method::GET, path), Some("get"));
        assert_eq!(name(&Method::PATCH, path), Some("patch"));
        assert_eq!(name(&Method::DELETE, path), Some("delete"));
        assert_eq!(name(&Method::POST, path), None);
    }

    #[test]
    fn path_and_method_select_the_action() {
        assert_eq!(name(&Method::POST, "/applications/a/devices/d/state"), Some("sendState"));
        assert_eq!(name(&Method::GET, "/applications/a/devices/d/state"), Some("getState"));
        assert_eq!(name(&Method::DELETE, "/applications/a/devices/d/data"), Some("removeData"));
        assert_eq!(name(&Method::POST, "/auth/device"), Some("authenticateDevice"));
        assert_eq!(name(&Method::GET, "/applications/a/devices"), Some("devices.get"));
        assert_eq!(name(&Method::POST, "/applications/a/devices"), Some("devices.post"));
    }

    #[test]
    fn unknown_paths_have_no_route() {
        for path in ["/", "/auth/device", "/applications/a/devices/d/state/", "/applications/a"] {
            assert_eq!(name(&Method::GET, path), None, "{path}");
        }
    }
}
