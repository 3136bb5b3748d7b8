//! The scopes that allow an action.

use std::collections::BTreeSet;

use crate::action::Access;

/// Returns whether any of `scopes` allows the action `name` (rest-api/device).
pub(crate) fn allow(scopes: &BTreeSet<String>, name: &str, access: Access) -> bool {
    let has = |scope: &str| scopes.contains(scope);
    let full = RESOURCES.iter().any(|scope| has(scope) || has(&format!("{scope}.bounded")));
    let read = || RESOURCES.iter().any(|scope| has(&format!("{scope}.read")));
    let (resource, name) = name.split_once('.').unwrap_or(("device", name));
    let named = has(&format!("{resource}.*")) || has(&format!("{resource}.{name}"));
    match access {
        Access::Open => true,
        Access::Read => full || read() || named || has("all.Device") || has("all.Device.read"),
        Access::Write => full || named || has("all.Device"),
        Access::ReadByApplication => full || read() || named,
        Access::WriteByApplication => full || named,
    }
}

/// The scopes of the resources that contain devices.
const RESOURCES: [&str; 3] = ["all.Application", "all.Organization", "all.User"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::DEVICE_ACTIONS;

    fn allowed(scope: &str) -> Vec<&'static str> {
        let scopes = BTreeSet::from([scope.to_owned()]);
        let allowed = DEVICE_ACTIONS.iter().filter(|spec| allow(&scopes, spec.name, spec.access));
        allowed.map(|spec| spec.name).collect()
    }

    #[test]
    fn device_token_allows_ten_actions() {
        let ten = [
            "commandStream",
            "get",
            "getCommand",
            "getCompositeState",
            "getLogEntries",
            "getState",
            "sendCommand",
            "sendState",
            "setConnectionStatus",
            "stateStream",
        ];
        assert_eq!(allowed("all.Device"), ten);
    }

    #[test]
    fn read_only_device_token_allows_no_sending() {
        let reading = allowed("all.Device.read");
        assert_eq!(reading.len(), 7);
        assert!(!reading.contains(&"sendState"));
    }

    #[test]
    fn scope_of_one_action_allows_only_that_action() {
        assert_eq!(allowed("device.sendState"), ["sendState"]);
    }

    #[test]
    fn application_token_allows_all_actions() {
        assert_eq!(allowed("all.Application").len(), DEVICE_ACTIONS.len());
    }

    #[test]
    fn scope_of_another_resource_allows_nothing() {
        assert!(allowed("data.export").is_empty());
    }
}
