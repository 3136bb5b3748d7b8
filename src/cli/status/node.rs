//! Access to the members of the status document, which an older daemon may not have.

use serde_json::{Map, Value};

use crate::status::span;

/// A node of the document.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(pub(super) &'a Value);

impl<'a> Node<'a> {
    pub(super) fn at(self, pointer: &str) -> Node<'a> {
        Node(self.0.pointer(pointer).unwrap_or(&Value::Null))
    }

    pub(super) fn number(self, pointer: &str) -> Option<u64> {
        self.at(pointer).0.as_u64()
    }

    pub(super) fn count(self, pointer: &str) -> u64 {
        self.number(pointer).unwrap_or_default()
    }

    pub(super) fn rate(self, pointer: &str) -> f64 {
        self.at(pointer).0.as_f64().unwrap_or_default()
    }

    /// Returns a text without control characters, which could change the terminal.
    pub(super) fn text(self, pointer: &str) -> Option<String> {
        let text = self.at(pointer).0.as_str()?;
        Some(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect())
    }

    pub(super) fn is(self, pointer: &str) -> Option<bool> {
        self.at(pointer).0.as_bool()
    }

    /// Formats the duration at `pointer`, which is in seconds.
    pub(super) fn span(self, pointer: &str) -> Option<String> {
        self.number(pointer).map(span)
    }

    pub(super) fn members(self, pointer: &str) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        let members = self.at(pointer).0.as_object().into_iter().flat_map(Map::iter);
        members.map(|(name, member)| (name.as_str(), Node(member)))
    }

    pub(super) fn items(self, pointer: &str) -> impl Iterator<Item = Node<'a>> {
        self.at(pointer).0.as_array().into_iter().flatten().map(Node)
    }

    /// Returns the sum of the numbers in an object.
    pub(super) fn sum(self, pointer: &str) -> u64 {
        self.members(pointer).filter_map(|(_, member)| member.0.as_u64()).sum()
    }
}

/// Formats a number with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        let numbers = [0, 999, 1_000, 123_456, 1_234_567];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
