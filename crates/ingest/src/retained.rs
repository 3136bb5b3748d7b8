//! Knows a retained MQTT message that was taken before: a broker sends it again with each subscription, so with each
//! connection, and its value is no news then.

use std::collections::BTreeMap;

/// Topics that are remembered. Retained messages of more are taken with each connection.
const TOPICS_MAX: usize = 4_096;

/// The last message of each topic.
#[derive(Debug, Default)]
pub struct Retained {
    digests: BTreeMap<String, u32>,
}

impl Retained {
    /// Takes a message in, with the digest of its content. `true` if it is retained and the last one of its topic.
    pub fn is_repeat(&mut self, topic: &str, digest: u32, is_retained: bool) -> bool {
        if let Some(last) = self.digests.get_mut(topic) {
            return std::mem::replace(last, digest) == digest && is_retained;
        }
        if self.digests.len() < TOPICS_MAX {
            self.digests.insert(topic.to_owned(), digest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retained_message_is_taken_once_and_again_when_it_changes() {
        let mut retained = Retained::default();
        assert!(!retained.is_repeat("a", 1, true));
        assert!(retained.is_repeat("a", 1, true));
        assert!(!retained.is_repeat("b", 1, true), "another topic");
        assert!(!retained.is_repeat("a", 2, true));
        assert!(!retained.is_repeat("a", 1, true));
    }

    #[test]
    fn a_live_message_is_always_news_and_its_retained_copy_is_not() {
        let mut retained = Retained::default();
        assert!(!retained.is_repeat("a", 1, false));
        assert!(!retained.is_repeat("a", 1, false));
        assert!(retained.is_repeat("a", 1, true));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut retained = Retained::default();
        for topic in 0..5_000 {
            retained.is_repeat(&topic.to_string(), 1, true);
        }
        assert_eq!(retained.digests.len(), TOPICS_MAX);
        assert!(!retained.is_repeat("4999", 1, true));
    }
}
