//! Which scopes allow which action.

use std::collections::BTreeSet;

use crate::actions::Access;

/// Whether one of `scopes` allows the action `name` (rest-api/device: any one suffices).
pub(crate) fn allow(scopes: &BTreeSet<String>, name: &str, access: Access) -> bool {
    let has = |scope: &str| scopes.contains(scope);
    let owner = OWNERS.iter().any(|owner| has(owner) || has(&format!("{owner}.bounded")));
    let owner_reads = || OWNERS.iter().any(|owner| has(&format!("{owner}.read")));
    let named = has("device.*") || has(&format!("device.{name}"));
    match access {
        Access::Open => true,
        Access::Read => {
            owner || owner_reads() || named || has("all.Device") || has("all.Device.read")
        }
        Access::Write => owner || named || has("all.Device"),
        Access::ReadByApplication => owner || owner_reads() || named,
        Access::WriteByApplication => owner || named,
    }
}

const OWNERS: [&str; 3] = ["all.Application", "all.Organization", "all.User"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::TABLE;

    fn allowed(scope: &str) -> Vec<&'static str> {
        let scopes = BTreeSet::from([scope.to_owned()]);
        let allowed = TABLE.iter().filter(|row| allow(&scopes, row.name, row.access));
        allowed.map(|row| row.name).collect()
    }

    #[test]
    fn a_device_token_is_allowed_ten_of_the_sixteen_actions() {
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
    fn a_reading_device_token_sends_nothing() {
        let reading = allowed("all.Device.read");
        assert_eq!(reading.len(), 7);
        assert!(!reading.contains(&"sendState"));
    }

    #[test]
    fn the_scope_of_one_action_allows_nothing_else() {
        assert_eq!(allowed("device.sendState"), ["sendState"]);
    }

    #[test]
    fn an_application_token_is_allowed_everything() {
        assert_eq!(allowed("all.Application").len(), TABLE.len());
    }

    #[test]
    fn a_scope_of_another_resource_allows_nothing() {
        assert!(allowed("data.export").is_empty());
    }
}
