//! Classifies the outcome of each call to Losant.
//!
//! No other module interprets a status code of Losant, or of a proxy or captive portal on the way.

use std::time::Duration;

/// The wait of a device that Losant refuses (403, 404, 405).
pub const BLOCKED_WAIT: Duration = Duration::from_secs(15 * 60);

/// The shortest wait after a 429: Losant's window of 15 s, since no `Retry-After` is documented.
pub const THROTTLED_WAIT: Duration = Duration::from_secs(16);

/// The longest `Retry-After` that is followed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// An HTTP answer.
    Answer {
        /// The status code.
        status: u16,
        /// Whether the body is JSON with `success: true`.
        success: bool,
        /// The error message of the server, cut to one line.
        message: String,
        /// The `Retry-After` header, if it is given in seconds.
        retry_after: Option<Duration>,
    },
    /// No answer: no connection, a timeout, a reset, or a TLS error.
    NoAnswer {
        /// The error.
        message: String,
        /// Whether the call may still have reached the cloud.
        may_have_arrived: bool,
    },
    /// The call was not made: Losant issued no token for the credentials file.
    NotMade {
        /// Why Losant issued no token.
        message: String,
    },
}

impl CallOutcome {
    /// Returns the error message in one line. Empty after a success.
    pub fn message(&self) -> &str {
        match self {
            Self::Answer { message, .. }
            | Self::NoAnswer { message, .. }
            | Self::NotMade { message } => message,
        }
    }

    /// Returns whether the call may count in Losant's throttle.
    pub fn may_count(&self) -> bool {
        match self {
            Self::Answer { .. } => true,
            Self::NoAnswer { may_have_arrived, .. } => *may_have_arrived,
            Self::NotMade { .. } => false,
        }
    }
}

/// The kind of a request. Some answers have another meaning for a token request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// A request for a token: `POST /auth/device`.
    Token,
    /// An action on a device, with a token.
    Action,
}

/// Names the policy that applies after a call.
///
/// For `sendState`, the policy covers the batch and its device. Only [`ResponseClass::Stored`]
/// deletes states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseClass {
    /// A 2xx with `success: true`: the cloud stored the data.
    ///
    /// Deletes the batch.
    Stored,
    /// A 413: the body was too large.
    ///
    /// Halves the batch, and remembers the size as the maximum for the device. Rejects a single
    /// state.
    TooLarge,
    /// A 400 or 422: a part of the body is invalid.
    ///
    /// Halves the batch until the invalid state is found, and rejects that state. Other actions are
    /// not retried.
    Malformed,
    /// A 429: too many calls.
    ///
    /// Pauses the device for the time in `Retry-After`, but for at least 16 s (also the default)
    /// and at most 15 min. The wait does not grow. Other devices continue.
    Throttled(Option<Duration>),
    /// A 401 after the token was renewed once, or a credentials file that Losant does not accept.
    ///
    /// Keeps all data and retries as after [`ResponseClass::Offline`]. The session requests the
    /// next token only after minutes.
    Unauthorized,
    /// A 403, 404, 405 or any other 4xx: Losant refuses this device, or refuses it at present.
    ///
    /// Keeps the data of the device and retries after 15 min. Other devices continue.
    Blocked,
    /// A 5xx: an error in the server, which may concern only this device.
    ///
    /// Keeps the data and retries with a growing delay, but not before `Retry-After` (15 min at
    /// most). Until a call succeeds, only one call at a time is made for all devices. If the calls
    /// of two devices get it in a row, all devices wait for the link.
    ServerError(Option<Duration>),
    /// No connection to Losant: no answer, a 408, a 425, a redirect, or a 2xx without
    /// `success: true` (a captive portal).
    ///
    /// Keeps all data and retries with a growing delay, one call at a time.
    Offline,
}

impl ResponseClass {
    /// Returns whether a later call may succeed although nothing changes here or in Losant's
    /// settings of the device.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Offline | Self::Unauthorized | Self::Throttled(_) | Self::ServerError(_) => true,
            Self::Stored | Self::TooLarge | Self::Malformed | Self::Blocked => false,
        }
    }

    /// Classifies an outcome.
    pub fn of(kind: RequestKind, outcome: &CallOutcome) -> Self {
        let (status, success, retry_after) = match outcome {
            CallOutcome::Answer { status, success, retry_after, .. } => {
                (status, success, retry_after)
            }
            CallOutcome::NoAnswer { .. } => return Self::Offline,
            CallOutcome::NotMade { .. } => return Self::Unauthorized,
        };
        match (kind, status) {
            (_, 200..=299) if *success => Self::Stored,
            (_, 408 | 425) => Self::Offline,
            (_, 429) => Self::Throttled(*retry_after),
            (RequestKind::Token, 400..=499) | (RequestKind::Action, 401) => Self::Unauthorized,
            (RequestKind::Action, 400 | 422) => Self::Malformed,
            (RequestKind::Action, 413) => Self::TooLarge,
            (RequestKind::Action, 400..=499) => Self::Blocked,
            (RequestKind::Action, 500..=599) => Self::ServerError(*retry_after),
            (_, _) => Self::Offline,
        }
    }

    /// Returns the shortest wait before the next call of the same kind.
    ///
    /// - After a 429: `Retry-After`, but [`THROTTLED_WAIT`] to [`RETRY_AFTER_MAX`].
    /// - After a 5xx: `Retry-After`, but [`RETRY_AFTER_MAX`] at most. The caller adds its back-off.
    /// - After a refusal: [`BLOCKED_WAIT`].
    /// - Otherwise zero. The caller decides whether and when it retries.
    pub fn wait_min(&self) -> Duration {
        match self {
            Self::Throttled(wait) => {
                wait.unwrap_or_default().clamp(THROTTLED_WAIT, RETRY_AFTER_MAX)
            }
            Self::ServerError(wait) => wait.unwrap_or_default().min(RETRY_AFTER_MAX),
            Self::Blocked => BLOCKED_WAIT,
            Self::Stored
            | Self::TooLarge
            | Self::Malformed
            | Self::Unauthorized
            | Self::Offline => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(kind: RequestKind, status: u16, success: bool) -> ResponseClass {
        let (message, retry_after) = (String::new(), None);
        ResponseClass::of(kind, &CallOutcome::Answer { status, success, message, retry_after })
    }

    fn action(status: u16) -> ResponseClass {
        classify(RequestKind::Action, status, false)
    }

    fn token(status: u16) -> ResponseClass {
        classify(RequestKind::Token, status, false)
    }

    fn no_answer(message: &str) -> ResponseClass {
        let (message, may_have_arrived) = (message.to_owned(), true);
        ResponseClass::of(RequestKind::Action, &CallOutcome::NoAnswer { message, may_have_arrived })
    }

    #[test]
    fn confirmed_200_is_stored() {
        assert_eq!(classify(RequestKind::Action, 200, true), ResponseClass::Stored);
    }

    #[test]
    fn confirmed_202_is_stored() {
        assert_eq!(classify(RequestKind::Action, 202, true), ResponseClass::Stored);
    }

    #[test]
    fn status_outside_2xx_is_never_stored() {
        for status in (100..600).filter(|status| !(200..300).contains(status)) {
            assert_ne!(
                classify(RequestKind::Action, status, true),
                ResponseClass::Stored,
                "{status}"
            );
            assert_ne!(
                classify(RequestKind::Token, status, true),
                ResponseClass::Stored,
                "{status}"
            );
        }
    }

    #[test]
    fn status_400_is_malformed() {
        assert_eq!(action(400), ResponseClass::Malformed);
    }

    #[test]
    fn token_400_is_unauthorized() {
        assert_eq!(token(400), ResponseClass::Unauthorized);
    }

    #[test]
    fn status_401_is_unauthorized() {
        assert_eq!(action(401), ResponseClass::Unauthorized);
    }

    #[test]
    fn token_401_is_unauthorized() {
        assert_eq!(token(401), ResponseClass::Unauthorized);
    }

    #[test]
    fn status_403_is_blocked() {
        assert_eq!(action(403), ResponseClass::Blocked);
        assert_eq!(token(403), ResponseClass::Unauthorized);
    }

    #[test]
    fn status_404_is_blocked() {
        assert_eq!(action(404), ResponseClass::Blocked);
        assert_eq!(token(404), ResponseClass::Unauthorized);
    }

    #[test]
    fn status_405_is_blocked() {
        assert_eq!(action(405), ResponseClass::Blocked);
        assert_eq!(token(405), ResponseClass::Unauthorized);
    }

    #[test]
    fn transient_4xx_is_offline() {
        for status in [408, 425] {
            assert_eq!(
                (action(status), token(status)),
                (ResponseClass::Offline, ResponseClass::Offline),
                "{status}"
            );
        }
    }

    #[test]
    fn status_5xx_is_server_error() {
        for status in [500, 502, 503, 504, 511, 599] {
            assert_eq!(
                (action(status), token(status)),
                (ResponseClass::ServerError(None), ResponseClass::Offline),
                "{status}"
            );
        }
    }

    #[test]
    fn call_without_token_does_not_count() {
        let outcome = CallOutcome::NotMade { message: "no such key".to_owned() };
        assert_eq!(ResponseClass::of(RequestKind::Action, &outcome), ResponseClass::Unauthorized);
        assert!(!outcome.may_count());
    }

    #[test]
    fn missing_answer_is_offline() {
        for message in ["timed out", "connection reset by peer", "dns error", "tls handshake eof"] {
            assert_eq!(no_answer(message), ResponseClass::Offline, "{message}");
        }
    }

    #[test]
    fn certificate_not_valid_yet_is_offline() {
        assert_eq!(
            no_answer("invalid peer certificate: certificate not valid yet"),
            ResponseClass::Offline
        );
    }

    #[test]
    fn status_413_is_too_large() {
        assert_eq!(action(413), ResponseClass::TooLarge);
    }

    #[test]
    fn status_422_equals_400() {
        assert_eq!((action(422), token(422)), (action(400), token(400)));
    }

    #[test]
    fn status_429_is_throttled_with_retry_after() {
        assert_eq!(action(429), ResponseClass::Throttled(None));
        let retry_after = Some(Duration::from_secs(7));
        let answer = CallOutcome::Answer {
            status: 429,
            success: false,
            message: String::new(),
            retry_after,
        };
        assert_eq!(
            ResponseClass::of(RequestKind::Token, &answer),
            ResponseClass::Throttled(retry_after)
        );
    }

    #[test]
    fn retry_after_is_followed_within_bounds() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        for (given, kept) in [(None, 16), (asked(1), 16), (asked(60), 60), (asked(1_000_000), 900)]
        {
            assert_eq!(ResponseClass::Throttled(given).wait_min(), Duration::from_secs(kept));
        }
        for (given, kept) in [(None, 0), (asked(20), 20), (asked(1_000_000), 900)] {
            assert_eq!(ResponseClass::ServerError(given).wait_min(), Duration::from_secs(kept));
        }
    }

    #[test]
    fn redirect_is_offline() {
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(
                (action(status), token(status)),
                (ResponseClass::Offline, ResponseClass::Offline),
                "{status}"
            );
        }
    }

    #[test]
    fn captive_portal_is_offline() {
        assert_eq!((action(200), token(200)), (ResponseClass::Offline, ResponseClass::Offline));
    }

    #[test]
    fn other_4xx_is_blocked() {
        for status in [402, 406, 409, 410, 418, 451] {
            assert_eq!(action(status), ResponseClass::Blocked, "{status}");
        }
    }
}
