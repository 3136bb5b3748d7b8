//! Lines out of a stream of bytes, whatever the chunks that it comes in.
//!
//! A line ends with LF, CR or CRLF; empty lines are skipped, so that the LF of a CRLF is one of them. The framer holds
//! one partial line and never more than its bound, also when the sender never ends a line (as with a wrong baud rate).

use bytes::Bytes;

/// What a stream of bytes is cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A line without its end; never empty.
    Line(Bytes),
    /// A line that passed the bound. It is reported when it does, and its rest is discarded.
    TooLong,
}

/// Cuts one stream into lines.
#[derive(Debug)]
pub struct LineFramer {
    line: Vec<u8>,
    line_bytes_max: usize,
    discarding: bool,
}

impl LineFramer {
    /// A framer for lines of at most `line_bytes_max` bytes, ends not counted. It takes that memory at once, and no more
    /// later.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { line: Vec::with_capacity(line_bytes_max), line_bytes_max, discarding: false }
    }

    /// Takes the next bytes of the stream and appends what they complete to `frames`.
    pub fn push(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) {
        for piece in bytes.split_inclusive(|byte| is_line_end(*byte)) {
            match piece.split_last() {
                Some((end, text)) if is_line_end(*end) => {
                    frames.extend(self.extend(text));
                    frames.extend(self.finish());
                }
                Some(_) | None => frames.extend(self.extend(piece)),
            }
        }
    }

    /// Drops a partial line, as after an unplug, and returns its length in bytes: 0 if there was none, or if it was
    /// reported as [`Frame::TooLong`] already.
    pub fn reset(&mut self) -> usize {
        let dropped = self.line.len();
        self.line.clear();
        self.discarding = false;
        dropped
    }

    fn extend(&mut self, text: &[u8]) -> Option<Frame> {
        if self.discarding {
            return None;
        }
        if text.len() > self.line_bytes_max - self.line.len() {
            self.line.clear();
            self.discarding = true;
            return Some(Frame::TooLong);
        }
        self.line.extend_from_slice(text);
        None
    }

    fn finish(&mut self) -> Option<Frame> {
        let line = (!self.line.is_empty()).then(|| Frame::Line(Bytes::copy_from_slice(&self.line)));
        self.reset();
        line
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_ends_with_lf_cr_or_crlf_and_empty_lines_are_skipped() {
        assert_eq!(
            frames(&[b"a\nb\rc\r\n\n\r\nd\n"]),
            [line("a"), line("b"), line("c"), line("d")]
        );
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        assert_eq!(frames(&[b"t=2", b"1.5\r", b"\nt=2"]), [line("t=21.5")]);
    }

    #[test]
    fn a_line_over_the_bound_is_reported_once_and_the_next_is_read() {
        assert_eq!(
            frames(&[b"12345678\n123", b"456789", b"123\nok\n"]),
            [line("12345678"), Frame::TooLong, line("ok"),]
        );
    }

    #[test]
    fn a_sender_that_never_ends_its_line_is_noticed_at_the_bound() {
        assert_eq!(frames(&[b"12345678", b"9"]), [Frame::TooLong]);
    }

    #[test]
    fn a_reset_drops_the_partial_line_so_that_two_halves_never_join() {
        let (mut framer, mut found) = (LineFramer::new(8), Vec::new());
        framer.push(b"t=2", &mut found);
        assert_eq!(framer.reset(), 3);
        framer.push(b"t=3\n0123456789", &mut found);
        assert_eq!(framer.reset(), 0);
        framer.push(b"ok\n", &mut found);
        assert_eq!(found, [line("t=3"), Frame::TooLong, line("ok")]);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            chunks in prop::collection::vec(prop::collection::vec(byte(), 0..12), 0..12),
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(frames(&chunks), frames(&[&chunks.concat()]));
        }

        #[test]
        fn no_bytes_make_the_framer_take_more_memory(
            bytes in prop::collection::vec(byte(), 0..100),
        ) {
            let mut framer = LineFramer::new(8);
            framer.push(&bytes, &mut Vec::new());
            prop_assert_eq!(framer.line.capacity(), 8);
        }
    }

    /// Any byte, with line ends often enough to matter.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), Just(b'a'), Just(b'\n'), Just(b'\r')]
    }

    fn frames(chunks: &[&[u8]]) -> Vec<Frame> {
        let (mut framer, mut found) = (LineFramer::new(8), Vec::new());
        for chunk in chunks {
            framer.push(chunk, &mut found);
        }
        found
    }

    fn line(text: &'static str) -> Frame {
        Frame::Line(Bytes::from_static(text.as_bytes()))
    }
}
