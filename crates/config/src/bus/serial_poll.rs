//! The requests to an instrument on a serial line: the options `poll…` of its bus.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::frame::{ChecksumOptions, checksum_of, mark_bytes};
use super::serial::SerialPoll;
use super::values::INTERVAL_RANGE;
use crate::check::{Check, span};
use crate::field::Field;
use crate::notation;
use crate::table::WordOr;
use crate::topics::check_published;
use tidegate_ingest::frame::Checksum;
use tidegate_ingest::serial_poll::MeterPoll;

/// The range of the time that an answer may take.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// The range of the pause before the next request.
const GAP_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);

/// The longest request in bytes. Instruments buffer far less.
const QUESTION_BYTES_MAX: usize = 1_024;

/// The maximum number of requests in one round.
const QUESTIONS_MAX: usize = 32;

/// The word for the handshake with a meter.
const METER: &str = "iec62056";

/// The longest address of a meter (IEC 62056-21, 6.3.2).
const ADDRESS_BYTES_MAX: usize = 32;

/// The range of the speed of a meter, in baud.
const METER_BAUD_RATES: RangeInclusive<i64> = 300..=19_200;

/// The default: the fastest that a meter may name.
const METER_BAUD_RATE_MAX: i64 = 19_200;

/// The default time from round to round: a meter takes up to a minute for a round.
const METER_INTERVAL: Duration = Duration::from_secs(60);

/// The default of the longest silence: the reaction time is 1.5 s at most (IEC 62056-21, 6.4.3).
const METER_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest data block: a meter with load profiles sends a few KiB.
const METER_BYTES_MAX: usize = 64 * 1024;

/// The options of a poll as they are written.
pub(super) struct PollOptions {
    pub(super) questions: Option<WordOr<Vec<Field<String>>>>,
    pub(super) interval: Option<Field<Duration>>,
    pub(super) timeout: Option<Field<Duration>>,
    pub(super) gap: Option<Field<Duration>>,
    pub(super) address: Option<Field<String>>,
    pub(super) baud_rate_max: Option<Field<i64>>,
    pub(super) topics: Option<Vec<Field<String>>>,
    pub(super) end: Option<Field<String>>,
    pub(super) checksum: ChecksumOptions,
}

/// Resolves the requests, or the handshake with a meter.
pub(super) fn resolve(
    key: &str,
    options: PollOptions,
    check: &mut Check<'_>,
) -> (Option<SerialPoll>, Option<MeterPoll>) {
    let protocol = match &options.questions {
        Some(WordOr::Word(protocol)) => protocol.0.clone(),
        Some(WordOr::Whole(_)) | None => {
            let foreign = [
                ("poll_address", options.address.is_some()),
                ("poll_baud_rate_max", options.baud_rate_max.is_some()),
            ];
            for (option, _) in foreign.into_iter().filter(|(_, given)| *given) {
                let option = format!("{key}.{option}");
                check.problems.add(option, "is for poll = \"iec62056\"", "remove it");
            }
            return (poll(key, options, check), None);
        }
    };
    let poll_key = format!("{key}.poll");
    if protocol == METER {
        return (None, Some(meter(key, options, check)));
    }
    let fix = "write requests as a list, poll = [\"READ?\\r\\n\"], or poll = \"iec62056\"";
    check.problems.add(poll_key, format!("\"{}\" is no protocol", protocol.escape_debug()), fix);
    (None, None)
}

/// Resolves the handshake with a meter.
fn meter(key: &str, options: PollOptions, check: &mut Check<'_>) -> MeterPoll {
    let foreign = [
        ("gap", options.gap.is_some()),
        ("topics", options.topics.is_some()),
        ("end", options.end.is_some()),
        ("checksum", options.checksum.name.is_some()),
    ];
    for (option, _) in foreign.into_iter().filter(|(_, given)| *given) {
        let option = format!("{key}.poll_{option}");
        check.problems.add(option, "is for requests", "remove it");
    }
    let address = options.address.map(|field| field.0).unwrap_or_default();
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || letter == ' ';
    if address.len() > ADDRESS_BYTES_MAX || !address.chars().all(is_good) {
        let fix = format!("give at most {ADDRESS_BYTES_MAX} letters, digits and blanks");
        let what = format!("\"{}\" is no address", address.escape_debug());
        check.problems.add(format!("{key}.poll_address"), what, fix);
    }
    let (interval_key, timeout_key) =
        (format!("{key}.poll_interval"), format!("{key}.poll_timeout"));
    let baud_key = format!("{key}.poll_baud_rate_max");
    let baud_rate_max =
        check.integer(&baud_key, options.baud_rate_max, METER_BAUD_RATE_MAX, &METER_BAUD_RATES);
    MeterPoll {
        address,
        interval: span(&interval_key, options.interval, METER_INTERVAL, &INTERVAL_RANGE, check),
        timeout: span(&timeout_key, options.timeout, METER_TIMEOUT, &TIMEOUT_RANGE, check),
        baud_rate_max: u32::try_from(baud_rate_max).unwrap_or_default(),
        bytes_max: METER_BYTES_MAX,
    }
}

fn poll(key: &str, options: PollOptions, check: &mut Check<'_>) -> Option<SerialPoll> {
    let PollOptions { questions, topics, interval, timeout, gap, end, checksum, .. } = options;
    let poll_key = format!("{key}.poll");
    let Some(WordOr::Whole(questions)) = questions else {
        let has_times = interval.is_some() || timeout.is_some() || gap.is_some();
        if has_times || topics.is_some() || end.is_some() || checksum.name.is_some() {
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
    let topics = answer_topics(&format!("{poll_key}_topics"), topics, questions.len(), check);
    let end = end.and_then(|end| mark_bytes(&format!("{poll_key}_end"), &end.0, check));
    let tail = Tail { checksum, end: end.unwrap_or_default() };
    let question = |(index, text): (usize, Field<String>)| {
        question(&format!("{poll_key}.{index}"), &text.0, &tail, check)
    };
    let questions = questions.into_iter().enumerate().filter_map(question).collect();
    let seconds = Duration::from_secs;
    Some(SerialPoll {
        questions,
        topics,
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

/// Returns the topics of the answers: none, or one for each request.
fn answer_topics(
    key: &str,
    topics: Option<Vec<Field<String>>>,
    requests: usize,
    check: &mut Check<'_>,
) -> Vec<String> {
    let topics: Vec<_> = topics.into_iter().flatten().map(|topic| topic.0).collect();
    if !topics.is_empty() && topics.len() != requests {
        let fix = format!("give {requests}, one for the answer to each request");
        check.problems.add(key, format!("has {} topics", topics.len()), fix);
    }
    for (index, topic) in topics.iter().enumerate() {
        check_published(&format!("{key}.{index}"), topic, check);
    }
    topics
}

/// What follows each request.
struct Tail {
    checksum: Option<Checksum>,
    end: Vec<u8>,
}

/// Returns the bytes of a request with its checksum and its end mark.
fn question(key: &str, text: &str, tail: &Tail, check: &mut Check<'_>) -> Option<Bytes> {
    let bytes = notation::bytes(key, text, check)?;
    if !(1..=QUESTION_BYTES_MAX).contains(&bytes.len()) {
        let fix = format!("give a request of 1 to {QUESTION_BYTES_MAX} bytes");
        check.problems.add(key, format!("has {} bytes", bytes.len()), fix);
        return None;
    }
    let request = match &tail.checksum {
        Some(checksum) => checksum.append(&bytes),
        None => Some(bytes),
    };
    if request.is_none() {
        let fix = "check poll_checksum_from and poll_checksum_to; nmea needs a $ at the start, and \
                   lrc pairs of digits behind a colon";
        check.problems.add(key, "the checksum covers no part of it", fix);
    }
    request.map(|request| Bytes::from([request, tail.end.clone()].concat()))
}
