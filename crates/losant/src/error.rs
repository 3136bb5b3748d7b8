//! What can go wrong between us and Losant, with the action that it happened to.

use std::error::Error as _;
use std::time::Duration;

use tidegate_delivery::response::{Asked, Outcome, ResponseClass};

/// How errors call the asking for a token.
pub(super) const AUTHENTICATE: &str = "authenticateDevice";

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS: {}; is the package ca-certificates installed?", chain(.0))]
pub struct SetupError(#[from] pub(super) reqwest::Error);

/// A call that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No answer came: no connection, a time-out, a reset, a certificate that does not fit.
    #[error("{action}: no answer: {cause}")]
    NoAnswer {
        /// Which action.
        action: &'static str,
        /// The whole chain of causes on one line.
        cause: String,
        /// Whether the call may have reached the cloud all the same: all but a failure to connect.
        may_have_arrived: bool,
    },
    /// Losant, or something before it, refused.
    #[error("{action}: {status} {message}")]
    Refused {
        /// Which action.
        action: &'static str,
        /// The status code.
        status: u16,
        /// The server's words, 200 characters at most.
        message: String,
        /// From the header `Retry-After`, when it is in seconds.
        retry_after: Option<Duration>,
    },
    /// An answer that Losant would not give: a captive portal or a proxy.
    #[error(
        "{action}: the answer ({status}) is not Losant's: {message}; is there a login page or proxy in between?"
    )]
    NotLosant {
        /// Which action.
        action: &'static str,
        /// The status code.
        status: u16,
        /// What was expected or the first words of what came.
        message: String,
    },
    /// The credentials were refused a short time ago and are not tried again yet. The text is that of the refusal.
    #[error("{message}")]
    Unauthenticated {
        /// Why they were refused.
        message: String,
        /// How long until the next try.
        wait: Duration,
    },
    /// The access key belongs to another application.
    #[error(
        "the access key belongs to application {actual}, but losant.application_id says {expected}"
    )]
    OtherApplication {
        /// What the configuration says.
        expected: String,
        /// What Losant says.
        actual: String,
    },
}

impl Error {
    pub(super) fn no_answer(action: &'static str, error: &reqwest::Error) -> Self {
        Self::NoAnswer { action, cause: chain(error), may_have_arrived: !error.is_connect() }
    }

    /// The status code, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::NotLosant { status, .. } => Some(*status),
            Self::NoAnswer { .. }
            | Self::Unauthenticated { .. }
            | Self::OtherApplication { .. } => None,
        }
    }

    /// What it means that a call ended so.
    pub fn verdict(&self) -> ResponseClass {
        ResponseClass::of(Asked::Action, &self.outcome())
    }

    /// The outcome of a call in the terms of [`tidegate_delivery::response`]. Where no token was given the call was not made: the
    /// cloud refuses us, or it cannot be reached.
    pub fn outcome(&self) -> Outcome {
        if self.action() != Some(AUTHENTICATE) {
            return self.answer();
        }
        let answer = self.answer();
        let message = self.to_string();
        match ResponseClass::of(Asked::Token, &answer) {
            ResponseClass::Unauthorized => Outcome::NotMade { message },
            ResponseClass::Stored
            | ResponseClass::TooLarge
            | ResponseClass::Malformed
            | ResponseClass::Throttled(_)
            | ResponseClass::Blocked
            | ResponseClass::ServerError(_)
            | ResponseClass::Offline => Outcome::NoAnswer { message, may_have_arrived: false },
        }
    }

    /// What came back, whatever was asked.
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

/// An error and all its causes on one line; reqwest's own text stops before the cause that matters.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
