//! Texts as instruments print them: other encodings than UTF-8, decimal commas, values with units.

use super::share;
use tidegate_ingest::decode::{Format, Pattern, compile_pattern};

/// The largest share of bytes above 7f in a text that is not UTF-8: more are another speed or
/// parity.
const HIGH_SHARE_MAX: f64 = 0.15;

/// The signs and letters of ISO 8859-1 that instruments print: degree, micro, powers, plus-minus,
/// and letters of words in Western Europe.
const LATIN_1: &[u8] =
    b"\xb0\xb5\xb2\xb3\xb1\xa7\xa3\xb9\xb7\xbd\xe4\xf6\xfc\xc4\xd6\xdc\xdf\xe9\xe8\xea\xeb\
    \xe0\xe2\xe7\xf1\xf3\xf4\xe1\xed\xee\xef\xf9\xfa\xfb\xe5\xe6\xf8\xc5\xc6\xd8\xc9\xc8\xc0";

/// One value with the text before it and its unit, as scales print it: `ST,GS,+  12.34kg`.
const STATUS_PATTERN: &str = concat!(
    "^(?<status>[A-Za-z]+(?:[, ]+[A-Za-z]+)*)[, ]+",
    "(?<value>[-+]? *[0-9]+(?:[.,][0-9]+)?) *(?<unit>[A-Za-z°µ%/]+[0-9²³]?)? *$"
);

/// One value with its unit: `+  12.34 kg`.
const UNIT_PATTERN: &str =
    "^ *(?<value>[-+]? *[0-9]+(?:[.,][0-9]+)?) *(?<unit>[A-Za-z°µ%/]+[0-9²³]?) *$";

/// The patterns of texts with one value.
pub(super) const PATTERNS: [&str; 2] = [UNIT_PATTERN, STATUS_PATTERN];

/// Returns the format of a pattern.
pub(super) fn format(pattern: &str) -> Option<Format> {
    Some(Pattern::from(compile_pattern(pattern).ok()?).into())
}

/// Returns the share of readable bytes, from 0 to 1.
pub(super) fn readable_share(bytes: &[u8]) -> f64 {
    let is_utf8 = std::str::from_utf8(bytes).is_ok();
    let is_readable = |byte: &&u8| {
        super::is_text(**byte) || !byte.is_ascii() && (is_utf8 || LATIN_1.contains(byte))
    };
    share(bytes.iter().filter(is_readable).count(), bytes.len())
}

/// Returns texts in ISO 8859-1 as UTF-8; `None` if they are UTF-8, or no text.
pub(super) fn from_latin_1(messages: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    if messages.iter().all(|message| std::str::from_utf8(message).is_ok()) {
        return None;
    }
    let high: usize = messages.iter().flatten().filter(|byte| !byte.is_ascii()).count();
    let all: usize = messages.iter().map(Vec::len).sum();
    if share(high, all) > HIGH_SHARE_MAX {
        return None;
    }
    let is_known = |byte: &u8| byte.is_ascii() || LATIN_1.contains(byte);
    let known = messages.iter().filter(|message| message.iter().all(is_known)).count();
    // The code points of Unicode begin with ISO 8859-1.
    let utf8 = |message: &Vec<u8>| message.iter().copied().map(char::from).collect::<String>();
    let is_latin_1 = known * 5 >= messages.len() * 4;
    is_latin_1.then(|| messages.iter().map(|message| utf8(message).into_bytes()).collect())
}

/// Texts whose decimal commas became points.
pub(super) struct Points {
    pub(super) messages: Vec<Vec<u8>>,
    /// Whether each place has the same number of digits behind the comma in all texts.
    pub(super) is_constant: bool,
}

/// Replaces decimal commas by points; `None` if the texts have none.
pub(super) fn with_points(messages: &[Vec<u8>]) -> Option<Points> {
    let (mut changed, mut digits) = (Vec::new(), Vec::new());
    for message in messages {
        let (message, own) = with_point(message)?;
        changed.push(message);
        digits.extend(Some(own).filter(|own| !own.is_empty()));
    }
    let is_constant = digits.windows(2).all(|two| matches!(two, [one, other] if one == other));
    // Other lines may be a header or numbers without a fraction.
    let is_usual = digits.len() * 2 >= messages.len() && !digits.is_empty();
    is_usual.then_some(Points { messages: changed, is_constant })
}

/// Returns a text with points, and the numbers of digits behind its commas. `None` if it has a
/// decimal point, or commas that separate several numbers.
fn with_point(message: &[u8]) -> Option<(Vec<u8>, Vec<usize>)> {
    let is_digit =
        |at: Option<usize>| at.and_then(|at| message.get(at)).is_some_and(u8::is_ascii_digit);
    let (mut changed, mut digits) = (message.to_vec(), Vec::new());
    for (at, byte) in message.iter().enumerate() {
        if !is_digit(at.checked_sub(1)) || !is_digit(Some(at + 1)) {
            continue;
        }
        match byte {
            b'.' => return None,
            b',' => {
                let fraction = message.get(at + 1..).unwrap_or_default();
                let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if fraction.get(count) == Some(&b',') && is_digit(Some(at + 2 + count)) {
                    return None;
                }
                if let Some(comma) = changed.get_mut(at) {
                    *comma = b'.';
                }
                digits.push(count);
            }
            _ => {}
        }
    }
    Some((changed, digits))
}
