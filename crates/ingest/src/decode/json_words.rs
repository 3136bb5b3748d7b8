//! The words of a JSON document: its numbers and booleans as they are written.

use tidegate_model::Value;

/// Returns the document with quotes around its numbers and booleans. A null stays a null.
///
/// The notation of a number, such as `1.50`, is then a text that the parser keeps.
pub(super) fn quoted(text: &str) -> String {
    replace_words(text, |word, output| {
        if word == "null" {
            output.push_str(word);
        } else {
            output.extend(["\"", word, "\""]);
        }
    })
}

/// The text that marks a number that is not finite: two noncharacters, which no message contains.
pub(super) const NOT_FINITE: &str = "\u{fdd0}\u{fdd1}";

/// Returns the document with [`NOT_FINITE`] in place of words such as `NaN`, `-Infinity` and
/// `1e999`. `None` if there are none.
pub(super) fn with_marks(text: &str) -> Option<String> {
    let is_not_finite = |word: &str| matches!(Value::parse_number(word), Some(Err(_)));
    let found = std::cell::Cell::new(false);
    let marked = replace_words(text, |word, output| {
        if is_not_finite(word) {
            found.set(true);
            output.extend(["\"", NOT_FINITE, "\""]);
        } else {
            output.push_str(word);
        }
    });
    found.get().then_some(marked)
}

/// Returns the document with each word outside of its strings written by `write`.
fn replace_words(text: &str, write: impl Fn(&str, &mut String)) -> String {
    let is_end = |letter: char| {
        letter.is_ascii_whitespace() || matches!(letter, '{' | '}' | '[' | ']' | ':' | ',' | '"')
    };
    let mut output = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bytes = match first {
            '"' => string_bytes(rest),
            _ if is_end(first) => 1,
            _ => {
                let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
                write(word, &mut output);
                rest = after;
                continue;
            }
        };
        let (copied, after) = rest.split_at(bytes);
        output.push_str(copied);
        rest = after;
    }
    output
}

/// Returns the number of bytes of the string at the front, with its quotes.
fn string_bytes(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_numbers_and_booleans() {
        for (text, expected) in [
            (
                r#"{"a": 1.50, "b":[true,null],"c":"2"}"#,
                r#"{"a": "1.50", "b":["true",null],"c":"2"}"#,
            ),
            (r#""a\" 1, é" "#, r#""a\" 1, é" "#),
            ("-1e3", r#""-1e3""#),
            ("\"cut", "\"cut"),
            ("", ""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
