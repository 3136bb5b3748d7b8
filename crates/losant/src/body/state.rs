//! The bodies of `sendState` and `sendCommand` (schemas `deviceStateOrStates` and `deviceCommand`).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

use super::{Text, some};
use tidegate_model::{AttributeName, WallTime};

/// A time in one of the forms that the schemas allow.
///
/// Losant silently replaces a time that it cannot parse with the time of arrival, so only
/// [`Time::from`] a [`WallTime`] is safe.
#[derive(Debug, Clone, PartialEq)]
pub enum Time {
    /// A text. ISO 8601 with three decimals and `Z` is safe.
    Text(String),
    /// Seconds or milliseconds since the epoch, or negative milliseconds relative to now
    /// (devices/state, "time").
    Number(Number),
    /// `{"$date": text}`.
    Date(String),
}

impl From<WallTime> for Time {
    fn from(timestamp: WallTime) -> Self {
        Self::Text(timestamp.to_string())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => number.serialize(serializer),
            Self::Date(text) => serializer.collect_map([("$date", text)]),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let date = || {
            let object = json.as_object().filter(|object| object.len() == 1)?;
            object.get("$date")?.as_str().map(|text| Self::Date(text.to_owned()))
        };
        let time = match &json {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => Some(Self::Number(number.clone())),
            Value::Object(_) => date(),
            Value::Null | Value::Bool(_) | Value::Array(_) => None,
        };
        let expected = "a time is a text, a number or {\"$date\": text}";
        time.ok_or_else(|| serde::de::Error::custom(expected))
    }
}

/// A value of an attribute: a number, a boolean or a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Scalar(Value);

impl From<tidegate_model::Value> for Scalar {
    fn from(value: tidegate_model::Value) -> Self {
        Self(match value {
            tidegate_model::Value::Integer(integer) => integer.into(),
            tidegate_model::Value::Float(number) => number.into(),
            tidegate_model::Value::Boolean(boolean) => boolean.into(),
            tidegate_model::Value::Text(text) => text.into(),
        })
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        match json {
            Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Self(json)),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let expected =
                    "a value is a number, true, false or a text; leave out what has none";
                Err(serde::de::Error::custom(expected))
            }
        }
    }
}

/// One state with all members that Losant accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceState {
    /// When the values were measured; default: the time of arrival.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The values.
    pub data: BTreeMap<AttributeName, Scalar>,
    /// Any JSON, for the workflows that the state triggers.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
    /// The version of the workflow that it triggers.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub flow_version: Option<Text<1, 255>>,
}

/// One or several states.
#[derive(Debug, Clone, PartialEq)]
pub enum States {
    /// Sent as an object.
    One(DeviceState),
    /// Sent as a list.
    Many(Vec<DeviceState>),
}

impl Serialize for States {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(state) => state.serialize(serializer),
            Self::Many(states) => states.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for States {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = States;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a state or a list of states")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<States, A::Error> {
                let state = serde::de::value::MapAccessDeserializer::new(map);
                DeviceState::deserialize(state).map(States::One)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<States, A::Error> {
                let states = serde::de::value::SeqAccessDeserializer::new(list);
                Vec::deserialize(states).map(States::Many)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The bytes of a body for `sendState`. A repeat has the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatesJson(pub(crate) Bytes);

impl From<&States> for StatesJson {
    fn from(states: &States) -> Self {
        Self(serde_json::to_vec(states).unwrap_or_default().into())
    }
}

impl StatesJson {
    /// Uses a body that is already a JSON list of states, as [`tidegate_model::State`] serialises
    /// them.
    pub fn from_list(body: Bytes) -> Self {
        Self(body)
    }
}

/// One command. Losant defines no id, sender or expiry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceCommand {
    /// When it was sent; default: the time of arrival.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Its name.
    pub name: Text<1, 255>,
    /// Its payload. Null differs from absent.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}
