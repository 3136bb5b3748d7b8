//! Detects the format of messages, and their channels with the types of their values.

use serde_json::Value as Json;

use super::words::{is_data_set, is_measurement, is_position};
use tidegate_ingest::decode::{
    Births, Csv, Decoded, Format, Json as JsonDecoder, KeyValue, Nmea, Obis, PlainText, Ruuvi, Sml,
    Sparkplug,
};
use tidegate_model::Value;
use tidegate_model::excerpt::line;

/// The most channels of one topic or line: more than any instrument has.
const CHANNELS_MAX: usize = 64;

/// The longest name of a channel, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// The longest example, in characters.
const EXAMPLE_CHARACTERS_MAX: usize = 40;

/// The depth to which JSON is read.
const DEPTH_MAX: usize = 5;

/// How many items of a list are read.
const ITEMS_MAX: usize = 8;

/// The format of messages from an unknown source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DetectedFormat {
    /// A JSON object, or a list of them.
    Json {
        /// Whether it is a list of objects.
        is_list: bool,
    },
    /// Pairs of a name and a value.
    KeyValue,
    /// Fields between delimiters.
    Csv {
        /// The delimiter.
        delimiter: u8,
        /// The number of fields.
        columns: usize,
    },
    /// A sentence of NMEA 0183.
    Nmea,
    /// A telegram of a smart meter, or a line of its data sets.
    Obis,
    /// A file of the Smart Message Language.
    Sml,
    /// An advertisement of a Ruuvi sensor.
    Ruuvi,
    /// Sparkplug B.
    Sparkplug,
    /// One value, or a text of unknown format.
    Text,
    /// Not text.
    Binary,
}

impl DetectedFormat {
    /// Detects the format of a message.
    pub fn detect(payload: &[u8]) -> Self {
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
        if text.starts_with(['$', '!']) && is_read(&Nmea::default().into(), payload) {
            return Self::Nmea;
        }
        if is_data_set(text) && has_values(&Obis.into(), payload) {
            return Self::Obis;
        }
        if has_values(&KeyValue::default().into(), payload) && pairs_have_names(text) {
            return Self::KeyValue;
        }
        csv(text).unwrap_or(Self::Text)
    }

    /// Returns the format that can decode both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Binary, _) | (_, Self::Binary) => Self::Binary,
            (_, _) => Self::Text,
        }
    }

    /// Returns the keys of the configuration; `None` if no decoder fits.
    pub fn keys(self) -> Option<String> {
        Some(match self {
            Self::Json { is_list: false } => "format = \"json\"\n".to_owned(),
            Self::Json { is_list: true } => "format = \"json\"\narray_pointer = \"\"\n".to_owned(),
            Self::KeyValue => "format = \"key-value\"\n".to_owned(),
            Self::Csv { delimiter: b',', .. } => "format = \"csv\"\n".to_owned(),
            Self::Csv { delimiter, .. } => {
                let delimiter = toml::Value::from(char::from(delimiter).to_string());
                format!("format = \"csv\"\ndelimiter = {delimiter}\n")
            }
            Self::Nmea => "format = \"nmea\"\n".to_owned(),
            Self::Obis => "format = \"obis\"\n".to_owned(),
            Self::Sml => "format = \"sml\"\n".to_owned(),
            Self::Ruuvi => "format = \"ruuvi\"\n".to_owned(),
            Self::Sparkplug => "format = \"sparkplug\"\n".to_owned(),
            Self::Text => "format = \"text\"\n".to_owned(),
            Self::Binary => return None,
        })
    }

    /// Returns the name of the format for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Json { is_list: false } => "JSON",
            Self::Json { is_list: true } => "list of JSON objects",
            Self::KeyValue => "key=value",
            Self::Csv { .. } => "CSV",
            Self::Nmea => "NMEA 0183",
            Self::Obis => "OBIS codes",
            Self::Sml => "SML",
            Self::Ruuvi => "Ruuvi advertisement",
            Self::Sparkplug => "Sparkplug B",
            Self::Text => "text",
            Self::Binary => "bytes",
        }
    }

    fn decoder(self) -> Option<Format> {
        Some(match self {
            Self::Json { is_list } => {
                let array_pointer = is_list.then(String::new);
                JsonDecoder { array_pointer, ..JsonDecoder::default() }.into()
            }
            Self::KeyValue => KeyValue::default().into(),
            Self::Csv { delimiter, .. } => {
                Csv { columns: Vec::new(), has_header: false, delimiter, ..Csv::default() }.into()
            }
            Self::Nmea => Nmea::default().into(),
            Self::Obis => Obis.into(),
            Self::Sml => Sml.into(),
            Self::Ruuvi => Ruuvi.into(),
            Self::Sparkplug => Sparkplug { rebirth: false }.into(),
            Self::Text => PlainText::default().into(),
            Self::Binary => return None,
        })
    }
}

/// The type of a value, by Losant's attribute types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A number.
    Number,
    /// A text of a number and its unit.
    Measurement,
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
            Value::Text(text) if is_measurement(text) => Self::Measurement,
            Value::Text(_) => Self::Text,
        }
    }

    /// Returns Losant's name of the type (devices/attributes).
    pub fn word(self) -> &'static str {
        match self {
            Self::Number | Self::Measurement => "number",
            Self::Boolean => "boolean",
            Self::Gps => "gps",
            Self::Text => "string",
        }
    }
}

/// A channel of the messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name in the configuration.
    pub name: String,
    /// The type of all its values; text if they differ.
    pub kind: ValueKind,
    /// The last value; of a text the beginning of its first line.
    pub example: String,
}

impl Channel {
    fn see(&mut self, kind: ValueKind) {
        self.kind = match (self.kind, kind) {
            (one, other) if one == other => one,
            (ValueKind::Number, ValueKind::Measurement)
            | (ValueKind::Measurement, ValueKind::Number) => ValueKind::Measurement,
            (_, _) => ValueKind::Text,
        };
    }
}

/// The channels of the messages, in the order of their first occurrence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Channels(Vec<Channel>);

impl Channels {
    /// Records the channels of a message. Returns `false` if it has another format.
    pub fn record(
        &mut self,
        topic: &str,
        format: DetectedFormat,
        payload: &[u8],
        births: &mut Births,
    ) -> bool {
        let Some(decoder) = format.decoder() else { return false };
        let Ok(messages) = decoder.decode(topic, payload, births) else { return false };
        for message in messages.iter().take(ITEMS_MAX) {
            if let DetectedFormat::Json { .. } = format {
                // A message of JSON serializes as the document that it is.
                let document = serde_json::to_value(message).unwrap_or_default();
                self.flatten("", &document, 0);
                continue;
            }
            self.note_message(
                message,
                matches!(format, DetectedFormat::Obis | DetectedFormat::Sml),
            );
        }
        true
    }

    /// Records the channels of a message in a configured format. Returns `false` if it has another
    /// one.
    pub fn record_as(&mut self, format: &Format, payload: &[u8]) -> bool {
        let Ok(messages) = format.decode("", payload, &mut Births::default()) else { return false };
        messages.iter().take(ITEMS_MAX).for_each(|message| self.note_message(message, false));
        true
    }

    /// Records the channels of a message, with `has_details` without the details of other channels,
    /// such as `CODE.unit` and `CODE.0` of `CODE`.
    fn note_message(&mut self, message: &Decoded, has_details: bool) {
        let names = message.names();
        let is_detail = |name: &str| {
            let whole = name.rsplit_once('.').map(|(whole, _)| whole);
            has_details && names.iter().any(|other| whole == Some(*other))
        };
        for name in names.iter().filter(|name| !is_detail(name)) {
            if let Some(Ok(value)) = message.channel(name) {
                self.note(name, &value);
            }
        }
    }

    /// Returns all channels.
    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.0.iter()
    }

    /// Returns whether at least half of the channels are shared, and all of those have equal types.
    pub fn resembles(&self, other: &Self) -> bool {
        let shared = self.iter().filter(|one| other.get(&one.name).is_some()).count();
        let same = |one: &Channel| other.get(&one.name).is_none_or(|two| two.kind == one.kind);
        shared * 2 >= self.0.len().max(other.0.len()) && self.iter().all(same)
    }

    /// Adds the channels of another set.
    pub fn add(&mut self, other: &Self) {
        for channel in other.iter() {
            if let Some(known) = self.0.iter_mut().find(|one| one.name == channel.name) {
                known.see(channel.kind);
            } else if self.0.len() < CHANNELS_MAX {
                self.0.push(channel.clone());
            }
        }
    }

    /// Renames the channels, whose names are indices, to `names`.
    #[must_use]
    pub fn renamed(&self, names: &[String]) -> Self {
        let name = |one: &Channel| names.get(one.name.parse::<usize>().ok()?).cloned();
        let renamed = |one: &Channel| {
            let name = name(one).unwrap_or_else(|| one.name.clone());
            Channel { name, ..one.clone() }
        };
        Self(self.iter().map(renamed).collect())
    }

    /// Removes a channel.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|channel| channel.name != name);
    }

    /// Adds a number.
    pub fn add_number(&mut self, name: &str, number: i64) {
        self.note(name, &Value::Integer(number));
    }

    /// Returns whether there is no channel.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a channel by its name.
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

/// Returns whether a key of the top level needs no JSON pointer.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key != "*" && !key.contains(['/', '~'])
}

fn is_read(format: &Format, payload: &[u8]) -> bool {
    format.decode("", payload, &mut Births::default()).is_ok()
}

/// Returns whether the format decodes the payload, and a channel has a value.
fn has_values(format: &Format, payload: &[u8]) -> bool {
    let messages = format.decode("", payload, &mut Births::default()).unwrap_or_default();
    messages.iter().any(|message| {
        message.names().iter().any(|name| matches!(message.channel(name), Some(Ok(_))))
    })
}

/// Returns whether the names of pairs begin with a letter, unlike those of `12:30:15`.
///
/// A tab between two words may also belong to a header.
fn pairs_have_names(text: &str) -> bool {
    if !text.contains(['=', ':']) && csv(text).is_none() {
        return false;
    }
    let pairs = text.split([' ', '\t', ',', ';']).filter(|pair| !pair.is_empty());
    pairs
        .filter(|pair| pair.contains(['=', ':']))
        .all(|pair| pair.starts_with(|letter: char| letter.is_alphabetic() || letter == '_'))
}

/// Detects fields of which one is a number, unlike a sentence with a comma.
fn csv(text: &str) -> Option<DetectedFormat> {
    let delimiters = [b';', b'\t', b','];
    delimiters.into_iter().find_map(|delimiter| {
        let fields: Vec<_> = text.split(char::from(delimiter)).map(str::trim).collect();
        let is_number = |field: &&str| field.parse::<f64>().is_ok_and(f64::is_finite);
        let format = DetectedFormat::Csv { delimiter, columns: fields.len() };
        (fields.len() > 1 && !text.contains('\n') && fields.iter().any(is_number))
            .then_some(format)
            .filter(|_| !is_position(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(payload: &str) -> Vec<(String, ValueKind)> {
        let mut channels = Channels::default();
        let payload = payload.as_bytes();
        assert!(channels.record(
            "",
            DetectedFormat::detect(payload),
            payload,
            &mut Births::default()
        ));
        channels.iter().map(|channel| (channel.name.clone(), channel.kind)).collect()
    }

    #[test]
    fn detects_the_format_of_a_message() {
        let json = DetectedFormat::Json { is_list: false };
        let cases: [(&[u8], DetectedFormat); 19] = [
            (b"6.8(0017.745*GJ)6.26(00413.97*m3)9.21(66153690)", DetectedFormat::Obis),
            (b"v1.2 (beta)", DetectedFormat::Text),
            (b"21.5", DetectedFormat::Text),
            (b" ON\r\n", DetectedFormat::Text),
            (b"null", DetectedFormat::Text),
            (b"", DetectedFormat::Text),
            (b"{\"t\": 1}", json),
            (b"[{\"t\": 1}]", DetectedFormat::Json { is_list: true }),
            (b"t=21.5 h=40", DetectedFormat::KeyValue),
            (b"t:21.5,h:40", DetectedFormat::KeyValue),
            (b"12:30:15", DetectedFormat::Text),
            (b"V\t12800", DetectedFormat::KeyValue),
            (b"21.5\t40", DetectedFormat::Csv { delimiter: b'\t', columns: 2 }),
            (b"time\ttemp", DetectedFormat::Text),
            (b"21.5;40;on", DetectedFormat::Csv { delimiter: b';', columns: 3 }),
            (b"hello, world", DetectedFormat::Text),
            (b"52.52,13.40", DetectedFormat::Text),
            (b"$HEHDT,123.4,T*2B", DetectedFormat::Nmea),
            (b"\x01\x03\x04\xff", DetectedFormat::Binary),
        ];
        for (payload, expected) in cases {
            assert_eq!(DetectedFormat::detect(payload), expected, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn json_channels_are_keys_and_pointers() {
        use ValueKind::{Boolean, Gps, Number, Text};
        let document = r#"{"a":1,"b":{"c/d":true,"e":["x"]},"n":null,"at":"52.52,13.40"}"#;
        let expected = [("a", Number), ("/b/c~1d", Boolean), ("/b/e/0", Text), ("at", Gps)];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(channels(document), expected);
    }

    #[test]
    fn list_of_objects_has_an_array_pointer() {
        let keys = DetectedFormat::detect(b"[{\"t\": 1}]").keys();
        assert_eq!(keys.as_deref(), Some("format = \"json\"\narray_pointer = \"\"\n"));
    }

    #[test]
    fn channels_are_bounded() {
        let many: Vec<_> = (0..1_000).map(|number| format!("\"k{number}\":1")).collect();
        assert_eq!(channels(&format!("{{{}}}", many.join(","))).len(), CHANNELS_MAX);
        assert_eq!(channels(&format!("{{\"{}\":1}}", "k".repeat(201))).len(), 0);
        let deep = "{\"a\":".repeat(100) + "1" + &"}".repeat(100);
        assert_eq!(channels(&deep).len(), 0);
    }
}
