//! Writes to a serial bus.

use super::checks::{check_control_characters, check_length};
use super::{Render, Variables, WriteError};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Command, Reply, Write};
use tidegate_template::Template;

/// The longest write in bytes: 4 s at 9600 baud. Small boards buffer far less.
const BYTES_MAX: usize = 4 * 1024;

/// The template of bytes for a serial bus.
#[derive(Debug, Clone, PartialEq)]
pub struct SerialTemplate {
    /// The line with its delimiter, or the bytes as hexadecimal digits.
    pub text: Template,
    /// Whether `text` renders hexadecimal digits.
    pub is_hex: bool,
    /// The lines that confirm success and failure.
    pub reply: Option<Reply>,
}

impl Render for SerialTemplate {
    fn render(&self, command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError> {
        check_control_characters(command)?;
        let text = self.text.render(variables)?;
        let bytes = if self.is_hex { decode_hex(&text)? } else { text.into_bytes() };
        let bytes = check_length(bytes, BYTES_MAX)?;
        if bytes.is_empty() {
            return Err(WriteError::Empty);
        }
        Ok(Write::Serial { bytes: bytes.into(), reply: self.reply.clone() })
    }
}

/// Decodes pairs of hexadecimal digits. Ignores ASCII whitespace.
fn decode_hex(text: &str) -> Result<Vec<u8>, WriteError> {
    let digits: Vec<char> = text.chars().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let pair = |pair: &[char]| match pair {
        [high, low] => Some((high.to_digit(16)? * 16 + low.to_digit(16)?).to_le_bytes()),
        _ => None,
    };
    let bytes = digits.chunks(2).map(|digits| pair(digits).map(|[byte, ..]| byte));
    bytes
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| WriteError::NotHex { text: excerpt(text.as_bytes()) })
}
