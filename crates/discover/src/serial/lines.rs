//! Detects texts: lines, frames between STX and ETX, and messages that end with a pause.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::notation::{self, readable_share};
use super::{Candidate, Chunk, FRAME_BYTES_MAX, frames, quoted, share};
use crate::mqtt::shape::{Channels, DetectedFormat};
use tidegate_ingest::decode::Births;
use tidegate_ingest::frame::{Checksum, ChecksumAlgorithm, CoverEnd, Framing, Notation, Shape};
use tidegate_model::excerpt::excerpt;

/// The pause that ends a message without a delimiter: longer than the delay of any adapter.
const PAUSE: Duration = Duration::from_millis(50);

/// The least number of messages that pauses must separate.
const PAUSES_MIN: usize = 3;

/// The most sentence types that are ignored by name.
const IGNORED_MAX: usize = 16;

/// How much a pattern with one value counts as evidence.
const PATTERN_TRUST: f64 = 0.93;

/// The part of the score of fields between commas from which on a decimal comma is likelier.
const COMMA_SHARE: f64 = 0.9;

/// The start and end of frames on many terminals.
const STX: u8 = 0x02;
const ETX: u8 = 0x03;

/// Returns a candidate for lines that end with CR, LF or both.
pub(super) fn candidate(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let mut lines = whole(Framing::lines(FRAME_BYTES_MAX), bytes, now);
    let end = match (bytes.contains(&b'\r'), bytes.contains(&b'\n')) {
        (true, true) => "CRLF",
        (true, false) => "CR",
        (false, true) => "LF",
        (false, false) => return None,
    };
    let checked: Vec<_> = lines.iter().filter_map(|line| checked(line)).collect();
    let all: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let is_nmea = all.iter().any(|line| DetectedFormat::detect(line) == DetectedFormat::Nmea);
    let (keys, proof) = if !is_nmea && !checked.is_empty() && checked.len() * 5 >= lines.len() * 4 {
        let proof = format!("{} lines have a valid checksum (NMEA)", checked.len());
        lines = checked;
        ("frame = { kind = \"line\", checksum = \"nmea\" }\n", Some(proof))
    } else {
        ("", None)
    };
    let mut candidate = read(&lines, readable_share(bytes), keys)?;
    candidate.description = format!("lines that end with {end}, {}", candidate.description);
    candidate.evidence.extend(proof);
    Some(candidate)
}

/// Returns a candidate for texts between STX and ETX.
pub(super) fn candidate_marked(bytes: &[u8], now: Instant) -> Option<Candidate> {
    const KEYS: &str = "frame = { kind = \"enclosed\", start = \"0x02\", end = \"0x03\" }\n";
    let shape = Shape::Enclosed {
        start: vec![STX],
        end: vec![ETX],
        checksum_after_end: false,
        keep_markers: false,
        checksum_optional: false,
    };
    let framing = Framing { shape, ..Framing::lines(FRAME_BYTES_MAX) };
    let texts = whole(framing, bytes, now);
    let taken: usize = texts.iter().map(|text| text.len() + 2).sum();
    let mut candidate = read(&texts, share(taken, bytes.len()), KEYS)?;
    candidate.description = format!("texts between STX and ETX, {}", candidate.description);
    Some(candidate)
}

/// Returns a candidate for texts that end with a pause.
pub(super) fn candidate_pauses(chunks: &[Chunk]) -> Option<Candidate> {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    let mut before: Option<Instant> = None;
    for chunk in chunks {
        match texts
            .last_mut()
            .filter(|_| before.is_some_and(|at| chunk.at.saturating_duration_since(at) < PAUSE))
        {
            Some(text) => text.extend(&chunk.bytes),
            None => texts.push(chunk.bytes.clone()),
        }
        before = Some(chunk.at);
    }
    let is_ended = texts.iter().flatten().any(|byte| matches!(byte, b'\r' | b'\n' | &ETX));
    if is_ended || texts.len() < PAUSES_MIN {
        return None;
    }
    let bytes: Vec<u8> = texts.concat();
    let text = readable_share(&bytes);
    let mut candidate = read(&texts, text, "frame = { kind = \"idle\", idle_time = \"50 ms\" }\n")?;
    candidate.description = format!("texts separated by pauses, {}", candidate.description);
    Some(candidate)
}

/// Returns the frames without the first one, which may be incomplete, if there are more.
fn whole(framing: Framing, bytes: &[u8], now: Instant) -> Vec<Vec<u8>> {
    let mut found = frames(framing, bytes, now);
    if found.len() > 2 {
        found.remove(0);
    }
    found
}

/// Returns the content of a line with a valid NMEA checksum.
fn checked(line: &[u8]) -> Option<Vec<u8>> {
    let checksum = Checksum {
        algorithm: ChecksumAlgorithm::Nmea,
        notation: Notation::Hexadecimal,
        from: 0,
        to: CoverEnd::BeforeChecksum(0),
    };
    checksum.verify(line).map(<[u8]>::to_vec)
}

/// Returns the best reading of texts, also of those with another encoding or a decimal comma.
///
/// `text` is the share of text, and `bus_keys` configures the framing.
fn read(messages: &[Vec<u8>], text: f64, bus_keys: &str) -> Option<Candidate> {
    let sent = messages;
    let latin_1 = notation::from_latin_1(sent);
    let messages = latin_1.as_deref().unwrap_or(sent);
    let plain = read_words(messages, text, bus_keys);
    let commas = notation::with_points(messages).and_then(|points| {
        let mut found = read_words(&points.messages, text, bus_keys)?;
        let is_csv = |one: &Candidate| one.sensor_keys.starts_with("format = \"csv\"");
        let reads_commas = ["key-value", "regex", "text", "csv"]
            .iter()
            .any(|format| found.sensor_keys.starts_with(&format!("format = \"{format}\"")));
        let has_other_delimiter = !is_csv(&found) || found.sensor_keys.contains("delimiter = ");
        let is_clear = points.is_constant || !plain.as_ref().is_some_and(is_csv);
        if !reads_commas || !has_other_delimiter || !is_clear {
            return None;
        }
        show_sent(&mut found, sent, &points.messages);
        found.sensor_keys.push_str("decimal = \",\"\n");
        let evidence = "the comma is read as the decimal sign; if it separates two values, remove \
                        decimal and use format = \"csv\"";
        found.evidence.push(evidence.to_owned());
        Some(found)
    });
    let least = plain.as_ref().map_or(0.0, |plain| plain.score * COMMA_SHARE);
    let mut found = commas.filter(|commas| commas.score >= least).or(plain)?;
    if latin_1.is_some() {
        show_sent(&mut found, sent, messages);
        found.sensor_keys.push_str("encoding = \"latin-1\"\n");
        found.evidence.push("the texts are not UTF-8, but readable as Latin-1".to_owned());
    }
    Some(found)
}

/// Replaces the sample in the evidence by the bytes that were sent.
fn show_sent(found: &mut Candidate, sent: &[Vec<u8>], read: &[Vec<u8>]) {
    let Some(evidence) = found.evidence.first_mut() else { return };
    let mut pairs = sent.iter().zip(read).map(|(sent, read)| (excerpt(sent), excerpt(read)));
    if let Some((sent, read)) = pairs.find(|(_, read)| evidence.ends_with(read.as_str())) {
        *evidence = evidence.replace(&read, &sent);
    }
}

/// Returns the best reading of texts in UTF-8 with decimal points.
fn read_words(messages: &[Vec<u8>], text: f64, bus_keys: &str) -> Option<Candidate> {
    let patterns = notation::PATTERNS.into_iter();
    let readings = patterns.map(|pattern| read_pattern(messages, pattern, text, bus_keys));
    let found = [read_format(messages, text, bus_keys)].into_iter().chain(readings).flatten();
    found.reduce(|best, one| if one.score > best.score { one } else { best })
}

/// Returns the reading of texts with one value, its unit, and words before it.
fn read_pattern(
    messages: &[Vec<u8>],
    pattern: &str,
    text: f64,
    bus_keys: &str,
) -> Option<Candidate> {
    let format = notation::format(pattern)?;
    let mut channels = Channels::default();
    let frames = messages.iter().filter(|one| channels.record_as(&format, one)).count();
    let sample = excerpt(messages.last()?);
    Some(Candidate {
        description: "one value with its unit".to_owned(),
        frames,
        score: text * share(frames, messages.len()) * PATTERN_TRUST,
        evidence: vec![format!("{frames} of {} messages fit, such as {sample}", messages.len())],
        bus_keys: bus_keys.to_owned(),
        sensor_keys: format!("format = \"regex\"\npattern = '{pattern}'\n"),
        channels,
        is_modbus: false,
    })
}

/// Returns the most frequent format and its channels.
fn read_format(messages: &[Vec<u8>], text: f64, bus_keys: &str) -> Option<Candidate> {
    let mut counts: BTreeMap<DetectedFormat, usize> = BTreeMap::new();
    for message in messages {
        *counts.entry(DetectedFormat::detect(message)).or_default() += 1;
    }
    counts.remove(&DetectedFormat::Binary);
    // Of two equally frequent formats the more specific one, which is first in the order.
    let (format, _) =
        counts.into_iter().rev().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0)?;
    let mut candidate = Candidate {
        description: format.word().to_owned(),
        frames: 0,
        score: 0.0,
        evidence: Vec::new(),
        bus_keys: bus_keys.to_owned(),
        sensor_keys: format.keys()?,
        channels: Channels::default(),
        is_modbus: false,
    };
    let mut births = Births::default();
    let mut others: Vec<&[u8]> = Vec::new();
    for message in messages {
        let is_read = DetectedFormat::detect(message) == format
            && candidate.channels.record("", format, message, &mut births);
        candidate.frames += usize::from(is_read);
        if !is_read {
            others.push(message);
        }
    }
    let sample = messages.iter().rfind(|message| DetectedFormat::detect(message) == format)?;
    candidate.evidence.push(format!(
        "{} of {} messages are {}, such as {}",
        candidate.frames,
        messages.len(),
        format.word(),
        excerpt(sample)
    ));
    let mut explained = candidate.frames;
    match format {
        DetectedFormat::Nmea => explained += note_sentences(&mut candidate, messages, &others),
        DetectedFormat::Csv { .. } => {
            explained += note_header(&mut candidate, format, messages, &others);
        }
        DetectedFormat::Obis => explained += note_ends(&mut candidate, &others),
        DetectedFormat::Json { .. }
        | DetectedFormat::KeyValue
        | DetectedFormat::Sml
        | DetectedFormat::Ruuvi
        | DetectedFormat::Sparkplug
        | DetectedFormat::Text
        | DetectedFormat::Binary => {}
    }
    candidate.score = text * share(explained, messages.len()) * trust(format, &candidate.channels);
    Some(candidate)
}

/// Returns how much a format counts as evidence: nearly every message is valid text.
fn trust(format: DetectedFormat, channels: &Channels) -> f64 {
    let is_number = || channels.iter().all(|one| one.kind.word() == "number");
    match format {
        DetectedFormat::Nmea
        | DetectedFormat::Obis
        | DetectedFormat::Sml
        | DetectedFormat::Ruuvi
        | DetectedFormat::Sparkplug => 1.0,
        DetectedFormat::Json { .. } | DetectedFormat::KeyValue | DetectedFormat::Csv { .. } => 0.95,
        DetectedFormat::Text if is_number() => 0.9,
        DetectedFormat::Text => 0.5,
        DetectedFormat::Binary => 0.0,
    }
}

/// Ignores the ends of data blocks of meters. Returns how many lines that explains.
fn note_ends(candidate: &mut Candidate, others: &[&[u8]]) -> usize {
    let ends = others.iter().filter(|other| other.starts_with(b"!")).count();
    if ends > 0 {
        candidate.sensor_keys.push_str("ignore = '^!'\n");
    }
    ends
}

/// Ignores sentences without measurements. Returns how many lines that explains.
pub(super) fn note_sentences(
    candidate: &mut Candidate,
    messages: &[Vec<u8>],
    others: &[&[u8]],
) -> usize {
    let mut ignored = BTreeSet::new();
    let is_empty = |message: &[u8]| {
        let mut channels = Channels::default();
        channels.record("", DetectedFormat::Nmea, message, &mut Births::default());
        channels.iter().all(|channel| channel.name == "sentence")
    };
    let known = messages.iter().map(Vec::as_slice).filter(|message| checked(message).is_some());
    for message in known.filter(|message| is_empty(message)) {
        let kind = message.get(3..6).and_then(|kind| std::str::from_utf8(kind).ok());
        ignored.extend(kind.filter(|kind| kind.bytes().all(|byte| byte.is_ascii_uppercase())));
    }
    if !ignored.is_empty() {
        let kinds: Vec<_> = ignored.into_iter().take(IGNORED_MAX).collect();
        let is_ais = messages.iter().any(|message| message.starts_with(b"!"));
        let mark = if is_ais { "[$!]" } else { "\\$" };
        candidate.sensor_keys.extend(["ignore = '^", mark, "..(", &kinds.join("|"), ")'\n"]);
    }
    others.iter().filter(|other| checked(other).is_some()).count()
}

/// Names the columns after a header line. Returns how many lines that explains.
///
/// A header has as many words as the other lines have values.
fn note_header(
    candidate: &mut Candidate,
    format: DetectedFormat,
    messages: &[Vec<u8>],
    others: &[&[u8]],
) -> usize {
    let DetectedFormat::Csv { delimiter, columns } = format else { return 0 };
    let words = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let words: Vec<_> =
            line.split(char::from(delimiter)).map(|word| word.trim().to_owned()).collect();
        let names: BTreeSet<_> = words.iter().filter(|word| !word.is_empty()).collect();
        (words.len() == columns && names.len() == columns).then_some(words)
    };
    let Some((line, names)) = others.iter().find_map(|line| Some((*line, words(line)?))) else {
        return 0;
    };
    let Ok(line) = std::str::from_utf8(line) else { return 0 };
    let quoted_names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    let pattern = quoted(&format!("^{}$", regex::escape(line.trim())));
    let quoted_names = quoted_names.join(", ");
    candidate.sensor_keys.extend(["columns = [", &quoted_names, "]\nignore = ", &pattern, "\n"]);
    candidate.channels = candidate.channels.renamed(&names);
    candidate.evidence.push(format!("the line {} names the columns", excerpt(line.as_bytes())));
    messages.iter().filter(|message| message.as_slice() == line.as_bytes()).count()
}
