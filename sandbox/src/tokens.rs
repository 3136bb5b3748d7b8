//! The tokens that were issued, and what each may do.

use std::collections::{BTreeMap, BTreeSet};

use rand::TryRng;
use rand::rngs::SysRng;

use crate::actions::Row;
use crate::scopes;

/// What a token allows.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The device that authenticated; none for a token of the application.
    pub(crate) device_id: Option<String>,
    scopes: BTreeSet<String>,
    /// The first millisecond at which it is not valid.
    expires_ms: Option<i64>,
}

impl Grant {
    /// Whether one of its scopes allows the action.
    pub(crate) fn allows(&self, row: &Row) -> bool {
        scopes::allow(&self.scopes, row.name, row.access)
    }
}

/// All valid tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    grants: BTreeMap<String, Grant>,
}

impl Tokens {
    /// Knows one token, of the application, with its default scope.
    pub(crate) fn new(api_token: &str) -> Self {
        let scopes = BTreeSet::from(["all.Application".to_owned()]);
        let grant = Grant { device_id: None, scopes, expires_ms: None };
        Self { grants: BTreeMap::from([(api_token.to_owned(), grant)]) }
    }

    /// Issues a token to a device, `None` when there is no randomness or no room.
    pub(crate) fn issue(
        &mut self,
        device_id: &str,
        scopes: BTreeSet<String>,
        expires_ms: Option<i64>,
        now_ms: i64,
    ) -> Option<String> {
        self.grants
            .retain(|_, grant| grant.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms));
        if self.grants.len() >= TOKENS_MAX {
            return None;
        }
        let token = random_token()?;
        let grant = Grant { device_id: Some(device_id.to_owned()), scopes, expires_ms };
        self.grants.insert(token.clone(), grant);
        Some(token)
    }

    /// The grant of a token, unless it is unknown or expired.
    pub(crate) fn find(&self, token: &str, now_ms: i64) -> Option<&Grant> {
        let grant = self.grants.get(token)?;
        grant.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms).then_some(grant)
    }

    /// Forgets the tokens of all devices.
    pub(crate) fn expire_devices(&mut self) {
        self.grants.retain(|_, grant| grant.device_id.is_none());
    }
}

/// Opaque, as a client should treat it: three parts, as in a JWT, of nothing but noise.
fn random_token() -> Option<String> {
    let mut rng = SysRng;
    let mut part = || rng.try_next_u64().ok().map(|bits| format!("{bits:016x}"));
    Some(format!("{}.{}.{}", part()?, part()?, part()?))
}

/// Tokens that are valid at the same time; Losant names no limit.
const TOKENS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(tokens: &mut Tokens, expires_ms: Option<i64>, now_ms: i64) -> String {
        tokens.issue("d1", BTreeSet::new(), expires_ms, now_ms).unwrap()
    }

    #[test]
    fn a_token_is_valid_until_just_before_it_expires() {
        let mut tokens = Tokens::new("api");
        let token = issue(&mut tokens, Some(100), 0);
        assert!(tokens.find(&token, 99).is_some());
        assert!(tokens.find(&token, 100).is_none());
    }

    #[test]
    fn a_token_without_expiry_stays_valid_until_the_devices_tokens_expire() {
        let mut tokens = Tokens::new("api");
        let token = issue(&mut tokens, None, 0);
        assert!(tokens.find(&token, i64::MAX).is_some());
        tokens.expire_devices();
        assert!(tokens.find(&token, 0).is_none());
        assert!(tokens.find("api", 0).is_some());
    }

    #[test]
    fn tokens_are_bounded_and_expired_ones_make_room() {
        let mut tokens = Tokens::new("api");
        for _ in 1..TOKENS_MAX {
            issue(&mut tokens, Some(100), 0);
        }
        assert!(tokens.issue("d1", BTreeSet::new(), None, 99).is_none());
        issue(&mut tokens, None, 100);
    }
}
