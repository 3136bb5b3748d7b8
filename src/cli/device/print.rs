//! Prints JSON for people and for pipes.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use super::target::Target;
use crate::cli::print;
use tidegate_losant::Request;

/// Prints an answer: indented on a terminal, else one line per list element.
pub(super) fn answer(json: &Value) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() {
        return print(&format!("{json:#}\n"));
    }
    print(&lines(json))
}

fn lines(json: &Value) -> String {
    match json {
        Value::Array(items) => {
            items.iter().flat_map(|item| [item.to_string(), "\n".to_owned()]).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            format!("{json}\n")
        }
    }
}

/// Prints one event of a stream. Returns `false` if the reader closed the pipe.
pub(super) fn event(json: &Value) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{json}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Prints a request without the token.
pub(super) fn request(target: &Target, request: &Request) -> anyhow::Result<()> {
    let (base, application) = target.address();
    let body = request.json_body().and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let mut shown = json!({
        "action": request.name(),
        "method": request.method().as_str(),
        "url": request.url(base, &application),
    });
    if let (Some(body), Some(shown)) = (body, shown.as_object_mut()) {
        shown.insert("body".to_owned(), body);
    }
    answer(&shown)
}

/// Prints a message to standard error.
pub(super) fn message(text: &str) {
    // Without standard error the message is lost.
    writeln!(std::io::stderr().lock(), "tidegate: {text}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_has_one_element_a_line() {
        assert_eq!(lines(&json!([{"a": 1}, 2])), "{\"a\":1}\n2\n");
        assert_eq!(lines(&json!([])), "");
        assert_eq!(lines(&json!({"a": [1, 2]})), "{\"a\":[1,2]}\n");
    }
}
