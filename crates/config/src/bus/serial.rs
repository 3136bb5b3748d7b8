//! Serial lines: the tables `[bus.serial.…]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::frame::{self, framing};
use super::port::{Port, PortOptions, port};
use super::settings::{Exclusive, Settings, Table, Topics};
use super::values::INTERVAL_RANGE;
use crate::check::{Check, span};
use crate::field::Field;
use crate::table::{Integer, Span, Text, Texts, table};
use tidegate_ingest::frame::Framing;

/// The range of the time that an answer may take.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// The range of the pause before the next request.
const GAP_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);

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
    frame: frame::Raw,
    poll: Texts,
    poll_interval: Span,
    poll_timeout: Span,
    poll_gap: Span,
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
}

/// The requests to an instrument on a serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPoll {
    /// The requests of one round. One message is the answer to each.
    pub questions: Vec<Bytes>,
    /// The time from round to round.
    pub interval: Duration,
    /// How long an answer may take.
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
        let timing =
            Timing { interval: raw.poll_interval, timeout: raw.poll_timeout, gap: raw.poll_gap };
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
        SerialBus {
            port: port(key, options, check),
            framing: framing.unwrap_or_else(|| Framing::lines(1)),
            poll: poll(key, raw.poll, timing, check),
        }
    }

    fn exclusive(&self) -> Vec<Exclusive> {
        self.port.exclusive()
    }
}

/// The times of a poll as they are written.
struct Timing {
    interval: Option<Field<Duration>>,
    timeout: Option<Field<Duration>>,
    gap: Option<Field<Duration>>,
}

fn poll(
    key: &str,
    questions: Option<Vec<Field<String>>>,
    timing: Timing,
    check: &mut Check<'_>,
) -> Option<SerialPoll> {
    let Timing { interval, timeout, gap } = timing;
    let poll_key = format!("{key}.poll");
    let Some(questions) = questions else {
        if interval.is_some() || timeout.is_some() || gap.is_some() {
            let fix = "give the requests to the instrument: poll = [\"READ?\\r\\n\"]";
            check.problems.add(poll_key, "is missing", fix);
        }
        return None;
    };
    let is_good = |question: &Field<String>| !question.0.is_empty();
    if !(1..=QUESTIONS_MAX).contains(&questions.len()) || !questions.iter().all(is_good) {
        let fix = format!("give 1 to {QUESTIONS_MAX} requests that are not empty");
        check.problems.add(poll_key, "has no requests, or too many, or an empty one", fix);
    }
    let seconds = Duration::from_secs;
    Some(SerialPoll {
        questions: questions.into_iter().map(|question| Bytes::from(question.0)).collect(),
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
