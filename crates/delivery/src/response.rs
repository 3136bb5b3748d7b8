//! What the outcome of a call means: the one place that knows Losant's answers, and those of what lies between.

use std::time::Duration;

/// What came back from a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An HTTP answer.
    Answer {
        /// The status code.
        status: u16,
        /// Whether the body is JSON with `success: true`.
        success: bool,
        /// The server's words, cut to a line.
        message: String,
        /// The `Retry-After` header, if there was one in seconds.
        retry_after: Option<Duration>,
    },
    /// No answer: no connection, a time-out, a reset, TLS.
    NoAnswer {
        /// What went wrong.
        message: String,
        /// Whether the call may have reached the cloud all the same.
        may_have_arrived: bool,
    },
    /// The call was not made: no token was given for what the credentials file says.
    NotMade {
        /// Why no token was given.
        message: String,
    },
}

impl Outcome {
    /// What went wrong, in one line; empty if nothing did.
    pub fn words(&self) -> &str {
        match self {
            Self::Answer { message, .. }
            | Self::NoAnswer { message, .. }
            | Self::NotMade { message } => message,
        }
    }

    /// Whether the cloud may have counted the call.
    pub fn may_count(&self) -> bool {
        match self {
            Self::Answer { .. } => true,
            Self::NoAnswer { may_have_arrived, .. } => *may_have_arrived,
            Self::NotMade { .. } => false,
        }
    }
}

/// What was asked for; some answers mean another thing where a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A token, with `POST /auth/device`.
    Token,
    /// An action on a device, with a token.
    Action,
}

/// What to do after a call: for `sendState`, with the batch and its device. Only [`ResponseClass::Stored`] deletes a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseClass {
    /// The cloud has it: a 2xx with `success: true`. Delete the batch.
    Stored,
    /// The body was too large (413). Send fewer states, and remember it.
    TooLarge,
    /// Something in the body is wrong (400, 422). Halve the batch to find the state; a single one goes to the rejects. Any
    /// other call is not repeated.
    Malformed,
    /// Too many calls (429). Hold this device; the others go on.
    Throttled(Option<Duration>),
    /// We are not accepted (401), and the session's one renewal did not help; or no token is given for what the credentials
    /// file says. Keep everything and wait as for the link; ask for a token again only after minutes.
    Unauthorized,
    /// Not this device, or not now (403, 404, 405 and other client errors). Keep its data and try again much later; the
    /// others go on.
    Blocked,
    /// The server has trouble with this call (5xx), which may be this device's alone. Hold it for a while that grows; try the
    /// others one by one.
    ServerError(Option<Duration>),
    /// The cloud cannot be reached or does not speak: no answer, 408, 425, a redirect, or a 2xx that does not confirm, as a
    /// captive portal sends. Keep everything and wait for the link.
    Offline,
}

impl ResponseClass {
    /// Judges one outcome.
    pub fn of(asked: Asked, outcome: &Outcome) -> Self {
        let (status, success, retry_after) = match outcome {
            Outcome::Answer { status, success, retry_after, .. } => (status, success, retry_after),
            Outcome::NoAnswer { .. } => return Self::Offline,
            Outcome::NotMade { .. } => return Self::Unauthorized,
        };
        match (asked, status) {
            (_, 200..=299) if *success => Self::Stored,
            (_, 408 | 425) => Self::Offline,
            (_, 429) => Self::Throttled(*retry_after),
            (Asked::Token, 400..=499) | (Asked::Action, 401) => Self::Unauthorized,
            (Asked::Action, 400 | 422) => Self::Malformed,
            (Asked::Action, 413) => Self::TooLarge,
            (Asked::Action, 400..=499) => Self::Blocked,
            (Asked::Action, 500..=599) => Self::ServerError(*retry_after),
            (_, _) => Self::Offline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(asked: Asked, status: u16, success: bool) -> ResponseClass {
        let (message, retry_after) = (String::new(), None);
        ResponseClass::of(asked, &Outcome::Answer { status, success, message, retry_after })
    }

    fn action(status: u16) -> ResponseClass {
        judge(Asked::Action, status, false)
    }

    fn token(status: u16) -> ResponseClass {
        judge(Asked::Token, status, false)
    }

    fn no_answer(message: &str) -> ResponseClass {
        let (message, may_have_arrived) = (message.to_owned(), true);
        ResponseClass::of(Asked::Action, &Outcome::NoAnswer { message, may_have_arrived })
    }

    #[test]
    fn a_confirmed_200_is_stored() {
        assert_eq!(judge(Asked::Action, 200, true), ResponseClass::Stored);
    }

    #[test]
    fn a_confirmed_202_is_a_job_that_was_taken() {
        assert_eq!(judge(Asked::Action, 202, true), ResponseClass::Stored);
    }

    #[test]
    fn no_other_status_is_ever_stored() {
        for status in (100..600).filter(|status| !(200..300).contains(status)) {
            assert_ne!(judge(Asked::Action, status, true), ResponseClass::Stored, "{status}");
            assert_ne!(judge(Asked::Token, status, true), ResponseClass::Stored, "{status}");
        }
    }

    #[test]
    fn a_400_is_something_in_the_body() {
        assert_eq!(action(400), ResponseClass::Malformed);
    }

    #[test]
    fn a_400_for_a_token_is_a_wrong_credentials_file() {
        assert_eq!(token(400), ResponseClass::Unauthorized);
    }

    #[test]
    fn a_401_is_a_token_that_is_not_taken() {
        assert_eq!(action(401), ResponseClass::Unauthorized);
    }

    #[test]
    fn a_401_for_a_token_is_a_wrong_or_deactivated_key() {
        assert_eq!(token(401), ResponseClass::Unauthorized);
    }

    #[test]
    fn a_403_parks_the_device() {
        assert_eq!(action(403), ResponseClass::Blocked);
        assert_eq!(token(403), ResponseClass::Unauthorized);
    }

    #[test]
    fn a_404_parks_the_device_and_keeps_its_data() {
        assert_eq!(action(404), ResponseClass::Blocked);
        assert_eq!(token(404), ResponseClass::Unauthorized);
    }

    #[test]
    fn a_405_waits_long_for_somebody_to_mend_the_base_url() {
        assert_eq!(action(405), ResponseClass::Blocked);
        assert_eq!(token(405), ResponseClass::Unauthorized);
    }

    #[test]
    fn what_passes_by_itself_is_waited_for() {
        for status in [408, 425] {
            assert_eq!(
                (action(status), token(status)),
                (ResponseClass::Offline, ResponseClass::Offline),
                "{status}"
            );
        }
    }

    #[test]
    fn trouble_of_the_server_may_be_one_devices_alone() {
        for status in [500, 502, 503, 504, 511, 599] {
            assert_eq!(
                (action(status), token(status)),
                (ResponseClass::ServerError(None), ResponseClass::Offline),
                "{status}"
            );
        }
    }

    #[test]
    fn a_call_that_was_not_made_for_want_of_a_token_counts_nowhere() {
        let outcome = Outcome::NotMade { message: "no such key".to_owned() };
        assert_eq!(ResponseClass::of(Asked::Action, &outcome), ResponseClass::Unauthorized);
        assert!(!outcome.may_count());
    }

    #[test]
    fn no_answer_at_all_is_waited_for() {
        for message in ["timed out", "connection reset by peer", "dns error", "tls handshake eof"] {
            assert_eq!(no_answer(message), ResponseClass::Offline, "{message}");
        }
    }

    #[test]
    fn a_certificate_that_is_not_valid_yet_is_waited_for_because_the_clock_is_wrong() {
        assert_eq!(
            no_answer("invalid peer certificate: certificate not valid yet"),
            ResponseClass::Offline
        );
    }

    #[test]
    fn a_413_is_a_body_that_is_too_large() {
        assert_eq!(action(413), ResponseClass::TooLarge);
    }

    #[test]
    fn a_422_is_as_a_400() {
        assert_eq!((action(422), token(422)), (action(400), token(400)));
    }

    #[test]
    fn a_429_holds_the_device_for_as_long_as_it_says() {
        assert_eq!(action(429), ResponseClass::Throttled(None));
        let retry_after = Some(Duration::from_secs(7));
        let answer =
            Outcome::Answer { status: 429, success: false, message: String::new(), retry_after };
        assert_eq!(ResponseClass::of(Asked::Token, &answer), ResponseClass::Throttled(retry_after));
    }

    #[test]
    fn a_redirect_is_not_followed_and_nothing_is_lost() {
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(
                (action(status), token(status)),
                (ResponseClass::Offline, ResponseClass::Offline),
                "{status}"
            );
        }
    }

    #[test]
    fn a_captive_portal_is_no_cloud() {
        assert_eq!((action(200), token(200)), (ResponseClass::Offline, ResponseClass::Offline));
    }

    #[test]
    fn any_other_refusal_parks_the_device_and_deletes_nothing() {
        for status in [402, 406, 409, 410, 418, 451] {
            assert_eq!(action(status), ResponseClass::Blocked, "{status}");
        }
    }
}
