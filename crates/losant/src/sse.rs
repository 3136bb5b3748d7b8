//! Parses server-sent events, the format of Losant's streams.
//!
//! The format is defined in WHATWG HTML, section 9.2.6, "Interpreting an event stream". A block is
//! the text between two blank lines. The parser buffers a bounded number of bytes: it discards a
//! block that exceeds the limit. A comment occupies the buffer only until its line ends, so a
//! server may send comments for ever to keep the connection open.

use std::time::Duration;

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A complete block with data.
    Message {
        /// Its type; `message` if the block has none.
        event: String,
        /// Its data lines, joined with LF.
        data: String,
        /// The last id of the stream, from this block or an earlier one.
        id: Option<String>,
    },
    /// The wait that the server requests before a reconnection. The caller limits it.
    Retry(Duration),
    /// A block that exceeded the limit. It was discarded, and the last id too.
    Oversize,
}

/// The state of one stream. A new connection needs a new parser.
#[derive(Debug)]
pub struct Parser {
    block_bytes_max: usize,
    /// The incomplete line; at most one byte of a line that is discarded.
    line: Vec<u8>,
    is_first_line: bool,
    /// Whether the last byte was a CR, to which a following LF belongs.
    is_after_cr: bool,
    is_discarding: bool,
    event: String,
    /// Each line of data, with an LF.
    data: String,
    id: String,
}

impl Parser {
    /// Creates a parser that buffers at most `block_bytes_max` bytes of an incomplete block.
    pub fn new(block_bytes_max: usize) -> Self {
        Self {
            block_bytes_max,
            line: Vec::new(),
            is_first_line: true,
            is_after_cr: false,
            is_discarding: false,
            event: String::new(),
            data: String::new(),
            id: String::new(),
        }
    }

    /// Parses the next bytes of the stream and appends the completed events to `events`.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let is_after_cr = std::mem::take(&mut self.is_after_cr);
            match piece.split_last() {
                Some((b'\n', [])) if is_after_cr => {}
                Some((end @ (b'\n' | b'\r'), text)) => {
                    self.extend(text, events);
                    self.end_line(events);
                    self.is_after_cr = *end == b'\r';
                }
                Some(_) | None => self.extend(piece, events),
            }
        }
    }

    /// Returns whether no block is incomplete.
    pub fn is_between_blocks(&self) -> bool {
        let is_empty = self.line.is_empty() && self.event.is_empty() && self.data.is_empty();
        is_empty && !self.is_discarding
    }

    /// Returns the number of buffered bytes.
    fn buffered(&self) -> usize {
        self.line.len() + self.event.len() + self.data.len() + self.id.len()
    }

    fn extend(&mut self, text: &[u8], events: &mut Vec<Event>) {
        if !self.is_discarding && self.buffered() + text.len() > self.block_bytes_max {
            self.discard(events);
        }
        if !self.is_discarding {
            self.line.extend_from_slice(text);
        } else if self.line.is_empty() {
            // One byte distinguishes this line from a blank one.
            self.line.extend(text.first());
        }
    }

    /// Discards the block, and the last id too: with a long id no later block would fit.
    fn discard(&mut self, events: &mut Vec<Event>) {
        self.is_discarding = true;
        self.line.clear();
        self.event.clear();
        self.data.clear();
        self.id.clear();
        events.push(Event::Oversize);
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let line = std::mem::take(&mut self.line);
        let is_first_line = std::mem::replace(&mut self.is_first_line, false);
        if self.is_discarding {
            self.is_discarding = !line.is_empty();
            return;
        }
        let text = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(text) if is_first_line => text,
            Some(_) | None => &line,
        };
        if text.is_empty() {
            events.extend(self.dispatch());
        } else {
            self.field(&String::from_utf8_lossy(text), events);
        }
        // An invalid UTF-8 byte has become a replacement character of three bytes.
        if self.buffered() > self.block_bytes_max {
            self.discard(events);
        }
    }

    fn field(&mut self, line: &str, events: &mut Vec<Event>) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                events.extend(value.parse().map(|ms| Event::Retry(Duration::from_millis(ms))));
            }
            // A comment, whose name is empty, or a field that the standard does not know.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        // A block without a data line is not an event. An empty data line is an empty message.
        data.pop()?;
        let event = if event.is_empty() { "message".to_owned() } else { event };
        let id = (!self.id.is_empty()).then(|| self.id.clone());
        Some(Event::Message { event, data, id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn block_is_a_message() {
        let stream = "event: deviceCommand\nid: 7\n\
                      data: {\"name\": \"setSpeed\",\ndata:  \"payload\": 3}\n\n";
        let data = "{\"name\": \"setSpeed\",\n \"payload\": 3}";
        assert_eq!(events(&[stream.as_bytes()]), [message("deviceCommand", data, Some("7"))]);
    }

    #[test]
    fn parses_the_examples_of_the_standard() {
        let examples: [(&str, &[Event]); 4] = [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &[message("message", "YHOO\n+2\n10", None)]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\n\
                 data:second event\nid\n\ndata:  third event\n\n",
                &[
                    message("message", "first event", Some("1")),
                    message("message", "second event", None),
                    message("message", " third event", None),
                ],
            ),
            (
                "data\n\ndata\ndata\n\ndata:",
                &[message("message", "", None), message("message", "\n", None)],
            ),
            (
                "data:test\n\ndata: test\n\n",
                &[message("message", "test", None), message("message", "test", None)],
            ),
        ];
        for (stream, expected) in examples {
            assert_eq!(events(&[stream.as_bytes()]), expected, "{stream}");
        }
    }

    #[test]
    fn line_ends_with_lf_cr_or_crlf_across_chunks() {
        let expected = [message("message", "a\nb", None), message("message", "c", None)];
        for stream in [
            "data:a\ndata:b\n\ndata:c\n\n",
            "data:a\rdata:b\r\rdata:c\r\r",
            "data:a\r\ndata:b\r\n\r\ndata:c\r\n\r\n",
        ] {
            let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            assert_eq!(events(&bytes), expected, "{stream:?}");
        }
    }

    #[test]
    fn skips_a_byte_order_mark_at_the_start_only() {
        let stream = b"\xef\xbb\xbfdata:a\n\n\xef\xbb\xbfdata:b\n\n";
        assert_eq!(events(&[&stream[..1], &stream[1..]]), [message("message", "a", None)]);
        assert_eq!(events(&[b"\xef\xbb\xbf\ndata:a\n\n"]), [message("message", "a", None)]);
    }

    #[test]
    fn retry_is_in_milliseconds() {
        let wait = |stream: &str| events(&[stream.as_bytes()]);
        assert_eq!(wait("retry: 1500\n"), [Event::Retry(Duration::from_millis(1500))]);
        for stream in ["retry: +1\n", "retry: 1.5\n", "retry:\n", "retry: 99999999999999999999\n"] {
            assert_eq!(wait(stream), [], "{stream}");
        }
    }

    #[test]
    fn ignores_unknown_fields() {
        let stream = ":comment\nData: x\nfoo: bar\nid: a\0b\ndata: y\n\n\n\nevent: z\n\n";
        assert_eq!(events(&[stream.as_bytes()]), [message("message", "y", None)]);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        assert_eq!(events(&[b"data: \xff\n\n"]), [message("message", "\u{fffd}", None)]);
    }

    #[test]
    fn oversize_block_is_discarded_and_reported_once() {
        let long = "x".repeat(BLOCK_BYTES_MAX);
        let line = "data: 123456789\n".repeat(BLOCK_BYTES_MAX / 10);
        for block in [format!("data: {long}\nid: 3\n{long}\n\n"), format!("{line}\n")] {
            let stream = format!("id: 1\ndata: a\n\n{block}data: b\n\n");
            let expected = [
                message("message", "a", Some("1")),
                Event::Oversize,
                message("message", "b", None),
            ];
            assert_eq!(events(&[stream.as_bytes()]), expected);
        }
    }

    #[test]
    fn limit_counts_buffered_bytes() {
        let fits = [b"data: ".as_slice(), &[b'x'; BLOCK_BYTES_MAX - 6], b"\n\n"].concat();
        assert_eq!(events(&[&fits]).len(), 1);
        assert_ne!(events(&[&fits]), [Event::Oversize]);
        assert_eq!(events(&[&[b"data: x\n", fits.as_slice()].concat()]), [Event::Oversize]);
        let replaced = [b"data: ".as_slice(), &[0xff; BLOCK_BYTES_MAX / 2], b"\n\n"].concat();
        assert_eq!(events(&[&replaced]), [Event::Oversize]);
    }

    #[test]
    fn comments_may_come_for_ever() {
        let stream = ":keep-alive\n".repeat(BLOCK_BYTES_MAX) + "data: a\n\n";
        assert_eq!(events(&[stream.as_bytes()]), [message("message", "a", None)]);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(chunks in prop::collection::vec(piece(), 0..40)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(events(&chunks), events(&[&chunks.concat()]));
        }

        #[test]
        fn no_bytes_make_the_parser_hold_more_than_its_bound(
            chunks in prop::collection::vec(piece(), 0..40),
        ) {
            let mut parser = Parser::new(BLOCK_BYTES_MAX);
            for chunk in chunks {
                parser.push(&chunk, &mut Vec::new());
                prop_assert!(parser.buffered() <= BLOCK_BYTES_MAX);
            }
        }
    }

    const BLOCK_BYTES_MAX: usize = 64;

    /// Pieces of a stream, whole and broken, and any bytes between them.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let known = [
            "data",
            ":",
            " ",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "data: a\n",
            "id: 1\n",
            "event: e\n",
            "retry: 5\n",
            "\u{feff}",
        ];
        prop_oneof![
            4 => prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..20),
            1 => Just([b"data:".as_slice(), &[0xff; 30], b"\n"].concat()),
        ]
    }

    fn events(chunks: &[&[u8]]) -> Vec<Event> {
        let (mut parser, mut events) = (Parser::new(BLOCK_BYTES_MAX), Vec::new());
        for chunk in chunks {
            parser.push(chunk, &mut events);
        }
        events
    }

    fn message(event: &str, data: &str, id: Option<&str>) -> Event {
        Event::Message { event: event.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) }
    }
}
