//! Removes the echo of a half-duplex line: a copy of what was sent, in front of the answer.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::frame::{Frame, Framer, Framing};
use tidegate_timing::machine::Machine as _;

/// What happens to a copy of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// A whole message that equals a request is dropped, once for each request.
    Auto,
    /// An exact copy of the bytes is dropped, if they are the first to arrive after they were
    /// sent.
    Drop,
    /// It is a message like any other.
    Keep,
}

/// Recognises the echo of the bytes that were sent last.
#[derive(Debug)]
pub struct EchoFilter {
    echo: Echo,
    framing: Framing,
    /// The bytes of which a copy may arrive.
    sent: Bytes,
    /// The number of bytes of `sent` that have arrived; they are held back.
    arrived: usize,
    /// The message that the copy of a request would be.
    frame: Option<Bytes>,
}

impl EchoFilter {
    /// Creates a filter for a line that is cut into frames by `framing`.
    pub fn new(echo: Echo, framing: Framing) -> Self {
        Self { echo, framing, sent: Bytes::new(), arrived: 0, frame: None }
    }

    /// Records that a request is sent. `now` may be any time.
    pub fn handle_request(&mut self, request: &Bytes, now: Instant) {
        self.frame = match self.echo {
            Echo::Auto => self.frame_of(request, now),
            Echo::Drop | Echo::Keep => None,
        };
        self.handle_write(request);
    }

    /// Records that bytes are sent that are no request. Their copy may be an answer, so only
    /// [`Echo::Drop`] drops it.
    pub fn handle_write(&mut self, bytes: &Bytes) {
        self.arrived = 0;
        self.sent = if self.echo == Echo::Drop { bytes.clone() } else { Bytes::new() };
    }

    /// Returns the bytes that arrived without the echo.
    pub fn remove_echo(&mut self, bytes: &[u8]) -> Bytes {
        let expected = self.sent.get(self.arrived..).unwrap_or_default();
        let equal = bytes.iter().zip(expected).take_while(|(one, other)| one == other).count();
        let is_complete = equal == expected.len();
        if !is_complete && equal < bytes.len() {
            // The first bytes were no echo.
            let held = self.sent.slice(..self.arrived);
            self.sent = Bytes::new();
            return [&held, bytes].concat().into();
        }
        self.arrived += equal;
        if is_complete {
            self.sent = Bytes::new();
            self.arrived = 0;
        }
        Bytes::copy_from_slice(bytes.get(equal..).unwrap_or_default())
    }

    /// Returns whether a message is the echo of the last request.
    pub fn is_echo(&mut self, frame: &Frame) -> bool {
        let is_echo =
            matches!((&self.frame, frame), (Some(echo), Frame::Whole(frame)) if echo == frame);
        if is_echo {
            self.frame = None;
        }
        is_echo
    }

    /// Returns the message that a copy of the request would be, if it is exactly one.
    fn frame_of(&self, request: &[u8], now: Instant) -> Option<Bytes> {
        let mut framer = Framer::new(self.framing.clone());
        framer.handle_bytes(request, now);
        let long = Duration::from_secs(86_400);
        framer.handle_timeout(now + long);
        match framer.drain_frames().collect::<Vec<_>>().as_slice() {
            [Frame::Whole(frame)] => Some(frame.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(echo: Echo, request: &'static str) -> EchoFilter {
        let mut filter = EchoFilter::new(echo, Framing::lines(80));
        filter.handle_request(&Bytes::from_static(request.as_bytes()), now());
        filter
    }

    #[expect(clippy::disallowed_methods, reason = "the test needs any instant")]
    fn now() -> Instant {
        Instant::now()
    }

    fn whole(text: &'static str) -> Frame {
        Frame::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn message_that_equals_the_request_is_an_echo_once() {
        let mut auto = filter(Echo::Auto, "W?\r");
        assert!(!auto.is_echo(&whole("W?1")));
        assert!(auto.is_echo(&whole("W?")));
        assert!(!auto.is_echo(&whole("W?")));
        assert_eq!(auto.remove_echo(b"W?\r\n21\r\n"), &b"W?\r\n21\r\n"[..]);
        assert!(!filter(Echo::Auto, "W").is_echo(&whole("W")), "it has no line end");
        assert!(!filter(Echo::Keep, "W?\r").is_echo(&whole("W?")));
    }

    #[test]
    fn copy_of_the_bytes_is_dropped_in_any_chunks() {
        for chunks in [&[&b"W?21\n"[..]][..], &[b"W", b"?", b"21\n"], &[b"W", b"?21\n"]] {
            let mut drop = filter(Echo::Drop, "W?");
            let rest: Vec<_> = chunks.iter().flat_map(|bytes| drop.remove_echo(bytes)).collect();
            assert_eq!(rest, b"21\n", "{chunks:?}");
            assert_eq!(drop.remove_echo(b"W?22\n"), &b"W?22\n"[..], "only once");
        }
    }

    #[test]
    fn answer_that_begins_like_the_request_is_kept() {
        let mut drop = filter(Echo::Drop, "W?");
        assert_eq!(drop.remove_echo(b"W"), &b""[..]);
        assert_eq!(drop.remove_echo(b"=21\n"), &b"W=21\n"[..]);
    }
}
