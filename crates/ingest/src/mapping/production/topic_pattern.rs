//! A topic whose wildcard levels are placeholders, to learn what a template makes of them.

use minijinja::Value;

use tidegate_model::topic::TopicFilter;

/// The characters that stand for wildcard levels: the private use area of Unicode, which no topic
/// of a real device contains.
const PLACEHOLDERS: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{f8ff}';

/// The levels of a topic. A level with a wildcard is a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicPattern(Vec<String>);

impl TopicPattern {
    /// Returns the pattern of one topic.
    pub(super) fn of_topic(topic: &str) -> Self {
        Self(topic.split('/').map(str::to_owned).collect())
    }

    /// Returns the pattern of all topics that match a filter. Levels beyond `#` are left out.
    pub(super) fn of_filter(filter: &TopicFilter) -> Self {
        let level = |(index, level): (usize, &str)| match level {
            "+" | "#" => placeholder(index).to_string(),
            _ => level.to_owned(),
        };
        Self(filter.as_str().split('/').enumerate().map(level).collect())
    }

    /// Returns the data for the templates of a channel.
    pub(super) fn context(&self, channel: &str) -> Value {
        minijinja::context! { topic => self.0.clone(), channel => channel }
    }

    /// Returns the topics for which a template that yielded `rendered` yields `name`: at most one
    /// level is replaced. `None` if there are none.
    pub(super) fn fitted(&self, rendered: &str, name: &str) -> Option<Self> {
        let (before, after) = rendered.split_once(is_placeholder)?;
        let found = rendered.chars().find(|letter| is_placeholder(*letter))?;
        let word = name.strip_prefix(before)?.strip_suffix(after)?;
        let level = self.0.iter().position(|level| level.starts_with(found))?;
        if word.is_empty() || word.contains('/') {
            return None;
        }
        let mut fitted = self.clone();
        word.clone_into(fitted.0.get_mut(level)?);
        Some(fitted)
    }
}

/// Returns whether a text depends on a wildcard level.
pub(super) fn has_placeholder(text: &str) -> bool {
    text.contains(is_placeholder)
}

fn is_placeholder(letter: char) -> bool {
    PLACEHOLDERS.contains(&letter)
}

fn placeholder(index: usize) -> char {
    let offset = u32::try_from(index).unwrap_or(u32::MAX);
    let code = u32::from(*PLACEHOLDERS.start()).saturating_add(offset);
    char::from_u32(code).filter(|letter| is_placeholder(*letter)).unwrap_or('\u{f8ff}')
}
