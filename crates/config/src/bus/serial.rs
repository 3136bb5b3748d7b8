//! Serial lines: the tables `[bus.serial.…]`.

use std::time::Duration;

use bytes::Bytes;

use super::frame::{self, ChecksumOptions, framing};
use super::port::{Port, PortOptions, port};
use super::serial_poll::{self, PollOptions};
use super::settings::{Exclusive, Settings, Table, Topics};
use crate::check::{Check, choice};
use crate::field::Field;
use crate::table::{Integer, Span, Text, WordOr, table};
use tidegate_ingest::frame::Framing;
use tidegate_ingest::serial_poll::{Echo, INITIAL_BAUD_RATE, MeterPoll};

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
    poll: Option<WordOr<Vec<Field<String>>>>,
    poll_topics: Option<Vec<Field<String>>>,
    poll_interval: Span,
    poll_timeout: Span,
    poll_gap: Span,
    poll_checksum: Text,
    poll_checksum_notation: Text,
    poll_checksum_from: Integer,
    poll_checksum_to: Integer,
    poll_end: Text,
    poll_address: Text,
    poll_baud_rate_max: Integer,
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
    /// The handshake with a meter, in place of requests.
    pub meter: Option<MeterPoll>,
    /// What happens to the echo of a half-duplex line.
    pub echo: Echo,
}

/// The requests to an instrument on a serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPoll {
    /// The requests of one round. One message is the answer to each.
    pub questions: Vec<Bytes>,
    /// The topic of the answer to each request; empty if answers have no topics.
    pub topics: Vec<String>,
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
        let has_frame = !matches!(&raw.frame, WordOr::Whole(frame) if frame.kind.is_none());
        let is_meter = matches!(&raw.poll, Some(WordOr::Word(_)));
        let frame_key = format!("{key}.frame");
        // The handshake cuts its messages itself; a recording is a telegram.
        let telegram = || WordOr::Word(Field("dsmr".to_owned()));
        let frame = if is_meter && !has_frame { telegram() } else { raw.frame };
        if is_meter && has_frame {
            let what = "is not for poll = \"iec62056\", which ends a message itself";
            check.problems.add(&frame_key, what, "remove it");
        }
        let framing = framing(&frame_key, frame, check);
        let options = PortOptions {
            path: raw.path,
            usb: raw.usb,
            usb_interface: raw.usb_interface,
            baud_rate: raw.baud_rate.or(is_meter.then_some(Field(INITIAL_BAUD_RATE.into()))),
            data_bits: raw.data_bits.or(is_meter.then_some(Field(7))),
            parity: raw.parity.or(is_meter.then(|| Field("even".to_owned()))),
            stop_bits: raw.stop_bits,
            flow_control: raw.flow_control,
            rs485: raw.rs485,
            rs485_delay: raw.rs485_delay,
        };
        let poll_options = PollOptions {
            questions: raw.poll,
            interval: raw.poll_interval,
            timeout: raw.poll_timeout,
            gap: raw.poll_gap,
            address: raw.poll_address,
            baud_rate_max: raw.poll_baud_rate_max,
            topics: raw.poll_topics,
            end: raw.poll_end,
            checksum: ChecksumOptions {
                name: raw.poll_checksum,
                notation: raw.poll_checksum_notation,
                from: raw.poll_checksum_from,
                to: raw.poll_checksum_to,
            },
        };
        let echoes = [("auto", Echo::Auto), ("drop", Echo::Drop), ("keep", Echo::Keep)];
        let echo = choice(&format!("{key}.echo"), raw.echo, check, &echoes);
        let (poll, meter) = serial_poll::resolve(key, poll_options, check);
        SerialBus {
            port: port(key, options, check),
            framing: framing.unwrap_or_else(|| Framing::lines(1)),
            poll,
            meter,
            echo: echo.unwrap_or(Echo::Auto),
        }
    }

    fn topics(&self) -> Topics {
        let is_named = self.poll.as_ref().is_some_and(|poll| !poll.topics.is_empty());
        if is_named { Topics::Optional } else { Topics::None }
    }

    fn exclusive(&self) -> Vec<Exclusive> {
        self.port.exclusive()
    }
}
