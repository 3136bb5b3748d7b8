//! Short, printable excerpts of external data for error messages and log lines.

/// The longest excerpt, in characters after escaping.
const CHARACTERS_MAX: usize = 40;

/// Returns the beginning of `bytes` in printable ASCII.
///
/// `...` at the end marks a longer text.
pub fn excerpt(bytes: &[u8]) -> String {
    let mut escaped = bytes.escape_ascii().map(char::from);
    let mut text: String = escaped.by_ref().take(CHARACTERS_MAX).collect();
    if escaped.next().is_some() {
        text.push_str("...");
    }
    text
}

/// The longest result of [`line()`], in characters.
const LINE_CHARS_MAX: usize = 160;

/// Returns the first line of `bytes` that is not blank, without control characters.
///
/// The line has at most 160 characters.
pub fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(LINE_CHARS_MAX).collect()
}

/// Returns bytes as the configuration writes them, with their values behind a text:
/// `"W\r\n" (57 0d 0a)`, or `0xff 01 86` for bytes that are not text.
pub fn notation(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
    if bytes.iter().all(is_text) {
        format!("\"{}\" ({digits})", bytes.escape_ascii())
    } else {
        format!("0x{digits}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_is_short_and_printable() {
        assert_eq!(excerpt(b"t=\"21\"\r\xff"), r#"t=\"21\"\r\xff"#);
        assert_eq!(excerpt(&[b'x'; 40]), "x".repeat(40));
        assert_eq!(excerpt(&[b'x'; 41]), "x".repeat(40) + "...");
    }

    #[test]
    fn bytes_are_shown_as_they_are_written() {
        assert_eq!(notation(b"W\r\n"), r#""W\r\n" (57 0d 0a)"#);
        assert_eq!(notation(b"\xff\x01\x86"), "0xff 01 86");
    }

    #[test]
    fn returns_the_first_line_with_text() {
        assert_eq!(line(b"\n  \r\n grun\x1b[1m\r\nmore"), "grun[1m");
        assert_eq!(line(&[b'x'; 500]).len(), LINE_CHARS_MAX);
        assert_eq!(line(b""), "");
    }
}
