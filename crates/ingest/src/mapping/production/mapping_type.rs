//! The type of a mapping's values, from its settings.

use std::sync::Arc;

use minijinja::value::Object;

use super::super::settings::{Mapping, Source};
use super::super::window::Aggregate;
use crate::word::WordType;
use tidegate_model::AttributeType;

/// The names that are no channels in an expression.
const NO_CHANNELS: [&str; 3] = ["payload", "topic", "written"];

impl Mapping {
    /// Returns the type of the values, if it does not depend on the messages. `channel` is the type
    /// of the channel, if it is known.
    pub(super) fn fixed_type(&self, channel: Option<AttributeType>) -> Option<AttributeType> {
        let aggregate = self.filter.window.as_ref().map(|window| window.aggregate);
        let is_computed = aggregate.is_some_and(|aggregate| aggregate != Aggregate::Last);
        if is_computed || self.conversion.needs_number() || self.filter.needs_number() {
            return Some(AttributeType::Number);
        }
        if self.conversion.values.is_empty() {
            return self.declared_type().or(channel);
        }
        let mut types = self.conversion.values.values().map(AttributeType::of);
        types.next().filter(|first| types.all(|other| other == *first))
    }

    /// Returns the type that the mapping declares for the word of its channel.
    fn declared_type(&self) -> Option<AttributeType> {
        Some(match self.conversion.words.word_type? {
            WordType::Text => AttributeType::Text,
            WordType::Number | WordType::Hex => AttributeType::Number,
            WordType::Boolean => AttributeType::Boolean,
        })
    }

    /// Returns the type that the values have if the channels of an expression are numbers.
    pub(super) fn likely_type(&self) -> Option<AttributeType> {
        if let Some(value) = self.conversion.values.values().next() {
            return Some(AttributeType::of(value));
        }
        let Source::Expression(expression) = &self.source else { return None };
        let value = expression.evaluate(&minijinja::Value::from_object(Numbers)).ok()??;
        Some(AttributeType::of(&value))
    }
}

/// A context in which each channel is a number.
#[derive(Debug)]
struct Numbers;

impl Object for Numbers {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let is_channel = !NO_CHANNELS.contains(&key.as_str()?);
        is_channel.then(|| minijinja::Value::from(2.5))
    }
}
