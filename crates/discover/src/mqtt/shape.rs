//! What messages are made of: the format that reads them all, and their channels with what their values are.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use tidegate_ingest::decode::{
    Births, Csv, Format, Json as JsonDecoder, KeyValue, Nmea, Obis, PlainText, Ruuvi, Sparkplug,
};
use tidegate_model::Value;
use tidegate_model::excerpt::line;

/// The most channels that are kept of one topic or line: more than any instrument has.
const CHANNELS_MAX: usize = 64;

/// The longest name of a channel that is kept, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// How much is kept of a text for people to see, in characters.
const EXAMPLE_CHARACTERS_MAX: usize = 40;

/// How deep objects are looked into.
const DEPTH_MAX: usize = 5;

/// How many items of a list are looked at.
const ITEMS_MAX: usize = 8;

/// How a stranger writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// A JSON object, or a list of them.
    Json {
        /// Whether it is a list.
        is_list: bool,
    },
    /// Pairs of a name and a value.
    KeyValue,
    /// Fields between delimiters.
    Csv {
        /// The delimiter.
        delimiter: u8,
        /// How many fields.
        columns: usize,
    },
    /// A sentence of NMEA 0183.
    Nmea,
    /// A telegram of a smart meter.
    Obis,
    /// An advertisement of a Ruuvi sensor.
    Ruuvi,
    /// Sparkplug B.
    Sparkplug,
    /// One value, or a text without a known form.
    Text,
    /// No text.
    Binary,
}

impl Dialect {
    /// How this message is written, as far as it tells by itself.
    pub fn of(payload: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(payload) else { return Self::Binary };
        let text = text.trim();
        if text.contains(|letter: char| letter.is_control() && !letter.is_whitespace()) {
            return Self::Binary;
        }
        match serde_json::from_str(text) {
            Ok(Json::Object(_)) => return Self::Json { is_list: false },
            Ok(Json::Array(items)) if items.first().is_some_and(Json::is_object) => {
                return Self::Json { is_list: true };
            }
            Ok(_) => return Self::Text,
            Err(_) => {}
        }
        if text.starts_with(['$', '!']) && is_read(&Nmea.into(), payload) {
            return Self::Nmea;
        }
        if is_read(&KeyValue.into(), payload) && pairs_have_names(text) {
            return Self::KeyValue;
        }
        csv(text).unwrap_or(Self::Text)
    }

    /// The format that reads both this and the other.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Binary, _) | (_, Self::Binary) => Self::Binary,
            (_, _) => Self::Text,
        }
    }

    /// The word and the keys of the configuration; `None` if no format reads it.
    pub fn keys(self) -> Option<String> {
        Some(match self {
            Self::Json { is_list: false } => "format = \"json\"\n".to_owned(),
            Self::Json { is_list: true } => "format = \"json\"\neach = \"\"\n".to_owned(),
            Self::KeyValue => "format = \"key-value\"\n".to_owned(),
            Self::Csv { delimiter: b',', .. } => "format = \"csv\"\n".to_owned(),
            Self::Csv { delimiter, .. } => {
                let delimiter = toml::Value::from(char::from(delimiter).to_string());
                format!("format = \"csv\"\ndelimiter = {delimiter}\n")
            }
            Self::Nmea => "format = \"nmea\"\n".to_owned(),
            Self::Obis => "format = \"obis\"\n".to_owned(),
            Self::Ruuvi => "format = \"ruuvi\"\n".to_owned(),
            Self::Sparkplug => "format = \"sparkplug\"\n".to_owned(),
            Self::Text => "format = \"text\"\n".to_owned(),
            Self::Binary => return None,
        })
    }

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Json { is_list: false } => "JSON",
            Self::Json { is_list: true } => "list of JSON objects",
            Self::KeyValue => "key=value",
            Self::Csv { .. } => "CSV",
            Self::Nmea => "NMEA 0183",
            Self::Obis => "OBIS codes",
            Self::Ruuvi => "Ruuvi advertisement",
            Self::Sparkplug => "Sparkplug B",
            Self::Text => "text",
            Self::Binary => "bytes",
        }
    }

    fn format(self) -> Option<Format> {
        Some(match self {
            Self::Json { is_list } => {
                JsonDecoder { array_pointer: is_list.then(String::new) }.into()
            }
            Self::KeyValue => KeyValue.into(),
            Self::Csv { delimiter, .. } => {
                Csv { columns: Vec::new(), has_header: false, delimiter }.into()
            }
            Self::Nmea => Nmea.into(),
            Self::Obis => Obis.into(),
            Self::Ruuvi => Ruuvi.into(),
            Self::Sparkplug => Sparkplug { rebirth: false }.into(),
            Self::Text => PlainText.into(),
            Self::Binary => return None,
        })
    }
}

/// What a value is, in the words of Losant's attribute types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// `LATITUDE,LONGITUDE`.
    Gps,
    /// Any other text.
    Text,
}

impl ValueKind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Integer(_) | Value::Float(_) => Self::Number,
            Value::Boolean(_) => Self::Boolean,
            Value::Text(text) if is_position(text) => Self::Gps,
            Value::Text(_) => Self::Text,
        }
    }

    /// Losant's word (devices/attributes).
    pub fn word(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Gps => "gps",
            Self::Text => "string",
        }
    }
}

/// A channel that was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// As `channel` in the configuration names it.
    pub name: String,
    /// What all its values were; a text where they differed.
    pub kind: ValueKind,
    /// The last one; of a text how its first line begins.
    pub example: String,
}

impl Channel {
    fn see(&mut self, kind: ValueKind) {
        if self.kind != kind {
            self.kind = ValueKind::Text;
        }
    }
}

/// The channels that were heard, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Channels(Vec<Channel>);

impl Channels {
    /// Takes the channels of a message in. False if it is not written in this dialect.
    pub fn hear(
        &mut self,
        topic: &str,
        dialect: Dialect,
        payload: &[u8],
        births: &mut Births,
    ) -> bool {
        let Some(format) = dialect.format() else { return false };
        let Ok(messages) = format.decode(topic, payload, births) else { return false };
        for message in messages.iter().take(ITEMS_MAX) {
            if let Dialect::Json { .. } = dialect {
                // A message of JSON serializes as the document that it is.
                let document = serde_json::to_value(message).unwrap_or_default();
                self.flatten("", &document, 0);
                continue;
            }
            for name in message.names() {
                if let Some(Ok(value)) = message.channel(name) {
                    self.note(name, &value);
                }
            }
        }
        true
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.0.iter()
    }

    /// Whether at least half of the channels are those of the other, and all of them of the same kind.
    pub fn resembles(&self, other: &Self) -> bool {
        let shared = self.iter().filter(|one| other.get(&one.name).is_some()).count();
        let same = |one: &Channel| other.get(&one.name).is_none_or(|two| two.kind == one.kind);
        shared * 2 >= self.0.len().max(other.0.len()) && self.iter().all(same)
    }

    /// Takes all channels of another in.
    pub fn add(&mut self, other: &Self) {
        for channel in other.iter() {
            if let Some(known) = self.0.iter_mut().find(|one| one.name == channel.name) {
                known.see(channel.kind);
            } else if self.0.len() < CHANNELS_MAX {
                self.0.push(channel.clone());
            }
        }
    }

    /// The same channels, which were called by their index, by these names.
    #[must_use]
    pub fn renamed(&self, names: &[String]) -> Self {
        let name = |one: &Channel| names.get(one.name.parse::<usize>().ok()?).cloned();
        let renamed = |one: &Channel| {
            let name = name(one).unwrap_or_else(|| one.name.clone());
            Channel { name, ..one.clone() }
        };
        Self(self.iter().map(renamed).collect())
    }

    /// Forgets the channels that only tell more of another, such as `CODE.unit` and `CODE.0` of `CODE`.
    pub fn forget_details(&mut self) {
        let names: BTreeSet<_> = self.iter().map(|one| one.name.clone()).collect();
        let is_detail =
            |name: &str| name.rsplit_once('.').is_some_and(|(whole, _)| names.contains(whole));
        self.0.retain(|one| !is_detail(&one.name));
    }

    /// Adds a number.
    pub fn add_number(&mut self, name: &str, number: i64) {
        self.note(name, &Value::Integer(number));
    }

    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A channel by its name.
    pub fn get(&self, name: &str) -> Option<&Channel> {
        self.iter().find(|channel| channel.name == name)
    }

    fn flatten(&mut self, pointer: &str, json: &Json, depth: usize) {
        match json {
            Json::Object(members) if depth < DEPTH_MAX => {
                for (key, value) in members {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    self.flatten(&format!("{pointer}/{key}"), value, depth + 1);
                }
            }
            Json::Array(items) if depth < DEPTH_MAX => {
                for (index, value) in items.iter().take(ITEMS_MAX).enumerate() {
                    self.flatten(&format!("{pointer}/{index}"), value, depth + 1);
                }
            }
            Json::Null | Json::Object(_) | Json::Array(_) => {}
            Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                let key = pointer.strip_prefix('/').filter(|key| is_plain(key));
                if let Ok(value) = Value::try_from(json) {
                    self.note(key.unwrap_or(pointer), &value);
                }
            }
        }
    }

    fn note(&mut self, name: &str, value: &Value) {
        let kind = ValueKind::of(value);
        let example = match value {
            Value::Text(text) => line(text.as_bytes()),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {
                serde_json::to_string(value).unwrap_or_default()
            }
        };
        let example: String = example.chars().take(EXAMPLE_CHARACTERS_MAX).collect();
        if let Some(known) = self.0.iter_mut().find(|channel| channel.name == name) {
            known.see(kind);
            known.example = example;
        } else if self.0.len() < CHANNELS_MAX && name.len() <= NAME_BYTES_MAX {
            self.0.push(Channel { name: name.to_owned(), kind, example });
        }
    }
}

/// A key of the top level that needs no pointer.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key != "*" && !key.contains(['/', '~'])
}

fn is_read(format: &Format, payload: &[u8]) -> bool {
    format.decode("", payload, &mut Births::default()).is_ok()
}

/// Names begin with a letter, so that `12:30:15` is none with a value. A tab between two words may as well be a header's.
fn pairs_have_names(text: &str) -> bool {
    if !text.contains(['=', ':']) && csv(text).is_none() {
        return false;
    }
    let pairs = text.split([' ', '\t', ',', ';']).filter(|pair| !pair.is_empty());
    pairs
        .filter(|pair| pair.contains(['=', ':']))
        .all(|pair| pair.starts_with(|letter: char| letter.is_alphabetic() || letter == '_'))
}

/// Some fields, one of them a number: a sentence with a comma has none.
fn csv(text: &str) -> Option<Dialect> {
    let delimiters = [b';', b'\t', b','];
    delimiters.into_iter().find_map(|delimiter| {
        let fields: Vec<_> = text.split(char::from(delimiter)).map(str::trim).collect();
        let is_number = |field: &&str| field.parse::<f64>().is_ok_and(f64::is_finite);
        let dialect = Dialect::Csv { delimiter, columns: fields.len() };
        (fields.len() > 1 && !text.contains('\n') && fields.iter().any(is_number))
            .then_some(dialect)
            .filter(|_| !is_position(text))
    })
}

/// `LATITUDE,LONGITUDE` in degrees with decimals, as Losant's gps attributes take it (devices/attributes, "gps").
fn is_position(text: &str) -> bool {
    let degrees = |text: &str, max: f64| {
        text.contains('.') && text.trim().parse().is_ok_and(|number: f64| number.abs() <= max)
    };
    let parts = text.split_once(',');
    parts.is_some_and(|(latitude, longitude)| degrees(latitude, 90.0) && degrees(longitude, 180.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(payload: &str) -> Vec<(String, ValueKind)> {
        let mut channels = Channels::default();
        let payload = payload.as_bytes();
        assert!(channels.hear("", Dialect::of(payload), payload, &mut Births::default()));
        channels.iter().map(|channel| (channel.name.clone(), channel.kind)).collect()
    }

    #[test]
    fn a_message_tells_how_it_is_written() {
        let json = Dialect::Json { is_list: false };
        let cases: [(&[u8], Dialect); 17] = [
            (b"21.5", Dialect::Text),
            (b" ON\r\n", Dialect::Text),
            (b"null", Dialect::Text),
            (b"", Dialect::Text),
            (b"{\"t\": 1}", json),
            (b"[{\"t\": 1}]", Dialect::Json { is_list: true }),
            (b"t=21.5 h=40", Dialect::KeyValue),
            (b"t:21.5,h:40", Dialect::KeyValue),
            (b"12:30:15", Dialect::Text),
            (b"V\t12800", Dialect::KeyValue),
            (b"21.5\t40", Dialect::Csv { delimiter: b'\t', columns: 2 }),
            (b"time\ttemp", Dialect::Text),
            (b"21.5;40;on", Dialect::Csv { delimiter: b';', columns: 3 }),
            (b"hello, world", Dialect::Text),
            (b"52.52,13.40", Dialect::Text),
            (b"$HEHDT,123.4,T*2B", Dialect::Nmea),
            (b"\x01\x03\x04\xff", Dialect::Binary),
        ];
        for (payload, expected) in cases {
            assert_eq!(Dialect::of(payload), expected, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn channels_of_json_are_keys_and_pointers() {
        use ValueKind::{Boolean, Gps, Number, Text};
        let document = r#"{"a":1,"b":{"c/d":true,"e":["x"]},"n":null,"at":"52.52,13.40"}"#;
        let expected = [("a", Number), ("/b/c~1d", Boolean), ("/b/e/0", Text), ("at", Gps)];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(channels(document), expected);
    }

    #[test]
    fn what_a_stranger_sends_fills_no_memory() {
        let many: Vec<_> = (0..1_000).map(|number| format!("\"k{number}\":1")).collect();
        assert_eq!(channels(&format!("{{{}}}", many.join(","))).len(), CHANNELS_MAX);
        assert_eq!(channels(&format!("{{\"{}\":1}}", "k".repeat(201))).len(), 0);
        let deep = "{\"a\":".repeat(100) + "1" + &"}".repeat(100);
        assert_eq!(channels(&deep).len(), 0);
    }
}
