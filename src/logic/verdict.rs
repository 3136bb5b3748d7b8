//! What the outcome of one `sendState` means for its batch.

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
    },
}

/// What to do with a batch and its device. Only [`Verdict::Stored`] deletes a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The cloud has it: a 2xx with `success: true`. Delete the batch.
    Stored,
    /// The body was too large (413). Send fewer states, and remember it.
    TooLarge,
    /// Something in the body is wrong (400, 422). Halve the batch to find the state; a single one goes to the rejects.
    Malformed,
    /// Too many calls (429). Hold this device; the others go on.
    Throttled(Option<Duration>),
    /// We are not accepted (401), and the session's one renewal did not help. Keep everything and wait as for the link.
    Unauthorized,
    /// Not this device, or not now (403, 404, 405 and other client errors). Keep its data and try again much later; the
    /// others go on.
    Parked,
    /// The cloud cannot be reached or does not speak: no answer, 408, 425, 5xx, a redirect, or a 2xx that does not confirm,
    /// as a captive portal sends. Keep everything and wait for the link.
    Offline,
}

impl Verdict {
    /// Judges one outcome.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::NoAnswer { .. } => Self::Offline,
            Outcome::Answer { status, success, retry_after, .. } => match status {
                200..=299 if *success => Self::Stored,
                400 | 422 => Self::Malformed,
                401 => Self::Unauthorized,
                408 | 425 => Self::Offline,
                413 => Self::TooLarge,
                429 => Self::Throttled(*retry_after),
                400..=499 => Self::Parked,
                _ => Self::Offline,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, success: bool) -> Verdict {
        Verdict::of(&Outcome::Answer { status, success, message: String::new(), retry_after: None })
    }

    #[test]
    fn only_a_confirmed_success_is_stored() {
        assert_eq!(judge(200, true), Verdict::Stored);
        assert_eq!(judge(202, true), Verdict::Stored);
        for status in (100..600).filter(|status| !(200..300).contains(status)) {
            assert_ne!(judge(status, true), Verdict::Stored, "{status}");
        }
    }

    #[test]
    fn a_captive_portal_is_no_cloud() {
        assert_eq!(judge(200, false), Verdict::Offline);
        assert_eq!(judge(302, false), Verdict::Offline);
        assert_eq!(judge(511, false), Verdict::Offline);
    }

    #[test]
    fn each_client_error_has_its_meaning() {
        assert_eq!(judge(400, false), Verdict::Malformed);
        assert_eq!(judge(401, false), Verdict::Unauthorized);
        assert_eq!(judge(403, false), Verdict::Parked);
        assert_eq!(judge(404, false), Verdict::Parked);
        assert_eq!(judge(405, false), Verdict::Parked);
        assert_eq!(judge(408, false), Verdict::Offline);
        assert_eq!(judge(413, false), Verdict::TooLarge);
        assert_eq!(judge(422, false), Verdict::Malformed);
        assert_eq!(judge(429, false), Verdict::Throttled(None));
        assert_eq!(judge(503, false), Verdict::Offline);
    }
}
