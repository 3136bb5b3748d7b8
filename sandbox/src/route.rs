//! From method and path to a line of the table of actions.

use axum::http::Method;

use crate::access::Target;
use crate::actions::{AUTHENTICATE, Row, TABLE};
use crate::reply::Refusal;

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Route<'a> {
    /// `POST /auth/device`.
    Authenticate,
    /// An action on a device.
    Device(Target<'a>),
}

impl Route<'_> {
    pub(crate) fn row(&self) -> &'static Row {
        match self {
            Self::Authenticate => &AUTHENTICATE,
            Self::Device(target) => target.row,
        }
    }
}

/// The route of a request; 405 for all that is not mapped, as the live service answers.
pub(crate) fn find<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, Refusal> {
    let found = if path == "/auth/device" && *method == AUTHENTICATE.method {
        Some(Route::Authenticate)
    } else {
        find_device(method, path).map(Route::Device)
    };
    found.ok_or_else(|| Refusal::method_not_allowed(method.as_str()))
}

fn find_device<'a>(method: &Method, path: &'a str) -> Option<Target<'a>> {
    let path = path.strip_prefix("/applications/")?;
    let (application_id, path) = path.split_once('/')?;
    let path = path.strip_prefix("devices/")?;
    let end = path.find('/').unwrap_or(path.len());
    let (device_id, tail) = path.split_at_checked(end)?;
    let row = TABLE.iter().find(|row| row.tail == tail && row.method == *method)?;
    Some(Target { application_id, device_id, row })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: &Method, path: &str) -> Option<&'static str> {
        find(method, path).ok().map(|route| route.row().name)
    }

    #[test]
    fn the_device_itself_has_three_actions_by_method() {
        let path = "/applications/a/devices/d";
        assert_eq!(name(&Method::GET, path), Some("get"));
        assert_eq!(name(&Method::PATCH, path), Some("patch"));
        assert_eq!(name(&Method::DELETE, path), Some("delete"));
        assert_eq!(name(&Method::POST, path), None);
    }

    #[test]
    fn a_tail_and_a_method_make_an_action() {
        assert_eq!(name(&Method::POST, "/applications/a/devices/d/state"), Some("sendState"));
        assert_eq!(name(&Method::GET, "/applications/a/devices/d/state"), Some("getState"));
        assert_eq!(name(&Method::DELETE, "/applications/a/devices/d/data"), Some("removeData"));
        assert_eq!(name(&Method::POST, "/auth/device"), Some("authenticateDevice"));
    }

    #[test]
    fn what_is_not_mapped_has_no_route() {
        for path in ["/", "/auth/device", "/applications/a/devices/d/state/", "/applications/a"] {
            assert_eq!(name(&Method::GET, path), None, "{path}");
        }
    }
}
