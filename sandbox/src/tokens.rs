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
const TOKENS_MAX: usize = 10_000;
