//! Filters retained MQTT messages that the broker sends again.
//!
//! A broker sends the retained message of a topic with each subscription, so with each connection.
//! After the first time it is not a new message.

use std::collections::BTreeMap;

/// The most topics to remember. Retained messages of further topics pass with each connection.
const TOPICS_MAX: usize = 4_096;

/// The most bytes of these topics: 256 for each. A topic of MQTT can have 65,535.
const TOPIC_BYTES_MAX: usize = 256 * TOPICS_MAX;

/// Remembers the last message of each topic.
#[derive(Debug, Default)]
pub struct RetainedFilter {
    digests: BTreeMap<String, u32>,
    /// The sum of the bytes of the topics.
    bytes: usize,
}

impl RetainedFilter {
    /// Records a message with the digest of its content.
    ///
    /// Returns whether to drop it: it is retained and equal to the last message of its topic.
    pub fn handle_message(&mut self, topic: &str, digest: u32, is_retained: bool) -> bool {
        if let Some(last) = self.digests.get_mut(topic) {
            return std::mem::replace(last, digest) == digest && is_retained;
        }
        let bytes = self.bytes + topic.len();
        if self.digests.len() < TOPICS_MAX && bytes <= TOPIC_BYTES_MAX {
            self.bytes = bytes;
            self.digests.insert(topic.to_owned(), digest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_a_retained_message_once_and_after_a_change() {
        let mut retained = RetainedFilter::default();
        assert!(!retained.handle_message("a", 1, true));
        assert!(retained.handle_message("a", 1, true));
        assert!(!retained.handle_message("b", 1, true), "another topic");
        assert!(!retained.handle_message("a", 2, true));
        assert!(!retained.handle_message("a", 1, true));
    }

    #[test]
    fn passes_live_messages_and_drops_their_retained_copy() {
        let mut retained = RetainedFilter::default();
        assert!(!retained.handle_message("a", 1, false));
        assert!(!retained.handle_message("a", 1, false));
        assert!(retained.handle_message("a", 1, true));
    }

    #[test]
    fn limits_the_number_of_topics() {
        let mut retained = RetainedFilter::default();
        for topic in 0..5_000 {
            retained.handle_message(&topic.to_string(), 1, true);
        }
        assert_eq!(retained.digests.len(), TOPICS_MAX);
        assert!(!retained.handle_message("4999", 1, true));
    }

    #[test]
    fn limits_the_bytes_of_topics() {
        let mut retained = RetainedFilter::default();
        for topic in 0..100 {
            retained.handle_message(&format!("{topic}{}", "x".repeat(65_000)), 1, true);
        }
        assert_eq!(retained.digests.len(), TOPIC_BYTES_MAX / 65_002);
        assert_eq!(retained.bytes, retained.digests.keys().map(String::len).sum::<usize>());
    }
}
