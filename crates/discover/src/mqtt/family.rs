//! Topics that belong together: those of a product, and those that differ in a level and are written alike.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Topic;
use super::preset::Preset;
use super::shape::{Channels, Dialect};
use tidegate_model::topic::TopicFilter;

/// What differs.
const ANY: &str = "+";

/// How many topics make a wildcard in the first level, which would let the topics of half a house in.
const FIRST_LEVEL_MEMBERS_MIN: usize = 3;

/// Topics that one sensor reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The levels of the filter.
    pub levels: Vec<String>,
    /// Its topics.
    pub topics: Vec<String>,
    /// Their messages.
    pub messages: u64,
    /// From the first to the last message, of the topic where that was longest.
    pub span: Duration,
    /// How all are written.
    pub dialect: Dialect,
    /// What they hold.
    pub channels: Channels,
    /// Whose topics they are, if that is known.
    pub preset: Option<&'static Preset>,
}

/// The families of what was heard: those of products first, then the others, by filter.
pub(super) fn families(topics: &BTreeMap<String, Topic>) -> Vec<Family> {
    let mut known: BTreeMap<&str, Family> = BTreeMap::new();
    let mut others = Vec::new();
    for (name, topic) in topics {
        if topic.is_chatter || topic.dialect.keys().is_none() || topic.channels.is_empty() {
            continue;
        }
        let family = Family::of(name, topic);
        let Some(preset) = topic.preset else {
            others.push(family);
            continue;
        };
        if let Some(first) = known.get_mut(preset.sensor) {
            first.take(family);
        } else {
            let levels = preset.filter.split('/').map(str::to_owned).collect();
            known.insert(preset.sensor, Family { levels, ..family });
        }
    }
    while let Some(merged) = merge(&others, topics) {
        others = merged;
    }
    others.sort_by(|one, two| one.levels.cmp(&two.levels));
    known.into_values().chain(others).collect()
}

impl Family {
    fn of(name: &str, topic: &Topic) -> Self {
        Self {
            levels: name.split('/').map(str::to_owned).collect(),
            topics: vec![name.to_owned()],
            messages: topic.messages,
            span: topic.span,
            dialect: topic.dialect,
            channels: topic.channels.clone(),
            preset: topic.preset,
        }
    }

    /// The filter of the subscription.
    pub fn filter(&self) -> String {
        self.levels.join("/")
    }

    /// The levels in which its topics differ.
    pub fn wildcards(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().enumerate().filter(|(_, level)| *level == ANY).map(|(index, _)| index)
    }

    /// What stands at this level in its topics.
    pub fn words_at(&self, level: usize) -> BTreeSet<&str> {
        self.topics.iter().filter_map(|topic| topic.split('/').nth(level)).collect()
    }

    fn take(&mut self, other: Self) {
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

/// Makes one family of those that differ in one level, where that joins the most; `None` if there are no such.
fn merge(families: &[Family], topics: &BTreeMap<String, Topic>) -> Option<Vec<Family>> {
    let mut candidates: BTreeMap<(Vec<String>, usize, Dialect), Vec<usize>> = BTreeMap::new();
    for (index, family) in families.iter().enumerate() {
        let depth = family.levels.len();
        for level in (0..depth).filter(|_| depth > 1) {
            let key = (family.with_any(level), level, family.dialect);
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
        let mut joined: Option<Family> = None;
        for member in members.iter().filter_map(|index| families.get(*index)) {
            match &mut joined {
                None => joined = Some(Family { levels: levels.clone(), ..member.clone() }),
                Some(joined) if joined.channels.resembles(&member.channels) => {
                    joined.take(member.clone());
                }
                // Were one left out, the filter would let it in all the same.
                Some(_) => return None,
            }
        }
        let joined = joined.filter(|joined| !lets_others_in(joined, topics))?;
        let is_member = |index: &usize| members.contains(index);
        let rest = families.iter().enumerate().filter(|(index, _)| !is_member(index));
        Some(rest.map(|(_, family)| family.clone()).chain([joined]).collect())
    })
}

fn lets_others_in(family: &Family, topics: &BTreeMap<String, Topic>) -> bool {
    let Ok(filter) = family.filter().parse::<TopicFilter>() else { return true };
    let members: BTreeSet<&String> = family.topics.iter().collect();
    topics.keys().any(|topic| filter.matches(topic) && !members.contains(topic))
}
