//! Finds the sentences in a line, and verifies their checksums.
//!
//! Multiplexers and slow writers merge lines, and put noise or a tag block before a sentence.

use super::SentenceError;
use crate::hex_digits;

/// A sentence without its start character and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sentence<'a> {
    /// The address and the fields.
    pub(super) body: &'a [u8],
    /// Whether a checksum proves that all bytes are right.
    pub(super) is_verified: bool,
}

/// A sentence, or the reason that a part of the line is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// The bytes of the part, for error messages.
    pub(super) bytes: &'a [u8],
    pub(super) sentence: Result<Sentence<'a>, SentenceError>,
}

/// The length of a checksum: `*` and two hexadecimal digits.
const CHECKSUM_BYTES: usize = 3;

/// The shortest address: a talker of two characters and a type of three, or `P` and a maker.
const ADDRESS_BYTES_MIN: usize = 4;

/// The longest address of a maker's own sentence.
const ADDRESS_BYTES_MAX: usize = 12;

/// Returns the sentences of one line in their order.
pub(super) fn find(line: &[u8]) -> Vec<Found<'_>> {
    let mut starts: Vec<usize> = (0..line.len()).filter(|at| is_start(line, *at)).collect();
    if starts.is_empty() {
        starts.extend(line.iter().position(|byte| is_mark(*byte)));
    }
    let Some(first) = starts.first() else {
        // Only the start character is lost: the checksum covers all other bytes.
        let whole = find_checksum(line).and_then(|end| line.get(..end));
        let sentence = whole.map(|body| Sentence { body, is_verified: true });
        return vec![Found { bytes: line, sentence: sentence.ok_or(SentenceError::NoStart) }];
    };
    let mut found: Vec<_> = tail(line.get(..*first).unwrap_or_default()).into_iter().collect();
    let ends = starts.iter().skip(1).copied().chain([line.len()]);
    for (start, end) in starts.iter().copied().zip(ends) {
        let bytes = line.get(start..end).unwrap_or_default();
        let is_last = end == line.len();
        let content = bytes.get(1..).unwrap_or_default();
        found.push(Found { bytes, sentence: verify(content, is_last) });
        let rest = find_checksum(content).and_then(|end| content.get(end + CHECKSUM_BYTES..));
        found.extend(rest.and_then(tail));
    }
    found
}

/// Returns whether a sentence with a whole address starts here.
fn is_start(line: &[u8], at: usize) -> bool {
    let Some((mark, rest)) = line.get(at..).and_then(<[u8]>::split_first) else { return false };
    let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let address = rest.iter().take(ADDRESS_BYTES_MAX + 1).take_while(|byte| is_name(byte)).count();
    is_mark(*mark)
        && (ADDRESS_BYTES_MIN..=ADDRESS_BYTES_MAX).contains(&address)
        && rest.first().is_some_and(u8::is_ascii_uppercase)
        && matches!(rest.get(address), Some(b',' | b'*'))
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'$' | b'!')
}

/// Returns the sentence behind a start character. `is_last`: no other sentence follows it.
fn verify(content: &[u8], is_last: bool) -> Result<Sentence<'_>, SentenceError> {
    if let Some(body) = find_checksum(content).and_then(|end| content.get(..end)) {
        return Ok(Sentence { body, is_verified: true });
    }
    if content.contains(&b'*') {
        return Err(SentenceError::WrongChecksum);
    }
    if !is_last {
        return Err(SentenceError::Cut);
    }
    // Up to NMEA 2.0 the checksum may be missing. A proprietary sentence needs one.
    let is_standard = content.first().is_some_and(u8::is_ascii_uppercase)
        && !content.starts_with(b"P")
        && content.is_ascii();
    let sentence = Sentence { body: content.trim_ascii_end(), is_verified: false };
    if is_standard { Ok(sentence) } else { Err(SentenceError::NoChecksum) }
}

/// Returns the place of the `*` of the first right checksum.
///
/// The checksum is the exclusive or of all bytes before it (NMEA 0183, 5.2.2.4).
fn find_checksum(content: &[u8]) -> Option<usize> {
    let mut sum = 0;
    for (at, byte) in content.iter().enumerate() {
        if *byte == b'*' && given_checksum(content.get(at..)?) == Some(sum) {
            return Some(at);
        }
        sum ^= byte;
    }
    None
}

/// Returns the number after a `*`, in digits of upper or lower case.
fn given_checksum(text: &[u8]) -> Option<u8> {
    let [b'*', digits @ ..] = text.get(..CHECKSUM_BYTES)? else { return None };
    u8::try_from(hex_digits::number(digits)?).ok()
}

/// Reports bytes between two sentences that were the end of a sentence. Tag blocks and noise are
/// none.
fn tail(bytes: &[u8]) -> Option<Found<'_>> {
    // A tag block stands between two backslashes, so every other part is one.
    let parts = bytes.split(|byte| *byte == b'\\').step_by(2);
    let has_checksum =
        |part: &[u8]| part.windows(CHECKSUM_BYTES).any(|window| given_checksum(window).is_some());
    let is_sentence = parts.into_iter().any(has_checksum);
    is_sentence.then_some(Found { bytes, sentence: Err(SentenceError::NoStart) })
}
