//! Infers the sensors of a broker from its messages: formats, topic groups, and configuration.
//!
//! It stores no message, only the findings for a bounded number of topics and channels.

mod preset;
pub mod shape;
mod tables;
mod topic_group;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) use tables::map_entries;
pub use tables::{quoted, sensors};
pub use topic_group::TopicGroup;

use preset::{Preset, is_internal};
use shape::{Channels, DetectedFormat};
use tidegate_ingest::decode::Births;

/// The most topics that are recorded. Messages on other topics are only counted.
pub const TOPICS_MAX: usize = 1_000;

/// The longest topic that is recorded, in bytes.
const TOPIC_BYTES_MAX: usize = 512;

/// The largest message that is decoded, in bytes.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Collects the findings of all topics.
#[derive(Debug, Default)]
pub struct TopicSurvey {
    topics: BTreeMap<String, Topic>,
    births: Births,
    ignored: u64,
}

/// The findings of one topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// The number of messages.
    pub messages: u64,
    /// The time from the first to the last message.
    pub span: Duration,
    /// The format of all messages.
    pub format: DetectedFormat,
    /// The channels of all messages.
    pub channels: Channels,
    /// The product whose topic it is.
    pub preset: Option<&'static Preset>,
    /// Whether a product uses the topic internally, without measurements.
    pub is_internal: bool,
    first: Instant,
}

impl TopicSurvey {
    /// Records a message. Returns whether it is the first one of its topic.
    pub fn handle_message(&mut self, topic: &str, payload: &[u8], now: Instant) -> bool {
        let is_known = self.topics.contains_key(topic);
        let is_oversize = topic.len() > TOPIC_BYTES_MAX || payload.len() > PAYLOAD_BYTES_MAX;
        if is_oversize || !is_known && self.topics.len() >= TOPICS_MAX {
            self.ignored += 1;
            return false;
        }
        let entry = self.topics.entry(topic.to_owned());
        let entry = entry.or_insert_with(|| Topic::new(topic, now));
        entry.handle_message(topic, payload, &mut self.births, now);
        !is_known
    }

    /// Returns the recorded topics.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    /// Returns the number of all messages.
    pub fn messages(&self) -> u64 {
        self.ignored + self.topics.values().map(|topic| topic.messages).sum::<u64>()
    }

    /// Returns the number of messages that were too long or on topics beyond [`TOPICS_MAX`].
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Groups the topics that one sensor can read. Omits internal topics and unknown formats.
    pub fn topic_groups(&self) -> Vec<TopicGroup> {
        topic_group::topic_groups(&self.topics)
    }
}

impl Topic {
    fn new(topic: &str, now: Instant) -> Self {
        let preset = Preset::of(topic);
        Self {
            messages: 0,
            span: Duration::ZERO,
            format: preset.map_or(DetectedFormat::Binary, |preset| preset.format),
            channels: Channels::default(),
            preset,
            is_internal: is_internal(topic),
            first: now,
        }
    }

    fn handle_message(&mut self, topic: &str, payload: &[u8], births: &mut Births, now: Instant) {
        self.messages += 1;
        self.span = now.saturating_duration_since(self.first);
        if self.is_internal || payload.is_empty() {
            return;
        }
        if self.channels.record(topic, self.format, payload, births) {
            return;
        }
        if self.preset.is_some() && !self.channels.is_empty() {
            // A status between the measurements, such as "offline".
            return;
        }
        // The topic only resembles that of a product.
        self.preset = None;
        let own = DetectedFormat::detect(payload);
        let is_first = self.channels.is_empty();
        let joined = if is_first { own } else { self.format.join(own) };
        if joined != self.format {
            self.format = joined;
            self.channels = Channels::default();
        }
        self.channels.record(topic, self.format, payload, births);
    }

    /// Returns the mean interval between messages, in seconds; `None` with one message.
    pub fn period_s(&self) -> Option<f64> {
        let gaps = u32::try_from(self.messages.saturating_sub(1)).ok().filter(|gaps| *gaps > 0)?;
        Some(self.span.as_secs_f64() / f64::from(gaps))
    }
}

#[cfg(test)]
mod tests;
