//! The errors of calls to Losant.

use std::error::Error as _;
use std::time::Duration;

use tidegate_delivery::response::{CallOutcome, RequestKind, ResponseClass};
use tidegate_model::io_problem;

/// The action name of an authentication in errors.
pub(super) const AUTHENTICATE: &str = "authenticateDevice";

/// The client cannot be created.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS: {}; is the package ca-certificates installed?", describe(.0))]
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
        Self::NoAnswer { action, cause: describe(error), may_have_arrived: !error.is_connect() }
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
    pub fn outcome(&self) -> CallOutcome {
        if self.action() != Some(AUTHENTICATE) {
            return self.answer();
        }
        let answer = self.answer();
        let message = self.to_string();
        match ResponseClass::of(RequestKind::Token, &answer) {
            ResponseClass::Unauthorized => CallOutcome::NotMade { message },
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::Throttled(_)
            | ResponseClass::Blocked
            | ResponseClass::ServerError(_)
            | ResponseClass::Offline => CallOutcome::NoAnswer { message, may_have_arrived: false },
        }
    }

    /// Returns the outcome of the HTTP request, be it for a token or for an action.
    pub(super) fn answer(&self) -> CallOutcome {
        let message = self.to_string();
        let answer = |status, retry_after, message| CallOutcome::Answer {
            status,
            success: false,
            message,
            retry_after,
        };
        match self {
            Self::NoAnswer { may_have_arrived, .. } => {
                CallOutcome::NoAnswer { message, may_have_arrived: *may_have_arrived }
            }
            Self::Refused { status, retry_after, .. } => answer(*status, *retry_after, message),
            Self::NotLosant { status, .. } => answer(*status, None, message),
            Self::Unauthenticated { .. } | Self::OtherApplication { .. } => {
                CallOutcome::NotMade { message }
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

/// Describes an error of the HTTP library in words: what failed, and the cause.
pub fn describe(error: &reqwest::Error) -> String {
    let host = error.url().and_then(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!(" to {}{port}", url.host_str()?))
    });
    let what = if error.is_builder() {
        "the request is not valid".to_owned()
    } else if error.is_connect() {
        format!("cannot connect{}", host.unwrap_or_default())
    } else if error.is_timeout() {
        return "timed out".to_owned();
    } else if error.is_body() || error.is_decode() {
        "the answer broke off".to_owned()
    } else {
        "the request failed".to_owned()
    };
    match cause(error) {
        Some(cause) => format!("{what}: {cause}"),
        None => what,
    }
}

/// The cause of a request whose connection ended before the request could be written.
const ENDED_EARLY: &str =
    "the connection ended before the request was sent; is a web server at this address?";

/// Returns the first cause of an error: that of the operating system, or the innermost.
fn cause(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source()?;
    loop {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return Some(io_problem(error));
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return Some(ENDED_EARLY.to_owned());
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return Some(io_problem(&std::io::Error::other(cause.to_string()))),
        }
    }
}
