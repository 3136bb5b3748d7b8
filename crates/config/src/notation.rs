//! The notation of bytes: a text is sent as its characters, and `0x` with pairs of hexadecimal
//! digits stands for bytes. It is the same for frames, requests, writes and replies.

use crate::check::Check;

/// The start of a text that stands for bytes.
pub(super) const PREFIX: &str = "0x";

/// How to fix a text that begins like bytes.
const HEX_FIX: &str = "write pairs of hexadecimal digits, with or without blanks: \"0xff01 86\"";

/// Returns the bytes of a text. Reports a text with an ambiguous meaning.
pub(super) fn bytes(key: &str, text: &str, check: &mut Check<'_>) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix(PREFIX) {
        let bytes = from_hex(digits);
        if bytes.is_none() {
            let what = format!("\"{}\" begins with 0x, but is not bytes", text.escape_debug());
            check.problems.add(key, what, HEX_FIX);
        }
        return bytes;
    }
    if let Some(letter) = text.chars().find(|letter| !letter.is_ascii()) {
        let what = format!("\"{letter}\" has another byte in each encoding");
        check.problems.add(key, what, format!("write all as bytes: \"{}\"", meant(text)));
        return None;
    }
    Some(text.as_bytes().to_vec())
}

/// Returns the digits of a text that stands for bytes, if they are in pairs.
pub(super) fn digits(text: &str) -> Option<Result<&str, &'static str>> {
    let digits = text.strip_prefix(PREFIX)?;
    Some(from_hex(digits).map(|_| digits).ok_or(HEX_FIX))
}

/// Decodes pairs of digits. There may be blanks between the digits.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> =
        digits.chars().filter(|digit| *digit != ' ').map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2))?;
    let byte = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    digits.chunks(2).map(|pair| u8::try_from(byte(pair)).ok()).collect()
}

/// Returns the bytes that a text probably stands for: `\u00ff` is the byte ff.
fn meant(text: &str) -> String {
    let latin: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
    let bytes = latin.unwrap_or_else(|| text.as_bytes().to_vec());
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{}", digits.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs_of_digits_with_blanks() {
        assert_eq!(from_hex("ff01 86 00"), Some(vec![0xff, 1, 0x86, 0]));
        assert_eq!(from_hex(" f f "), Some(vec![0xff]));
        for text in ["", " ", "f", "fff", "fg", "+f", "ff\n", "0xff"] {
            assert_eq!(from_hex(text), None, "{text:?}");
        }
    }

    #[test]
    fn proposes_the_bytes_of_control_characters() {
        assert_eq!(meant("\u{ff}\u{1}"), "0xff01");
        assert_eq!(meant("€"), "0xe282ac");
    }
}
