//! The reason that a value is not sent.

use tidegate_model::{Misfit, Reason, ValueError};

/// The reason that a value is rejected, for the ledger and for the log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rejection {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Rejection {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<ValueError> for Rejection {
    fn from(error: ValueError) -> Self {
        let reason = match error {
            ValueError::NotFinite => Reason::NotFinite,
            ValueError::TextTooLong => Reason::TooLong,
            ValueError::NotScalar => Reason::NotScalar,
            ValueError::NoValue => Reason::NoValue,
            ValueError::WrongWord { .. }
            | ValueError::Unclear
            | ValueError::NotUtf8
            | ValueError::NotDecimal => Reason::Malformed,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<Misfit> for Rejection {
    fn from(misfit: Misfit) -> Self {
        Self::new(misfit.reason(), misfit.to_string())
    }
}
