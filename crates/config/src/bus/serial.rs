//! Serial lines: the tables `[bus.serial.…]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::frame::{self, ChecksumOptions, checksum_of, framing};
use super::port::{Port, PortOptions, port};
use super::settings::{Exclusive, Settings, Table, Topics};
use super::values::INTERVAL_RANGE;
use crate::check::{Check, choice, span};
use crate::field::Field;
use crate::notation;
use crate::table::{Integer, Span, Text, Texts, WordOr, table};
use tidegate_ingest::frame::{Checksum, Framing};
use tidegate_ingest::serial_poll::Echo;

/// The range of the time that an answer may take.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// The range of the pause before the next request.
const GAP_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);

/// The longest request in bytes. Instruments buffer far less.
const QUESTION_BYTES_MAX: usize = 1_024;

/// The maximum number of requests in one round.
const QUESTIONS_MAX: usize = 32;

table!(Raw {
    path: Text,
    usb: Text,
    usb_interface: Integer,
    baud_rate: Integer,
    data_bits: Integer,
    parity: Text,
    stop_bits: Integer,
    flow_control: Text,
    rs485: Text,
    rs485_delay: Span,
    frame: WordOr<frame::Raw>,
    poll: Texts,
    poll_interval: Span,
    poll_timeout: Span,
    poll_gap: Span,
    poll_checksum: Text,
    poll_checksum_notation: Text,
    poll_checksum_from: Integer,
    poll_checksum_to: Integer,
    echo: Text,
});

/// A serial line whose bytes are split into messages.
#[derive(Debug, Clone, PartialEq)]
pub struct SerialBus {
    /// The tty.
    pub port: Port,
    /// How its bytes are split into messages.
    pub framing: Framing,
    /// The requests, for an instrument that only answers.
    pub poll: Option<SerialPoll>,
    /// What happens to the echo of a half-duplex line.
    pub echo: Echo,
}

/// The requests to an instrument on a serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPoll {
    /// The requests of one round. One message is the answer to each.
    pub questions: Vec<Bytes>,
    /// The time from round to round.
    pub interval: Duration,
    /// How long the instrument may be silent before its answer is complete.
    pub timeout: Duration,
    /// The pause between an answer and the next request.
    pub gap: Duration,
}

impl Settings for SerialBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::None;

    fn resolve(table: &Table<'_>, raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let framing = framing(&format!("{key}.frame"), raw.frame, check);
        let poll_options = PollOptions {
            questions: raw.poll,
            interval: raw.poll_interval,
            timeout: raw.poll_timeout,
            gap: raw.poll_gap,
            checksum: ChecksumOptions {
                name: raw.poll_checksum,
                notation: raw.poll_checksum_notation,
                from: raw.poll_checksum_from,
                to: raw.poll_checksum_to,
            },
        };
        let options = PortOptions {
            path: raw.path,
            usb: raw.usb,
            usb_interface: raw.usb_interface,
            baud_rate: raw.baud_rate,
            data_bits: raw.data_bits,
            parity: raw.parity,
            stop_bits: raw.stop_bits,
            flow_control: raw.flow_control,
            rs485: raw.rs485,
            rs485_delay: raw.rs485_delay,
        };
        let echoes = [("auto", Echo::Auto), ("drop", Echo::Drop), ("keep", Echo::Keep)];
        let echo = choice(&format!("{key}.echo"), raw.echo, check, &echoes);
        SerialBus {
            echo: echo.unwrap_or(Echo::Auto),
            port: port(key, options, check),
            framing: framing.unwrap_or_else(|| Framing::lines(1)),
            poll: poll(key, poll_options, check),
        }
    }

    fn exclusive(&self) -> Vec<Exclusive> {
        self.port.exclusive()
    }
}

/// The options of a poll as they are written.
struct PollOptions {
    questions: Option<Vec<Field<String>>>,
    interval: Option<Field<Duration>>,
    timeout: Option<Field<Duration>>,
    gap: Option<Field<Duration>>,
    checksum: ChecksumOptions,
}

fn poll(key: &str, options: PollOptions, check: &mut Check<'_>) -> Option<SerialPoll> {
    let PollOptions { questions, interval, timeout, gap, checksum } = options;
    let poll_key = format!("{key}.poll");
    let Some(questions) = questions else {
        if interval.is_some() || timeout.is_some() || gap.is_some() || checksum.name.is_some() {
            let fix = "give the requests to the instrument: poll = [\"READ?\\r\\n\"]";
            check.problems.add(poll_key, "is missing", fix);
        }
        return None;
    };
    if !(1..=QUESTIONS_MAX).contains(&questions.len()) {
        let fix = format!("give 1 to {QUESTIONS_MAX} requests");
        check.problems.add(&poll_key, format!("has {} requests", questions.len()), fix);
    }
    let checksum = checksum_of(&format!("{poll_key}_checksum"), checksum, check);
    let question = |(index, text): (usize, Field<String>)| {
        question(&format!("{poll_key}.{index}"), &text.0, checksum.as_ref(), check)
    };
    let questions = questions.into_iter().enumerate().filter_map(question).collect();
    let seconds = Duration::from_secs;
    Some(SerialPoll {
        questions,
        interval: span(
            &format!("{key}.poll_interval"),
            interval,
            seconds(10),
            &INTERVAL_RANGE,
            check,
        ),
        timeout: span(&format!("{key}.poll_timeout"), timeout, seconds(1), &TIMEOUT_RANGE, check),
        gap: span(&format!("{key}.poll_gap"), gap, Duration::from_millis(50), &GAP_RANGE, check),
    })
}

/// Returns the bytes of a request with its checksum.
fn question(
    key: &str,
    text: &str,
    checksum: Option<&Checksum>,
    check: &mut Check<'_>,
) -> Option<Bytes> {
    let bytes = notation::bytes(key, text, check)?;
    if !(1..=QUESTION_BYTES_MAX).contains(&bytes.len()) {
        let fix = format!("give a request of 1 to {QUESTION_BYTES_MAX} bytes");
        check.problems.add(key, format!("has {} bytes", bytes.len()), fix);
        return None;
    }
    let Some(checksum) = checksum else { return Some(bytes.into()) };
    let request = checksum.append(&bytes);
    if request.is_none() {
        let fix = "check poll_checksum_from and poll_checksum_to; nmea needs a $ at the start, and \
                   lrc pairs of digits behind a colon";
        check.problems.add(key, "the checksum covers no part of it", fix);
    }
    request.map(Bytes::from)
}
