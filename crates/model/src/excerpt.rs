//! A short, harmless quotation of what came from outside, for an error text or a log line.

/// How much of the outside an error text may quote, in characters after escaping.
const CHARACTERS_MAX: usize = 40;

/// The beginning of `bytes`, in printable ASCII; what is cut off shows as `...`.
pub fn excerpt(bytes: &[u8]) -> String {
    let mut escaped = bytes.escape_ascii().map(char::from);
    let mut text: String = escaped.by_ref().take(CHARACTERS_MAX).collect();
    if escaped.next().is_some() {
        text.push_str("...");
    }
    text
}

/// The longest line that is told, in characters.
const LINE_CHARS_MAX: usize = 160;

/// The first line of `bytes` that is not blank, without control characters and not too long.
pub fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(LINE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_printable() {
        assert_eq!(excerpt(b"t=\"21\"\r\xff"), r#"t=\"21\"\r\xff"#);
        assert_eq!(excerpt(&[b'x'; 40]), "x".repeat(40));
        assert_eq!(excerpt(&[b'x'; 41]), "x".repeat(40) + "...");
    }

    #[test]
    fn a_line_is_the_first_that_says_something() {
        assert_eq!(line(b"\n  \r\n grun\x1b[1m\r\nmore"), "grun[1m");
        assert_eq!(line(&[b'x'; 500]).len(), LINE_CHARS_MAX);
        assert_eq!(line(b""), "");
    }
}
