//! Groups topics that one sensor can read.
//!
//! These are the topics of a product, and topics that differ in one level and have the same format.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Topic;
use super::preset::Preset;
use super::shape::{Channels, DetectedFormat};
use tidegate_model::topic::TopicFilter;

/// The wildcard for the level in which topics differ.
const ANY: &str = "+";

/// The least number of topics for a wildcard in the first level, which matches many topics.
const FIRST_LEVEL_MEMBERS_MIN: usize = 3;

/// Topics that one sensor reads.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicGroup {
    /// The levels of the filter.
    pub levels: Vec<String>,
    /// The topics.
    pub topics: Vec<String>,
    /// The number of messages.
    pub messages: u64,
    /// The longest time from the first to the last message of a topic.
    pub span: Duration,
    /// The format of all messages.
    pub format: DetectedFormat,
    /// The channels of all messages.
    pub channels: Channels,
    /// The product whose topics they are.
    pub preset: Option<&'static Preset>,
}

/// Returns the groups: those of products first, then the others by filter.
pub(super) fn topic_groups(topics: &BTreeMap<String, Topic>) -> Vec<TopicGroup> {
    let mut known: BTreeMap<&str, TopicGroup> = BTreeMap::new();
    let mut others = Vec::new();
    for (name, topic) in topics {
        if topic.is_internal || topic.format.keys().is_none() || topic.channels.is_empty() {
            continue;
        }
        let group = TopicGroup::of(name, topic);
        let Some(preset) = topic.preset else {
            others.push(group);
            continue;
        };
        if let Some(first) = known.get_mut(preset.sensor) {
            first.merge(group);
        } else {
            let levels = preset.filter.split('/').map(str::to_owned).collect();
            known.insert(preset.sensor, TopicGroup { levels, ..group });
        }
    }
    while let Some(merged) = merge(&others, topics) {
        others = merged;
    }
    others.sort_by(|one, two| one.levels.cmp(&two.levels));
    known.into_values().chain(others).collect()
}

impl TopicGroup {
    fn of(name: &str, topic: &Topic) -> Self {
        Self {
            levels: name.split('/').map(str::to_owned).collect(),
            topics: vec![name.to_owned()],
            messages: topic.messages,
            span: topic.span,
            format: topic.format,
            channels: topic.channels.clone(),
            preset: topic.preset,
        }
    }

    /// Returns the filter of the subscription.
    pub fn filter(&self) -> String {
        self.levels.join("/")
    }

    /// Returns the levels in which its topics differ.
    pub fn wildcards(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().enumerate().filter(|(_, level)| *level == ANY).map(|(index, _)| index)
    }

    /// Returns the texts of its topics at a level.
    pub fn words_at(&self, level: usize) -> BTreeSet<&str> {
        self.topics.iter().filter_map(|topic| topic.split('/').nth(level)).collect()
    }

    fn merge(&mut self, other: Self) {
        self.topics.extend(other.topics);
        self.messages += other.messages;
        self.span = self.span.max(other.span);
        self.channels.add(&other.channels);
    }

    fn with_any(&self, level: usize) -> Vec<String> {
        let levels = self.levels.iter().enumerate();
        levels.map(|(index, word)| if index == level { ANY } else { word }.to_owned()).collect()
    }
}

/// Merges the most groups that differ in one level. Returns `None` if there are none.
fn merge(topic_groups: &[TopicGroup], topics: &BTreeMap<String, Topic>) -> Option<Vec<TopicGroup>> {
    let mut candidates: BTreeMap<(Vec<String>, usize, DetectedFormat), Vec<usize>> =
        BTreeMap::new();
    for (index, group) in topic_groups.iter().enumerate() {
        let depth = group.levels.len();
        for level in (0..depth).filter(|_| depth > 1) {
            let key = (group.with_any(level), level, group.format);
            candidates.entry(key).or_default().push(index);
        }
    }
    let mut candidates: Vec<_> = candidates.into_iter().collect();
    candidates.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    candidates.into_iter().find_map(|((levels, level, _), members)| {
        let members_min = if level == 0 { FIRST_LEVEL_MEMBERS_MIN } else { 2 };
        if members.len() < members_min {
            return None;
        }
        let mut joined: Option<TopicGroup> = None;
        for member in members.iter().filter_map(|index| topic_groups.get(*index)) {
            match &mut joined {
                None => joined = Some(TopicGroup { levels: levels.clone(), ..member.clone() }),
                Some(joined) if joined.channels.resembles(&member.channels) => {
                    joined.merge(member.clone());
                }
                // The filter would match a topic that is not a member.
                Some(_) => return None,
            }
        }
        let joined = joined.filter(|joined| !matches_others(joined, topics))?;
        let is_member = |index: &usize| members.contains(index);
        let rest = topic_groups.iter().enumerate().filter(|(index, _)| !is_member(index));
        Some(rest.map(|(_, group)| group.clone()).chain([joined]).collect())
    })
}

fn matches_others(group: &TopicGroup, topics: &BTreeMap<String, Topic>) -> bool {
    let Ok(filter) = group.filter().parse::<TopicFilter>() else { return true };
    let members: BTreeSet<&String> = group.topics.iter().collect();
    topics.keys().any(|topic| filter.matches(topic) && !members.contains(topic))
}
