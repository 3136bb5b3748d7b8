//! Errors in the syntax of a TOML file: the line, a mark below the mistake, and a hint.

/// The most characters of a line that are shown.
const LINE_SHOWN_MAX: usize = 100;

/// An error in the syntax of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line, from 1.
    pub(super) line: usize,
    /// The problem, as the parser describes it.
    pub(super) message: String,
    /// How to fix it; empty if there is no guess.
    pub(super) hint: String,
    /// The line, and a mark below the mistake.
    pub(super) excerpt: String,
}

impl SyntaxError {
    /// Describes the error `message` at the byte `offset` of `text`.
    pub(super) fn new(text: &str, offset: usize, message: &str) -> Self {
        let offset = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let (before, _) = text.split_at(offset.unwrap_or_default());
        let (number, start) =
            (before.matches('\n').count(), before.rfind('\n').map_or(0, |at| at + 1));
        let line = text.lines().nth(number).unwrap_or_default();
        let column = before.get(start..).unwrap_or_default().chars().count();
        let hint = hint(line, column, message);
        Self { line: number + 1, message: message.to_owned(), hint, excerpt: excerpt(line, column) }
    }
}

/// Returns the line with a mark below the column, cut around it if it is long.
fn excerpt(line: &str, column: usize) -> String {
    let first = column.saturating_sub(LINE_SHOWN_MAX / 2);
    let shown = line.chars().skip(first).take(LINE_SHOWN_MAX);
    let shown: String = shown.map(|one| if one.is_control() { ' ' } else { one }).collect();
    format!("    {}\n    {}^", shown.trim_end(), " ".repeat(column - first))
}

/// Returns a guess of what was meant.
fn hint(line: &str, column: usize, message: &str) -> String {
    let text = line.trim();
    let curly = ['“', '”', '„', '‟', '‘', '’', '«', '»'];
    if text.contains(curly) {
        return "use straight quotes: \"…\"".to_owned();
    }
    if message.contains("duplicate key") {
        return "a key or table can be there only once; remove one, or rename it".to_owned();
    }
    if text.starts_with('[') && !text.contains('=') {
        let closing = if text.starts_with("[[") { "]]" } else { "]" };
        if !text.contains(closing) {
            return format!("close the name of the table with {closing}");
        }
        return "write the name of a table as [bus.mqtt.house]; quote a part with other characters \
                than A-Z, a-z, 0-9, - and _"
            .to_owned();
    }
    if let Some(word) = bare_word(line, column) {
        return of_bare_word(line, &word);
    }
    let Some((key, value)) = text.split_once('=') else {
        return match text.split_once(':') {
            Some((key, value)) if !key.contains([' ', '#']) => {
                format!("write {} = {}", key.trim_matches('"'), quoted(value.trim()))
            }
            Some(_) | None => "write key = value, or # before a comment".to_owned(),
        };
    };
    of_value(key.trim(), value.trim(), message)
}

/// Returns a hint for a word without quotes that is the value of a key.
fn of_bare_word(line: &str, word: &str) -> String {
    let key = line.split(word).next().unwrap_or_default().trim_end();
    let key = key.strip_suffix('=').unwrap_or(key).trim_end();
    let key = key.rsplit([' ', '{', ',', '[']).next().unwrap_or_default();
    let key = if key.is_empty() { String::new() } else { format!("{key} = ") };
    match word.to_lowercase().as_str() {
        lower @ ("true" | "false") => format!("write it in lower case: {key}{lower}"),
        "yes" | "on" => format!("write {key}true, or quote it: {key}\"{word}\""),
        "no" | "off" => format!("write {key}false, or quote it: {key}\"{word}\""),
        "null" | "none" | "nil" => "TOML has no such value; remove the line".to_owned(),
        _ => format!("quote it: {key}{}", quoted(word)),
    }
}

fn of_value(key: &str, value: &str, message: &str) -> String {
    let is_open = |quote: &str| value.starts_with(quote) && value.matches(quote).count() % 2 == 1;
    if value.is_empty() {
        return format!("give a value: {key} = …");
    }
    if message.contains("escape") || (value.starts_with('"') && value.contains('\\')) {
        let inner = value.trim_matches('"');
        return format!("a backslash needs single quotes around the text: {key} = '{inner}'");
    }
    if is_open("\"\"\"") || is_open("'''") {
        return "close the text with the same three quotes".to_owned();
    }
    if is_open("\"") || is_open("'") {
        let inner = value.get(1..).unwrap_or_default();
        return format!("close the quotes: {key} = {}", quoted(inner));
    }
    if message.contains('`') && message.contains(',') {
        return "separate the entries with commas".to_owned();
    }
    for (open, close) in [('[', ']'), ('{', '}')] {
        if value.matches(open).count() > value.matches(close).count() {
            return format!("close the list or table with {close}");
        }
    }
    String::new()
}

/// Returns the word without quotes at or around the column, if it is a value.
fn bare_word(line: &str, column: usize) -> Option<String> {
    let characters: Vec<char> = line.chars().collect();
    let is_end = |one: &char| one.is_whitespace() || ",]}#=\"'".contains(*one);
    let column = column.min(characters.len().checked_sub(1)?);
    let before = characters.get(..column)?;
    let start = before.iter().rposition(is_end).map_or(0, |at| at + 1);
    let inside_brackets = |at: &usize| characters.get(*at).is_some_and(|one| "[{".contains(*one));
    let start = (start..=column).find(|at| !inside_brackets(at))?;
    let rest = characters.get(start..)?;
    // An IPv6 address, a date with a blank and other values go up to the next comma or comment.
    let length = rest.iter().position(is_end).unwrap_or(rest.len());
    let word: String = rest.get(..length)?.iter().collect();
    let lead: String = characters.get(..start)?.iter().collect();
    let is_value = lead.trim_end().ends_with(['=', '[', ',']);
    let is_word = word.chars().any(char::is_alphanumeric);
    // A unit after the number belongs to the value: 5 s.
    let after: String =
        rest.get(length..)?.iter().take_while(|one| !",]}#=".contains(**one)).collect();
    let is_number = word.chars().all(|one| one.is_ascii_digit() || ".-+_".contains(one));
    let word = if is_number { format!("{word}{}", after.trim_end()) } else { word };
    (is_value && is_word).then_some(word)
}

/// Returns a text in quotes; single ones if it has a backslash.
fn quoted(text: &str) -> String {
    let text = text.trim_matches(['"', '\'']);
    if text.contains(['\\', '"']) { format!("'{text}'") } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn error(text: &str) -> SyntaxError {
        let error = DeTable::parse(text).unwrap_err();
        SyntaxError::new(text, error.span().map_or(0, |span| span.start), error.message())
    }

    #[test]
    fn hint_fits_the_mistake() {
        for (text, expected) in [
            ("host = localhost", "quote it: host = \"localhost\""),
            ("host = 192.168.1.20", "quote it: host = \"192.168.1.20\""),
            ("path = /dev/ttyUSB0", "quote it: path = \"/dev/ttyUSB0\""),
            ("after = 5 min", "quote it: after = \"5 min\""),
            ("after = 5min", "quote it: after = \"5min\""),
            ("size = 64 MiB # big", "quote it: size = \"64 MiB\""),
            ("id = 575ecf887ae143cd83dc4aa2", "quote it: id = \"575ecf887ae143cd83dc4aa2\""),
            ("map = [{ channel = temp, attribute = \"t\" }]", "quote it: channel = \"temp\""),
            ("columns = [a, \"b\"]", "quote it: \"a\""),
            ("tls = True", "write it in lower case: tls = true"),
            ("tls = yes", "write tls = true, or quote it: tls = \"yes\""),
            ("device = null", "TOML has no such value; remove the line"),
            ("host = \"a", "close the quotes: host = \"a\""),
            ("host = 'a", "close the quotes: host = \"a\""),
            ("pattern = \"\\d+\"", "a backslash needs single quotes around the text"),
            ("host = “a”", "use straight quotes: \"…\""),
            ("host = ", "give a value: host = …"),
            ("host: a", "write host = \"a\""),
            ("\"host\": \"a\"", "write host = \"a\""),
            ("just some words", "write key = value, or # before a comment"),
            ("[bus.mqtt.house", "close the name of the table with ]"),
            ("[bus.mqtt.my house]", "write the name of a table as [bus.mqtt.house]; quote"),
            ("a = 1\na = 2", "a key or table can be there only once"),
            ("[a]\nb = 1\n[a]\nc = 2", "a key or table can be there only once"),
            ("map = [{ a = 1 b = 2 }]", "separate the entries with commas"),
            ("map = [{ a = \"x\" b = \"y\" }]", "separate the entries with commas"),
        ] {
            let SyntaxError { hint, message, excerpt, .. } = error(text);
            assert!(hint.starts_with(expected), "{text}: {hint} ({message})\n{excerpt}");
        }
    }

    #[test]
    fn mark_is_below_the_mistake() {
        let found = error("[bus.mqtt.house]\nhost = localhost\nport = 1883\n");
        assert_eq!(found.line, 2);
        assert_eq!(found.excerpt, "    host = localhost\n           ^");
        let long = format!("map = [{}x]", "1, ".repeat(100));
        let excerpt = error(&long).excerpt;
        let mark = excerpt.lines().nth(1).unwrap().find('^').unwrap();
        assert_eq!(excerpt.lines().next().unwrap().as_bytes()[mark], b'x', "{excerpt}");
    }

    #[test]
    fn any_text_has_an_excerpt() {
        for text in ["=", "é = ü", "a = \"\u{1}\"", "\"\"\"", "a = [", "a = {", "\t= 1", "a\n\n= "]
        {
            if let Err(error) = DeTable::parse(text) {
                for offset in 0..=text.len() + 1 {
                    let found = SyntaxError::new(text, offset, error.message());
                    assert!(found.excerpt.ends_with('^'), "{text:?}");
                }
            }
        }
    }
}
