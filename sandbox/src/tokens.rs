//! Issued tokens and their grants.

use std::collections::{BTreeMap, BTreeSet};

use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};

use crate::action::ActionSpec;
use crate::devices::ApplicationSpec;
use crate::scopes;

/// The permissions of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Grant {
    /// The application to which the token is limited.
    pub(crate) application_id: String,
    /// The authenticated device; `None` for an application token.
    pub(crate) device_id: Option<String>,
    scopes: BTreeSet<String>,
    /// The first millisecond at which the token is no longer valid.
    expires_ms: Option<i64>,
}

impl Grant {
    /// Returns the grant of a device token.
    pub(crate) fn device(
        application_id: &str,
        device_id: &str,
        scopes: BTreeSet<String>,
        expires_ms: Option<i64>,
    ) -> Self {
        let device_id = Some(device_id.to_owned());
        Self { application_id: application_id.to_owned(), device_id, scopes, expires_ms }
    }

    fn is_valid(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }

    /// Returns whether a scope of the token allows the action.
    pub(crate) fn allows(&self, spec: &ActionSpec) -> bool {
        scopes::allow(&self.scopes, spec.name, spec.access)
    }
}

/// All valid tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    grants: BTreeMap<String, Grant>,
}

impl Tokens {
    /// Creates the collection with the token of each application.
    pub(crate) fn new(applications: &[ApplicationSpec]) -> Self {
        let grant = |application: &ApplicationSpec| {
            let application_id = application.application_id.clone();
            let scopes = BTreeSet::from(["all.Application".to_owned()]);
            let grant = Grant { application_id, device_id: None, scopes, expires_ms: None };
            (application.api_token.clone(), grant)
        };
        Self { grants: applications.iter().map(grant).collect() }
    }

    /// Generates a token after removing all expired ones. Returns `None` when too many tokens are
    /// valid or the operating system provides no random numbers.
    pub(crate) fn generate(&mut self, now_ms: i64) -> Option<String> {
        self.grants.retain(|_, grant| grant.is_valid(now_ms));
        if self.grants.len() >= TOKENS_MAX {
            return None;
        }
        random_token()
    }

    pub(crate) fn insert(&mut self, token: String, grant: Grant) {
        self.grants.insert(token, grant);
    }

    /// Returns the tokens of all devices.
    pub(crate) fn of_devices(&self) -> impl Iterator<Item = (String, Grant)> {
        let of_devices = self.grants.iter().filter(|(_, grant)| grant.device_id.is_some());
        of_devices.map(|(token, grant)| (token.clone(), grant.clone()))
    }

    /// Returns the grant of a token, or `None` when the token is unknown or expired.
    pub(crate) fn find(&self, token: &str, now_ms: i64) -> Option<&Grant> {
        self.grants.get(token).filter(|grant| grant.is_valid(now_ms))
    }

    /// Removes the tokens of all devices.
    pub(crate) fn expire_devices(&mut self) {
        self.grants.retain(|_, grant| grant.device_id.is_none());
    }
}

/// Returns 20 random hexadecimal digits, or `None` when the operating system provides no random
/// numbers.
pub(crate) fn random_id() -> Option<String> {
    let mut rng = SysRng;
    let (high, low) = (rng.try_next_u64().ok()?, rng.try_next_u32().ok()?);
    Some(format!("{high:016x}{:04x}", low >> 16))
}

/// Returns a random token of three parts, like a JWT. Clients must treat it as opaque.
fn random_token() -> Option<String> {
    let mut rng = SysRng;
    let mut part = || rng.try_next_u64().ok().map(|bits| format!("{bits:016x}"));
    Some(format!("{}.{}.{}", part()?, part()?, part()?))
}

/// Tokens that can be valid at the same time; Losant documents no limit.
const TOKENS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(&[ApplicationSpec { api_token: "api".to_owned(), ..Default::default() }])
    }

    fn issue(tokens: &mut Tokens, expires_ms: Option<i64>, now_ms: i64) -> String {
        let token = tokens.generate(now_ms).unwrap();
        tokens.insert(token.clone(), Grant::device("a1", "d1", BTreeSet::new(), expires_ms));
        token
    }

    #[test]
    fn token_is_valid_until_it_expires() {
        let mut tokens = tokens();
        let token = issue(&mut tokens, Some(100), 0);
        assert!(tokens.find(&token, 99).is_some());
        assert!(tokens.find(&token, 100).is_none());
    }

    #[test]
    fn expire_devices_removes_unlimited_device_tokens() {
        let mut tokens = tokens();
        let token = issue(&mut tokens, None, 0);
        assert!(tokens.find(&token, i64::MAX).is_some());
        tokens.expire_devices();
        assert!(tokens.find(&token, 0).is_none());
        assert!(tokens.find("api", 0).is_some());
    }

    #[test]
    fn removes_expired_tokens_at_the_limit() {
        let mut tokens = tokens();
        for _ in 1..TOKENS_MAX {
            issue(&mut tokens, Some(100), 0);
        }
        assert!(tokens.generate(99).is_none());
        issue(&mut tokens, None, 100);
    }
}
