//! A JSON document whose members are found by name and by JSON pointer.
//!
//! It keeps the order of the members, as `serde_json` does, and is cheaper to build.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use tidegate_model::{Value, ValueError};

/// The most members of an object that are compared one by one. More are sorted.
const UNSORTED_MAX: usize = 16;

/// A JSON value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum JsonValue {
    #[default]
    Null,
    Boolean(bool),
    Integer(i64),
    /// A number above the largest `i64`.
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<JsonValue>),
    Object(JsonObject),
}

/// The members of an object. No two have the same name.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct JsonObject {
    /// In the order of the document.
    members: Vec<(Box<str>, JsonValue)>,
    /// The indexes of many members by their names; empty for a few.
    sorted: Vec<usize>,
}

impl JsonValue {
    /// Returns the value at a JSON pointer (RFC 6901).
    pub(super) fn pointer(&self, pointer: &str) -> Option<&Self> {
        if pointer.is_empty() {
            return Some(self);
        }
        let tokens = pointer.strip_prefix('/')?.split('/');
        tokens.map(unescaped).try_fold(self, |value, token| value.child(&token))
    }

    /// Takes the value at a JSON pointer out of the document.
    pub(super) fn take_at(&mut self, pointer: &str) -> Option<Self> {
        let mut value = self;
        if !pointer.is_empty() {
            for token in pointer.strip_prefix('/')?.split('/') {
                let token = unescaped(token);
                value = match value {
                    Self::Object(object) => {
                        let index = object.position(&token)?;
                        object.members.get_mut(index).map(|(_, value)| value)
                    }
                    Self::List(items) => items.get_mut(index(&token)?),
                    Self::Null
                    | Self::Boolean(_)
                    | Self::Integer(_)
                    | Self::Unsigned(_)
                    | Self::Float(_)
                    | Self::Text(_) => None,
                }?;
            }
        }
        Some(std::mem::take(value))
    }

    /// Returns a member or, with a number as in a JSON pointer, an item.
    fn child(&self, token: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.get(token),
            Self::List(items) => items.get(index(token)?),
            Self::Null
            | Self::Boolean(_)
            | Self::Integer(_)
            | Self::Unsigned(_)
            | Self::Float(_)
            | Self::Text(_) => None,
        }
    }

    /// Replaces the scalars that `is_removed` selects by null.
    pub(super) fn remove_scalars(&mut self, is_removed: &impl Fn(&Self) -> bool) {
        self.change_scalars(&|scalar| {
            if is_removed(scalar) {
                *scalar = Self::Null;
            }
        });
    }

    /// Changes each value that is neither a list nor an object.
    pub(super) fn change_scalars(&mut self, change: &impl Fn(&mut Self)) {
        match self {
            Self::List(items) => items.iter_mut().for_each(|item| item.change_scalars(change)),
            Self::Object(object) => {
                object.members.iter_mut().for_each(|(_, value)| value.change_scalars(change));
            }
            Self::Null
            | Self::Boolean(_)
            | Self::Integer(_)
            | Self::Unsigned(_)
            | Self::Float(_)
            | Self::Text(_) => change(self),
        }
    }

    /// Returns the value with texts in place of its numbers and booleans.
    pub(super) fn with_texts(&self) -> Self {
        match self {
            Self::Boolean(_) | Self::Integer(_) | Self::Unsigned(_) | Self::Float(_) => {
                Self::Text(serde_json::to_string(self).unwrap_or_default())
            }
            Self::Null => Self::Null,
            Self::Text(text) => Self::Text(text.clone()),
            Self::List(items) => Self::List(items.iter().map(Self::with_texts).collect()),
            Self::Object(object) => {
                let members = &object.members;
                let members =
                    members.iter().map(|(name, value)| (name.clone(), value.with_texts()));
                Self::Object(JsonObject {
                    members: members.collect(),
                    sorted: object.sorted.clone(),
                })
            }
        }
    }

    /// Returns the object; `None` for other values.
    pub(super) fn as_object(&self) -> Option<&JsonObject> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }
}

impl JsonObject {
    fn new(members: Vec<(Box<str>, JsonValue)>) -> Self {
        let mut object = Self { members, sorted: Vec::new() };
        if object.members.len() > UNSORTED_MAX {
            object.sort();
        } else {
            object.remove_duplicates();
        }
        object
    }

    /// Returns a member by its name.
    pub(super) fn get(&self, name: &str) -> Option<&JsonValue> {
        self.members.get(self.position(name)?).map(|(_, value)| value)
    }

    /// Returns the names in the order of the document.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| &**name)
    }

    fn position(&self, name: &str) -> Option<usize> {
        if self.sorted.is_empty() {
            return self.members.iter().position(|(one, _)| **one == *name);
        }
        let at = self.sorted.binary_search_by(|index| self.name(*index).cmp(name)).ok()?;
        self.sorted.get(at).copied()
    }

    fn name(&self, index: usize) -> &str {
        self.members.get(index).map_or("", |(name, _)| name)
    }

    /// Keeps the last value of each name, in the place of the first.
    fn remove_duplicates(&mut self) {
        let mut end = 0;
        while end < self.members.len() {
            let (before, rest) = self.members.split_at_mut(end);
            let Some((name, value)) = rest.first_mut() else { return };
            match before.iter_mut().find(|(one, _)| one == name) {
                Some((_, first)) => {
                    std::mem::swap(first, value);
                    self.members.remove(end);
                }
                None => end += 1,
            }
        }
    }

    /// Sorts the indexes, and keeps the last value of each name, in the place of the first.
    fn sort(&mut self) {
        let mut sorted: Vec<usize> = (0..self.members.len()).collect();
        sorted.sort_by(|one, other| self.name(*one).cmp(self.name(*other)));
        let is_same =
            |pair: &[usize]| matches!(pair, [one, other] if self.name(*one) == self.name(*other));
        if !sorted.windows(2).any(is_same) {
            self.sorted = sorted;
            return;
        }
        let mut is_removed = vec![false; self.members.len()];
        let mut moves = Vec::new();
        for same in sorted.chunk_by(|one, other| self.name(*one) == self.name(*other)) {
            let [first, later @ ..] = same else { continue };
            moves.extend(later.last().map(|last| (*first, *last)));
            for index in later {
                if let Some(is_removed) = is_removed.get_mut(*index) {
                    *is_removed = true;
                }
            }
        }
        for (first, last) in moves {
            let last = self.members.get_mut(last).map(|(_, value)| std::mem::take(value));
            if let (Some((_, first)), Some(last)) = (self.members.get_mut(first), last) {
                *first = last;
            }
        }
        let mut removed = is_removed.into_iter();
        self.members.retain(|_| !removed.next().unwrap_or_default());
        self.sort();
    }
}

/// Returns a token of a JSON pointer as it is meant.
fn unescaped(token: &str) -> std::borrow::Cow<'_, str> {
    if token.contains('~') {
        token.replace("~1", "/").replace("~0", "~").into()
    } else {
        token.into()
    }
}

/// Returns the index that a token of a JSON pointer names.
fn index(token: &str) -> Option<usize> {
    let is_index = !token.starts_with('+') && (!token.starts_with('0') || token.len() == 1);
    token.parse().ok().filter(|_| is_index)
}

impl TryFrom<&JsonValue> for Value {
    type Error = ValueError;

    fn try_from(json: &JsonValue) -> Result<Self, ValueError> {
        match json {
            JsonValue::Boolean(boolean) => Ok(Self::Boolean(*boolean)),
            JsonValue::Integer(integer) => Ok(Self::Integer(*integer)),
            #[expect(clippy::cast_precision_loss, reason = "no integer of 64 bits has its value")]
            JsonValue::Unsigned(number) => Self::float(*number as f64),
            JsonValue::Float(number) => Self::float(*number),
            JsonValue::Text(text) => Self::text(text.as_str()),
            JsonValue::Null | JsonValue::List(_) | JsonValue::Object(_) => {
                Err(ValueError::NotScalar)
            }
        }
    }
}

impl Serialize for JsonValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(boolean) => serializer.serialize_bool(*boolean),
            Self::Integer(integer) => serializer.serialize_i64(*integer),
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Object(object) => {
                serializer.collect_map(object.members.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

/// Builds a [`JsonValue`]. The parser limits its depth.
struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = JsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<JsonValue, E> {
        Ok(JsonValue::Null)
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<JsonValue, E> {
        Ok(JsonValue::Boolean(boolean))
    }

    fn visit_i64<E>(self, integer: i64) -> Result<JsonValue, E> {
        Ok(JsonValue::Integer(integer))
    }

    fn visit_u64<E>(self, number: u64) -> Result<JsonValue, E> {
        Ok(i64::try_from(number).map_or(JsonValue::Unsigned(number), JsonValue::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<JsonValue, E> {
        Ok(JsonValue::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonValue, E> {
        Ok(JsonValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<JsonValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(JsonValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<JsonValue, A::Error> {
        let mut list = Vec::new();
        while let Some(name) = members.next_key::<Box<str>>()? {
            list.push((name, members.next_value()?));
        }
        Ok(JsonValue::Object(JsonObject::new(list)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both(text: &str) -> (JsonValue, serde_json::Value) {
        (serde_json::from_str(text).unwrap(), serde_json::from_str(text).unwrap())
    }

    fn assert_same(text: &str) {
        let (own, other) = both(text);
        assert_eq!(serde_json::to_string(&own).unwrap(), other.to_string(), "{text}");
        for pointer in ["", "/a", "/a/0", "/b/a", "/0", "/a~1b", "/~01", "/a/00", "/a/-1", "a"] {
            let (found, expected) = (own.pointer(pointer), other.pointer(pointer));
            let json = |value: &JsonValue| serde_json::to_value(value).unwrap();
            assert_eq!(found.map(json), expected.cloned(), "{text} {pointer}");
            let value = |json: &serde_json::Value| Value::try_from(json);
            assert_eq!(found.map(Value::try_from), expected.map(value), "{text} {pointer}");
            let taken = own.clone().take_at(pointer);
            assert_eq!(taken.as_ref(), found, "{text} {pointer}");
        }
        let names = own.as_object().map(|object| object.names().collect::<Vec<_>>());
        let expected = other.as_object().map(|object| object.keys().collect::<Vec<_>>());
        assert_eq!(names.is_some(), expected.is_some());
        assert!(names.into_iter().flatten().eq(expected.into_iter().flatten()), "{text}");
    }

    #[test]
    fn reads_documents_as_the_library_does() {
        for text in [
            "null",
            "-0",
            "-0.0",
            "18446744073709551615",
            "9223372036854775808",
            "-9223372036854775808",
            "1e3",
            r#"[1,[2,{"a":[3]}]]"#,
            r#"{"a":[1,2],"b":{"a":null},"a/b":1,"~1":"é\n\u00e9"}"#,
            r#"{"a":1,"b":2,"a":[3],"b":{"a":4}}"#,
        ] {
            assert_same(text);
        }
        assert!(serde_json::from_str::<JsonValue>(&"[".repeat(1_000)).is_err());
        assert!(serde_json::from_str::<JsonValue>("1e999").is_err());
    }

    proptest! {
        #[test]
        fn last_value_of_a_name_counts(names in prop::collection::vec("[a-f]{1,2}|a|0", 0..60)) {
            let members = names.iter().enumerate().map(|(at, name)| format!("{name:?}:[{at}]"));
            assert_same(&format!("{{{}}}", members.collect::<Vec<_>>().join(",")));
        }
    }
}
