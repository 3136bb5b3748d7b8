//! MQTT topics and topic filters (MQTT 3.1.1, section 4.7).

use std::fmt;
use std::str::FromStr;

use crate::excerpt::excerpt;

/// The longest topic or filter, in bytes (MQTT 3.1.1, section 1.5.3).
const TOPIC_BYTES_MAX: usize = 65_535;

/// Matches topics against a filter.
///
/// The filter has levels between `/`. `+` matches any one level, and `#`, at the end, matches any
/// number of levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter(String);

/// Lists the reasons why a text is not a topic or topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The text is empty.
    #[error("the topic is empty; it needs at least one character")]
    Empty,
    /// The length does not fit into MQTT's two bytes.
    #[error("the topic has {bytes} bytes; MQTT allows at most {TOPIC_BYTES_MAX}")]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// A character for which a broker may close the connection.
    #[error(
        "topic \"{topic}\" holds {character:?}; a broker may refuse control characters and \
         non-characters (MQTT 3.1.1, section 1.5.3)"
    )]
    Character {
        /// The beginning of the topic.
        topic: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// `#` is not the last level, or `+` is not alone in its level.
    #[error(
        "topic filter \"{filter}\": + must be alone in its level, and # alone in the last one, \
         as in sensors/+/climate/#"
    )]
    WildcardPlace {
        /// The beginning of the filter.
        filter: String,
    },
    /// The filter is a `$share/…` filter. Its messages arrive without that prefix, and brokers
    /// distribute them over several clients.
    #[error(
        "topic filter \"{filter}\" is a shared subscription; \
         subscribe to the part after $share/GROUP/"
    )]
    Shared {
        /// The beginning of the filter.
        filter: String,
    },
    /// A topic to publish to contains a wildcard.
    #[error(
        "topic \"{topic}\" holds + or #; a message is published to one topic, without wildcards"
    )]
    Wildcard {
        /// The beginning of the topic.
        topic: String,
    },
}

/// Checks that a message can be published to `topic`.
///
/// # Errors
/// If the topic is not valid for a message.
pub fn check_topic(topic: &str) -> Result<(), TopicError> {
    check_text(topic)?;
    if topic.contains(['+', '#']) {
        return Err(TopicError::Wildcard { topic: excerpt(topic.as_bytes()) });
    }
    Ok(())
}

impl TopicFilter {
    /// Returns whether messages on `topic` pass the filter.
    ///
    /// A wildcard in the first level does not match topics that begin with `$`, which belong to the
    /// broker (section 4.7.2).
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for expected_level in self.0.split('/') {
            match (expected_level, levels.next()) {
                // This level can be missing in the topic: a/# matches a.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (expected_level, Some(level)) if expected_level == level => {}
                (_, _) => return false,
            }
        }
        levels.next().is_none()
    }

    /// Returns the filter as the client sends it to the broker.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(filter: &str) -> Result<Self, TopicError> {
        check_text(filter)?;
        if filter.starts_with("$share/") {
            return Err(TopicError::Shared { filter: excerpt(filter.as_bytes()) });
        }
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            let is_valid = match level {
                "+" => true,
                "#" => levels.peek().is_none(),
                level => !level.contains(['+', '#']),
            };
            if !is_valid {
                return Err(TopicError::WildcardPlace { filter: excerpt(filter.as_bytes()) });
            }
        }
        Ok(Self(filter.to_owned()))
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Checks the rules for both topics and filters.
fn check_text(topic: &str) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong { bytes: topic.len() });
    }
    match topic.chars().find(|character| is_forbidden(*character)) {
        Some(character) => {
            Err(TopicError::Character { topic: excerpt(topic.as_bytes()), character })
        }
        None => Ok(()),
    }
}

/// Returns whether a character is a control character, such as NUL, or a Unicode non-character
/// (section 1.5.3).
fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_examples_of_the_standard() {
        // The examples of MQTT 3.1.1, sections 4.7.1 and 4.7.2.
        let cases = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "sport/tennis", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/uptime", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("sport", "Sport", false),
            ("sport/tennis", "sport", false),
        ];
        for (filter, topic, expected) in cases {
            let filter: TopicFilter = filter.parse().unwrap();
            assert_eq!(filter.matches(topic), expected, "{filter} on {topic}");
        }
    }

    #[test]
    fn rejects_invalid_filters() {
        for filter in
            ["", "a/#/b", "a#", "a+/b", "+a", "##", "a\0b", "a\nb", "\u{ffff}", "$share/g/a"]
        {
            assert!(filter.parse::<TopicFilter>().is_err(), "{filter:?} was accepted");
        }
        assert!("x".repeat(65_535).parse::<TopicFilter>().is_ok());
        assert!("x".repeat(65_536).parse::<TopicFilter>().is_err());
    }

    #[test]
    fn error_shows_the_filter_and_the_fix() {
        assert_eq!(
            "a/#/b".parse::<TopicFilter>().unwrap_err().to_string(),
            "topic filter \"a/#/b\": + must be alone in its level, and # alone in the last one, \
             as in sensors/+/climate/#"
        );
    }

    #[test]
    fn rejects_wildcards_in_a_topic() {
        assert_eq!(check_topic("house/pump/set"), Ok(()));
        for topic in ["", "house/+/set", "house/#", "house\n"] {
            assert!(check_topic(topic).is_err(), "{topic:?} was accepted");
        }
    }
}
