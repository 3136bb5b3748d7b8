//! What a broker's topics hold, learnt from messages: which format reads them, which belong together, and the tables of the
//! configuration that would report them.
//!
//! It keeps no message, only what it has learnt, of a bounded number of topics with a bounded number of channels each.

mod family;
mod page;
mod preset;
pub mod shape;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use family::Family;
pub(crate) use page::map_entries;
pub use page::{quoted, sensors};

use preset::{Preset, is_chatter};
use shape::{Channels, Dialect};
use tidegate_ingest::decode::Births;

/// The most topics that are kept; messages on others are only counted.
pub const TOPICS_MAX: usize = 1_000;

/// The longest topic that is kept, in bytes.
const TOPIC_BYTES_MAX: usize = 512;

/// The largest message that is looked into, in bytes.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Learns from messages.
#[derive(Debug, Default)]
pub struct Learner {
    topics: BTreeMap<String, Topic>,
    births: Births,
    missed: u64,
}

/// What is known of one topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// How many messages came.
    pub messages: u64,
    /// From the first to the last.
    pub span: Duration,
    /// How all of them are written.
    pub dialect: Dialect,
    /// What they hold.
    pub channels: Channels,
    /// Whose topic it is, if that is known.
    pub preset: Option<&'static Preset>,
    /// Whether it is no measurement, but talk of a product with itself.
    pub is_chatter: bool,
    first: Instant,
}

impl Learner {
    /// Takes a message in that came at `now`. True if it is the first of its topic.
    pub fn hear(&mut self, topic: &str, payload: &[u8], now: Instant) -> bool {
        let is_known = self.topics.contains_key(topic);
        let is_odd = topic.len() > TOPIC_BYTES_MAX || payload.len() > PAYLOAD_BYTES_MAX;
        if is_odd || !is_known && self.topics.len() >= TOPICS_MAX {
            self.missed += 1;
            return false;
        }
        let entry = self.topics.entry(topic.to_owned());
        entry.or_insert_with(|| Topic::new(topic, now)).hear(topic, payload, &mut self.births, now);
        !is_known
    }

    /// The topics that were heard.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    /// How many messages were heard in all.
    pub fn messages(&self) -> u64 {
        self.missed + self.topics.values().map(|topic| topic.messages).sum::<u64>()
    }

    /// Messages that were not looked into: on topics beyond [`TOPICS_MAX`], or too long.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The topics that belong together, without talk and without what no format reads.
    pub fn families(&self) -> Vec<Family> {
        family::families(&self.topics)
    }
}

impl Topic {
    fn new(topic: &str, now: Instant) -> Self {
        let preset = Preset::of(topic);
        Self {
            messages: 0,
            span: Duration::ZERO,
            dialect: preset.map_or(Dialect::Binary, |preset| preset.dialect),
            channels: Channels::default(),
            preset,
            is_chatter: is_chatter(topic),
            first: now,
        }
    }

    fn hear(&mut self, topic: &str, payload: &[u8], births: &mut Births, now: Instant) {
        self.messages += 1;
        self.span = now.saturating_duration_since(self.first);
        if self.is_chatter || payload.is_empty() {
            return;
        }
        if self.channels.hear(topic, self.dialect, payload, births) {
            return;
        }
        if self.preset.is_some() && !self.channels.is_empty() {
            // A word between the measurements, such as "offline".
            return;
        }
        // A topic that only looks like a product's.
        self.preset = None;
        let own = Dialect::of(payload);
        let is_first = self.channels.is_empty();
        let joined = if is_first { own } else { self.dialect.join(own) };
        if joined != self.dialect {
            self.dialect = joined;
            self.channels = Channels::default();
        }
        self.channels.hear(topic, self.dialect, payload, births);
    }

    /// How often a message came, in seconds; `None` if there was one.
    pub fn period_s(&self) -> Option<f64> {
        let gaps = u32::try_from(self.messages.saturating_sub(1)).ok().filter(|gaps| *gaps > 0)?;
        Some(self.span.as_secs_f64() / f64::from(gaps))
    }
}

#[cfg(test)]
mod tests;
