//! The errors of calls to Losant.

use std::error::Error as _;
use std::time::Duration;

use tidegate_delivery::response::{Outcome, RequestKind, ResponseClass};

/// The action name of an authentication in errors.
pub(super) const AUTHENTICATE: &str = "authenticateDevice";

/// The client cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS: {}; is the package ca-certificates installed?", chain(.0))]
pub struct SetupError(#[from] pub(super) reqwest::Error);

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No answer arrived: no connection, a timeout, a reset, an invalid certificate.
    #[error("{action}: no answer: {cause}")]
    NoAnswer {
        /// The action.
        action: &'static str,
        /// The whole chain of causes on one line.
        cause: String,
        /// Whether the call may have reached Losant: true except for a failure to connect.
        may_have_arrived: bool,
    },
    /// Losant, or a server in front of it, refused the call.
    #[error("{action}: {status} {message}")]
    Refused {
        /// The action.
        action: &'static str,
        /// The status code.
        status: u16,
        /// The message of the server, at most 200 characters.
        message: String,
        /// The header `Retry-After`, if it is in seconds.
        retry_after: Option<Duration>,
    },
    /// The answer does not come from Losant, but from a captive portal or a proxy.
    #[error(
        "{action}: the answer ({status}) does not come from Losant: {message}; is there a login \
         page or a proxy in between?"
    )]
    NotLosant {
        /// The action.
        action: &'static str,
        /// The status code.
        status: u16,
        /// The expected answer, or the beginning of the actual one.
        message: String,
    },
    /// The credentials were rejected a short time ago and are not tried again yet.
    #[error("{message}")]
    Unauthenticated {
        /// The message of the rejection.
        message: String,
        /// The wait before the next attempt.
        wait: Duration,
    },
    /// The access key belongs to another application.
    #[error(
        "the access key belongs to application {actual}, but losant.application_id says {expected}"
    )]
    OtherApplication {
        /// The application in the configuration.
        expected: String,
        /// The application of the access key.
        actual: String,
    },
}

impl Error {
    pub(super) fn no_answer(action: &'static str, error: &reqwest::Error) -> Self {
        Self::NoAnswer { action, cause: chain(error), may_have_arrived: !error.is_connect() }
    }

    /// Returns the status code of the answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::NotLosant { status, .. } => Some(*status),
            Self::NoAnswer { .. }
            | Self::Unauthenticated { .. }
            | Self::OtherApplication { .. } => None,
        }
    }

    /// Returns the response class of the call.
    pub fn response_class(&self) -> ResponseClass {
        ResponseClass::of(RequestKind::Action, &self.outcome())
    }

    /// Returns the outcome of the call for the reporter.
    ///
    /// Without a token the call was not made: Losant rejects the credentials or is not reachable.
    pub fn outcome(&self) -> Outcome {
        if self.action() != Some(AUTHENTICATE) {
            return self.answer();
        }
        let answer = self.answer();
        let message = self.to_string();
        match ResponseClass::of(RequestKind::Token, &answer) {
            ResponseClass::Unauthorized => Outcome::NotMade { message },
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::RateLimited(_)
            | ResponseClass::Blocked
            | ResponseClass::ServerError(_)
            | ResponseClass::Offline => Outcome::NoAnswer { message, may_have_arrived: false },
        }
    }

    /// Returns the outcome of the HTTP request, be it for a token or for an action.
    pub(super) fn answer(&self) -> Outcome {
        let message = self.to_string();
        let answer = |status, retry_after, message| Outcome::Answer {
            status,
            success: false,
            message,
            retry_after,
        };
        match self {
            Self::NoAnswer { may_have_arrived, .. } => {
                Outcome::NoAnswer { message, may_have_arrived: *may_have_arrived }
            }
            Self::Refused { status, retry_after, .. } => answer(*status, *retry_after, message),
            Self::NotLosant { status, .. } => answer(*status, None, message),
            Self::Unauthenticated { .. } | Self::OtherApplication { .. } => {
                Outcome::NotMade { message }
            }
        }
    }

    fn action(&self) -> Option<&'static str> {
        match self {
            Self::NoAnswer { action, .. }
            | Self::Refused { action, .. }
            | Self::NotLosant { action, .. } => Some(action),
            Self::Unauthenticated { .. } | Self::OtherApplication { .. } => None,
        }
    }
}

/// Formats an error with all its causes on one line. The text of reqwest omits the causes.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let cause_text = error.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        cause = error.source();
    }
    text
}
