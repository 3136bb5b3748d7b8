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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_printable() {
        assert_eq!(excerpt(b"t=\"21\"\r\xff"), r#"t=\"21\"\r\xff"#);
        assert_eq!(excerpt(&[b'x'; 40]), "x".repeat(40));
        assert_eq!(excerpt(&[b'x'; 41]), "x".repeat(40) + "...");
    }
}
