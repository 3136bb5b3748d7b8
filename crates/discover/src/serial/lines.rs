//! Texts: lines, what stands between STX and ETX, and what a silence ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Chunk, FRAME_BYTES_MAX, Guess, frames, is_text, quoted, share};
use crate::mqtt::shape::{Channels, Dialect};
use tidegate_ingest::decode::Births;
use tidegate_ingest::frame::{Checksum, ChecksumAlgorithm, Framing, Notation, Shape};
use tidegate_model::excerpt::excerpt;

/// A silence that ends a message where nothing else does: longer than any adapter holds bytes back.
const PAUSE: Duration = Duration::from_millis(50);

/// Fewer messages prove nothing about silences.
const PAUSES_MIN: usize = 3;

/// The most types of sentences that are left out by name.
const IGNORED_MAX: usize = 16;

/// What a frame begins and ends with on many a terminal.
const STX: u8 = 0x02;
const ETX: u8 = 0x03;

/// Lines that end with CR, LF or both.
pub(super) fn guess(bytes: &[u8], now: Instant) -> Option<Guess> {
    let mut lines = whole(Framing::lines(FRAME_BYTES_MAX), bytes, now);
    let end = match (bytes.contains(&b'\r'), bytes.contains(&b'\n')) {
        (true, true) => "CRLF",
        (true, false) => "CR",
        (false, true) => "LF",
        (false, false) => return None,
    };
    let checked: Vec<_> = lines.iter().filter_map(|line| checked(line)).collect();
    let all: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let is_nmea = all.iter().any(|line| Dialect::of(line) == Dialect::Nmea);
    let (keys, proof) = if !is_nmea && !checked.is_empty() && checked.len() * 5 >= lines.len() * 4 {
        let proof = format!("{} lines have a good checksum (NMEA)", checked.len());
        lines = checked;
        ("frame = { kind = \"line\", checksum = \"nmea\" }\n", Some(proof))
    } else {
        ("", None)
    };
    let text = share(bytes.iter().filter(|byte| is_text(**byte)).count(), bytes.len());
    let mut guess = read(&lines, text, keys)?;
    guess.what = format!("lines that end with {end}, {}", guess.what);
    guess.evidence.extend(proof);
    Some(guess)
}

/// Texts between STX and ETX.
pub(super) fn guess_marked(bytes: &[u8], now: Instant) -> Option<Guess> {
    const KEYS: &str = "frame = { kind = \"enclosed\", start = \"0x02\", end = \"0x03\" }\n";
    let shape = Shape::Enclosed {
        start: vec![STX],
        end: vec![ETX],
        checksum_after_end: false,
        keep_markers: false,
    };
    let framing = Framing { shape, ..Framing::lines(FRAME_BYTES_MAX) };
    let texts = whole(framing, bytes, now);
    let taken: usize = texts.iter().map(|text| text.len() + 2).sum();
    let mut guess = read(&texts, share(taken, bytes.len()), KEYS)?;
    guess.what = format!("texts between STX and ETX, {}", guess.what);
    Some(guess)
}

/// Texts that nothing ends but silence.
pub(super) fn guess_pauses(chunks: &[Chunk]) -> Option<Guess> {
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
    let text = share(bytes.iter().filter(|byte| is_text(**byte)).count(), bytes.len());
    let mut guess = read(&texts, text, "frame = { kind = \"idle\", idle_time = \"50 ms\" }\n")?;
    guess.what = format!("texts with silences between them, {}", guess.what);
    Some(guess)
}

/// Frames without the first one, whose beginning may have been missed, where there are more.
fn whole(framing: Framing, bytes: &[u8], now: Instant) -> Vec<Vec<u8>> {
    let mut found = frames(framing, bytes, now);
    if found.len() > 2 {
        found.remove(0);
    }
    found
}

/// The content of a line with the checksum of NMEA.
fn checked(line: &[u8]) -> Option<Vec<u8>> {
    let checksum =
        Checksum { algorithm: ChecksumAlgorithm::Nmea, notation: Notation::Hexadecimal, from: 0 };
    checksum.strip(line).map(<[u8]>::to_vec)
}

/// The dialect that most messages are written in, and what they hold. `text` is how much of all bytes is text,
/// `bus_keys` how they were cut.
fn read(messages: &[Vec<u8>], text: f64, bus_keys: &str) -> Option<Guess> {
    let mut counts: BTreeMap<Dialect, usize> = BTreeMap::new();
    for message in messages {
        *counts.entry(Dialect::of(message)).or_default() += 1;
    }
    counts.remove(&Dialect::Binary);
    // Of two that are as frequent the more telling one, which the order has first.
    let (dialect, _) =
        counts.into_iter().rev().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0)?;
    let mut guess = Guess {
        what: dialect.word().to_owned(),
        frames: 0,
        score: 0.0,
        evidence: Vec::new(),
        bus_keys: bus_keys.to_owned(),
        sensor_keys: dialect.keys()?,
        channels: Channels::default(),
        is_modbus: false,
    };
    let mut births = Births::default();
    let mut others: Vec<&[u8]> = Vec::new();
    for message in messages {
        let is_read = Dialect::of(message) == dialect
            && guess.channels.hear("", dialect, message, &mut births);
        guess.frames += usize::from(is_read);
        if !is_read {
            others.push(message);
        }
    }
    let sample = messages.iter().rfind(|message| Dialect::of(message) == dialect)?;
    guess.evidence.push(format!(
        "{} of {} messages are {}, such as {}",
        guess.frames,
        messages.len(),
        dialect.word(),
        excerpt(sample)
    ));
    let mut explained = guess.frames;
    match dialect {
        Dialect::Nmea => explained += note_sentences(&mut guess, messages, &others),
        Dialect::Csv { .. } => explained += note_header(&mut guess, dialect, messages, &others),
        Dialect::Json { .. }
        | Dialect::KeyValue
        | Dialect::Obis
        | Dialect::Ruuvi
        | Dialect::Sparkplug
        | Dialect::Text
        | Dialect::Binary => {}
    }
    guess.score = text * share(explained, messages.len()) * trust(dialect, &guess.channels);
    Some(guess)
}

/// How much it tells that a message can be read so: nearly any text is a text.
fn trust(dialect: Dialect, channels: &Channels) -> f64 {
    let is_number = || channels.iter().all(|one| one.kind.word() == "number");
    match dialect {
        Dialect::Nmea | Dialect::Obis | Dialect::Ruuvi | Dialect::Sparkplug => 1.0,
        Dialect::Json { .. } | Dialect::KeyValue | Dialect::Csv { .. } => 0.95,
        Dialect::Text if is_number() => 0.9,
        Dialect::Text => 0.5,
        Dialect::Binary => 0.0,
    }
}

/// Leaves sentences out that hold no measurement. Returns how many lines that explains.
fn note_sentences(guess: &mut Guess, messages: &[Vec<u8>], others: &[&[u8]]) -> usize {
    let mut ignored = BTreeSet::new();
    let is_empty = |message: &[u8]| {
        let mut channels = Channels::default();
        channels.hear("", Dialect::Nmea, message, &mut Births::default());
        channels.iter().all(|channel| channel.name == "sentence")
    };
    let known = messages.iter().map(Vec::as_slice).filter(|message| checked(message).is_some());
    for message in known.filter(|message| is_empty(message)) {
        let kind = message.get(3..6).and_then(|kind| std::str::from_utf8(kind).ok());
        ignored.extend(kind.filter(|kind| kind.bytes().all(|byte| byte.is_ascii_uppercase())));
    }
    if !ignored.is_empty() {
        let kinds: Vec<_> = ignored.into_iter().take(IGNORED_MAX).collect();
        guess.sensor_keys.extend(["ignore = '^\\$..(", &kinds.join("|"), ")'\n"]);
    }
    others.iter().filter(|other| checked(other).is_some()).count()
}

/// Names the columns after a line that has as many words as the others have values. Returns how many lines that explains.
fn note_header(
    guess: &mut Guess,
    dialect: Dialect,
    messages: &[Vec<u8>],
    others: &[&[u8]],
) -> usize {
    let Dialect::Csv { delimiter, columns } = dialect else { return 0 };
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
    guess.sensor_keys.extend(["columns = [", &quoted_names, "]\nignore = ", &pattern, "\n"]);
    guess.channels = guess.channels.renamed(&names);
    guess.evidence.push(format!("the line {} names the columns", excerpt(line.as_bytes())));
    messages.iter().filter(|message| message.as_slice() == line.as_bytes()).count()
}
