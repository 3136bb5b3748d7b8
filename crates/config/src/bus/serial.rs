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

/// How long an answer on a serial line may take.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// Silence before the next question.
const GAP_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);

/// Questions in one round.
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

/// A serial line that is read by frames.
#[derive(Debug, Clone, PartialEq)]
pub struct SerialBus {
    /// The tty.
    pub port: Port,
    /// How its bytes are cut into messages.
    pub framing: Framing,
    /// What the instrument is asked, if it speaks only then.
    pub poll: Option<SerialPoll>,
}

/// What an instrument on a serial line is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPoll {
    /// The questions of one round; one message is awaited after each.
    pub questions: Vec<Bytes>,
    /// From round to round.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Silence between an answer and the next question.
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
            let fix = "say what the instrument is asked: poll = [\"READ?\\r\\n\"]";
            check.problems.add(poll_key, "is missing", fix);
        }
        return None;
    };
    let is_good = |question: &Field<String>| !question.0.is_empty();
    if !(1..=QUESTIONS_MAX).contains(&questions.len()) || !questions.iter().all(is_good) {
        let fix = format!("give 1 to {QUESTIONS_MAX} questions, none of them empty");
        check.problems.add(poll_key, "asks nothing, or too much", fix);
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
