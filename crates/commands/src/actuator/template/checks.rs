//! The checks that several kinds of write share.

use super::{Variables, WriteError};
use tidegate_model::Command;
use tidegate_model::excerpt::excerpt;
use tidegate_template::Template;

/// The longest MQTT payload or HTTP body, in bytes: far above any command, far below MQTT's 256 MB.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The longest argument of a program and the longest URL, in bytes.
const ARGUMENT_BYTES_MAX: usize = 8 * 1024;

/// Refuses more than `bytes_max` bytes.
pub(super) fn check_length(bytes: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, WriteError> {
    let length = bytes.len();
    if length <= bytes_max {
        Ok(bytes)
    } else {
        Err(WriteError::TooLong { bytes: length, bytes_max })
    }
}

/// Renders a payload or body of at most [`MESSAGE_BYTES_MAX`].
pub(super) fn message(
    template: &Template,
    variables: &Variables<'_>,
) -> Result<Vec<u8>, WriteError> {
    check_length(template.render(variables)?.into_bytes(), MESSAGE_BYTES_MAX)
}

/// Renders a text of at most [`ARGUMENT_BYTES_MAX`].
pub(super) fn text(template: &Template, variables: &Variables<'_>) -> Result<String, WriteError> {
    let text = template.render(variables)?;
    let bytes = text.len();
    if bytes <= ARGUMENT_BYTES_MAX {
        Ok(text)
    } else {
        Err(WriteError::TooLong { bytes, bytes_max: ARGUMENT_BYTES_MAX })
    }
}

/// Refuses a topic, URL or path with more or fewer levels than its template.
///
/// A `/` in an argument must not choose another branch than the owner of the template did.
pub(super) fn check_levels(template: &Template, rendered: &str) -> Result<(), WriteError> {
    let source = template.to_string();
    let literals = source.split("{{").enumerate().map(|(index, piece)| match index {
        0 => piece,
        _ => piece.split_once("}}").map_or("", |(_, literal)| literal),
    });
    let levels: usize = literals.map(|literal| literal.matches('/').count()).sum();
    if levels == rendered.matches('/').count() {
        Ok(())
    } else {
        Err(WriteError::Levels { text: excerpt(rendered.as_bytes()) })
    }
}

/// Refuses a command with a control character in any text, whether the template uses it or not.
///
/// Control characters of the template, such as the line end, belong to its owner and stay.
pub(super) fn check_control_characters(command: &Command) -> Result<(), WriteError> {
    match find_control(&command.payload).or_else(|| with_control(&command.name)) {
        Some(text) => Err(WriteError::ControlCharacter { excerpt: excerpt(text.as_bytes()) }),
        None => Ok(()),
    }
}

/// Returns the first text or key with a control character.
///
/// The recursion is bounded: JSON is parsed to a depth of 128 at most.
fn find_control(json: &serde_json::Value) -> Option<&str> {
    match json {
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => None,
        serde_json::Value::String(text) => with_control(text),
        serde_json::Value::Array(items) => items.iter().find_map(find_control),
        serde_json::Value::Object(members) => members
            .iter()
            .find_map(|(key, value)| with_control(key).or_else(|| find_control(value))),
    }
}

/// Returns `text` if it has a control character.
fn with_control(text: &str) -> Option<&str> {
    text.contains(char::is_control).then_some(text)
}
