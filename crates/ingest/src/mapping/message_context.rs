//! The data of a message for templates and expressions.
//!
//! Templates and expressions see `payload`, `topic` (a list of its levels), each channel with its
//! own name, and `written`, which has all values as texts, as they stood in the message. A template
//! also sees `channel`. It yields a name, so it sees `0012` as a text, not as a number.
//!
//! The context for the engine is built at most once for each message, and has only the names that
//! the sensor uses.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use minijinja::Value;
use minijinja::value::{Serde, merge_maps};

use super::settings::{AttributeSelector, DeviceSelector, Sensor, Source};
use crate::decode::{Decoded, is_whole};
use tidegate_template::{PathStep, Template, TemplateError, ValuePath};

/// The names that the templates and the expressions of a sensor use.
#[derive(Debug, Default)]
pub(super) struct ContextNames(BTreeSet<String>);

/// One message of a sensor.
pub(super) struct MessageContext<'a> {
    topic: &'a str,
    decoded: &'a Decoded,
    names: &'a ContextNames,
    expressions: OnceCell<Value>,
    templates: OnceCell<Value>,
}

impl ContextNames {
    /// Returns the names that a sensor uses.
    pub(super) fn of(sensor: &Sensor) -> Self {
        let mut names = BTreeSet::new();
        if let DeviceSelector::ByTemplate(template) = &sensor.device {
            names.extend(template.variables().iter().cloned());
        }
        for mapping in &sensor.map {
            if let Source::Expression(expression) = &mapping.source {
                names.extend(expression.variables().iter().cloned());
            }
            if let AttributeSelector::ByTemplate(template) = &mapping.attribute {
                names.extend(template.variables().iter().cloned());
            }
        }
        Self(names)
    }
}

impl<'a> MessageContext<'a> {
    /// Creates the context of a message. `names` are those of its sensor.
    pub(super) fn new(topic: &'a str, decoded: &'a Decoded, names: &'a ContextNames) -> Self {
        let (expressions, templates) = (OnceCell::new(), OnceCell::new());
        Self { topic, decoded, names, expressions, templates }
    }

    /// Returns the data for expressions.
    pub(super) fn expressions(&self) -> &Value {
        self.expressions.get_or_init(|| self.build(false))
    }

    /// Renders a template for a channel.
    ///
    /// # Errors
    /// If the message lacks a value that the template uses.
    pub(super) fn render<'c>(
        &self,
        template: &Template,
        channel: &'c str,
    ) -> Result<Cow<'c, str>, TemplateError>
    where
        'a: 'c,
    {
        if let Some(text) = template.fill(|path| self.find(path, channel)) {
            return Ok(text);
        }
        let context = self.templates.get_or_init(|| self.build(true)).clone();
        let context = if template.uses(CHANNEL) {
            merge_maps([context, minijinja::context! { channel => channel }])
        } else {
            context
        };
        template.render_value(context).map(Cow::Owned)
    }

    /// Returns the text of a value, if it is known without the engine.
    fn find<'c>(&self, path: &ValuePath, channel: &'c str) -> Option<Cow<'c, str>>
    where
        'a: 'c,
    {
        let ValuePath { name, steps } = path;
        match (name.as_str(), steps.as_slice()) {
            (CHANNEL, []) => Some(Cow::Borrowed(channel)),
            ("topic", [PathStep::Index(index)]) => {
                let level = usize::try_from(*index).map_or_else(
                    |_| {
                        let from_end = usize::try_from(index.unsigned_abs()).ok()?;
                        self.topic.rsplit('/').nth(from_end.checked_sub(1)?)
                    },
                    |index| self.topic.split('/').nth(index),
                );
                level.map(Cow::Borrowed)
            }
            ("payload", steps) => self.decoded.text_at(steps),
            (CHANNEL | "topic" | "written", _) => None,
            (name, []) => self.decoded.text_of(name),
            (_, _) => None,
        }
    }

    fn build(&self, is_for_templates: bool) -> Value {
        let is_map = self.decoded.is_map();
        let payload = OnceCell::new();
        let payload = || payload.get_or_init(|| Value::from(Serde(self.decoded))).clone();
        let mut context: BTreeMap<String, Value> = BTreeMap::new();
        for name in &self.names.0 {
            let value = match name.as_str() {
                "topic" => Some(self.topic.split('/').map(Value::from).collect::<Vec<_>>().into()),
                "payload" if is_for_templates && is_map => Some(self.with_names(payload())),
                "payload" => Some(payload()),
                "written" => Some(self.decoded.all_written()),
                name if is_for_templates => self
                    .decoded
                    .original_texts()
                    .get(name)
                    .filter(|text| is_whole(text))
                    .map(|text| Value::from(text.as_str()))
                    .or_else(|| self.decoded.member(name)),
                name => self.decoded.member(name),
            };
            if let Some(value) = value {
                context.insert(name.clone(), value);
            }
        }
        context.into()
    }

    /// Returns the payload with the original texts of whole numbers in place of their values.
    fn with_names(&self, payload: Value) -> Value {
        let texts = self.decoded.original_texts();
        if texts.is_empty() {
            return payload;
        }
        let texts = texts.iter().filter(|(_, text)| is_whole(text));
        let texts = texts.map(|(name, text)| (name.clone(), Value::from(text.as_str())));
        let texts = Value::from(texts.collect::<BTreeMap<String, Value>>());
        merge_maps([payload, texts])
    }
}

/// The name of the channel in the context of a template.
pub(super) const CHANNEL: &str = "channel";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{sensor, template};
    use super::*;
    use crate::decode::{Births, Format, Json, KeyValue};

    /// Renders with the context, and by the engine alone.
    fn both(format: &Format, payload: &str, text: &str) -> [Option<String>; 2] {
        let mut sensor = sensor("#", Vec::new());
        sensor.device = DeviceSelector::ByTemplate(template(text));
        let names = ContextNames::of(&sensor);
        let mut births = Births::default();
        let decoded = format.decode("", payload.as_bytes(), &mut births).unwrap().remove(0);
        let context = MessageContext::new("a/b/c", &decoded, &names);
        let by_context = context.render(&template(text), "ch").ok().map(Cow::into_owned);
        let engine = merge_maps([context.build(true), minijinja::context! { channel => "ch" }]);
        [by_context, template(text).render_value(engine).ok()]
    }

    #[test]
    fn plain_values_are_those_of_the_engine() {
        let json: Format = Json::default().into();
        let payload = r#"{
            "dev": "s-07", "n": 7, "u": 18446744073709551615, "f": 21.0, "e": 1e-9, "b": true,
            "none": null, "list": ["x", [1]], "map": {"a b": "y", "z": {"k": "é"}}, "topic": "t",
            "true": "no", "channel": "no", "written": "no", "items": "yes", "length": 3
        }"#;
        for text in [
            "payload.dev",
            "payload.n",
            "payload.u",
            "payload.f",
            "payload.e",
            "payload.b",
            "payload.none",
            "payload.list",
            "payload.list[0]",
            "payload.list[-1]",
            "payload.list[1][0]",
            "payload.list[9]",
            "payload.map['a b']",
            "payload.map.z.k",
            "payload.map.z",
            "payload.missing",
            "payload.dev.x",
            "payload.dev[0]",
            "payload",
            "dev",
            "map",
            "map.z.k",
            "topic",
            "topic[0]",
            "topic[-1]",
            "topic[3]",
            "topic[-4]",
            "topic.x",
            "channel",
            "channel.x",
            "written.dev",
            "written",
            "true",
            "none",
            "items",
            "payload.items",
            "payload.length",
            "range",
            "missing",
            "loop",
            "self",
            "True",
        ] {
            for text in [format!("{{{{ {text} }}}}"), format!("a {{{{{text}}}}}_b")] {
                let [own, engine] = both(&json, payload, &text);
                assert_eq!(own, engine, "{text}");
            }
        }
        for text in ["{{ payload }}", "{{ payload[0] }}", "{{ dev }}"] {
            let [own, engine] = both(&json, r#"["x"]"#, text);
            assert_eq!(own, engine, "{text}");
        }
    }

    proptest! {
        #[test]
        fn original_texts_are_those_of_the_engine(
            word in "[-+]?0?[0-9]{1,3}([.][0-9]{1,2})?(E[0-9])?|[a-z]{1,5}",
        ) {
            for text in ["{{ payload.a }}", "{{ a }}", "{{ written.a }}"] {
                let [own, engine] = both(&KeyValue::default().into(), &format!("a={word}"), text);
                prop_assert_eq!(own, engine, "{}", text);
            }
        }
    }
}
