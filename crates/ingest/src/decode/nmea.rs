//! Sentences of NMEA 0183: positions, speeds, depths, headings, winds and weather.
//!
//! A table says which field is which channel; sentences with rules of their own have functions.
//! Instruments are less strict than the standard: merged lines, tag blocks, sentences of NMEA 2.0
//! and older without a checksum or a mode, the flags of a receiver without a fix. A test decodes
//! the recordings of gpsd (tests/it/gpsd.rs).

mod fields;
mod rules;
mod sentence;
mod table;

use self::fields::{Fields, Position};
use self::sentence::{Found, Sentence};
use super::decoded::{ChannelMap, Decoded};
use super::decoder::{Decoder, DecoderKind, MESSAGES_MAX};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{AttributeType, Value};

pub(super) const KIND: DecoderKind =
    DecoderKind { name: Nmea::NAME, options: &[], create: |_| Some(Nmea::default().into()) };

/// All channels of all sentences, but for those that [`Decoder::may_have_channel`] accepts.
const CHANNELS: [&str; 50] = [
    "airTemperature",
    "altitude",
    "closingSpeed",
    "course",
    "crossTrackError",
    "depth",
    "depthBelowKeel",
    "depthBelowSurface",
    "depthBelowTransducer",
    "deviation",
    "dewPoint",
    "drift",
    "engineSpeed",
    "groundDistance",
    "groundTripDistance",
    "hdop",
    "heading",
    "humidity",
    "latitude",
    "longitude",
    "magneticCourse",
    "magneticHeading",
    "magneticSet",
    "magneticWindDirection",
    "portRudderAngle",
    "position",
    "pressure",
    "propellerPitch",
    "quality",
    "rateOfTurn",
    "rudderAngle",
    "satellites",
    "sentence",
    "set",
    "shaftSpeed",
    "speed",
    "time",
    "trueWindAngle",
    "trueWindSpeed",
    "variation",
    "waterDistance",
    "waterSpeed",
    "waterTemperature",
    "waterTripDistance",
    "waypoint",
    "waypointBearing",
    "waypointDistance",
    "windAngle",
    "windDirection",
    "windSpeed",
];

/// The channels that have a number at their end if a boat has several engines.
const NUMBERED: [&str; 3] = ["engineSpeed", "shaftSpeed", "propellerPitch"];

/// The beginning of the channels of XDR, which name the transducer.
const TRANSDUCER: &str = "xdr_";

/// The end of the channel with the unit of a transducer.
const UNIT: &str = "_unit";

/// Decodes the sentences of NMEA 0183 in a line, and verifies their checksums.
///
/// The channel `sentence` is the type. Sentences of a receiver without a fix have no `position`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nmea {
    /// Whether the frame has verified and removed the start character and the checksum.
    pub is_verified: bool,
}

/// The reason that a part of a line is no sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum SentenceError {
    #[error("no $ or ! at the start")]
    NoStart,
    #[error("no checksum")]
    NoChecksum,
    #[error("wrong checksum")]
    WrongChecksum,
    #[error("cut by the next sentence")]
    Cut,
    #[error("no talker and type, such as GPGGA")]
    Address,
    #[error("the fields do not match the sentence type")]
    Fields,
}

/// Collects the channels of a sentence. The first value of a channel counts.
#[derive(Default)]
struct Channels(ChannelMap);

impl Nmea {
    /// The name of the format in the configuration.
    pub const NAME: &str = "nmea";
}

impl Decoder for Nmea {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn is_text(&self) -> bool {
        false
    }

    fn channels(&self) -> Option<Vec<String>> {
        Some(CHANNELS.map(str::to_owned).to_vec())
    }

    fn may_have_channel(&self, name: &str) -> bool {
        let is_number = |end: &str| end.bytes().all(|byte| byte.is_ascii_digit());
        let is_numbered = |stem: &&str| name.strip_prefix(*stem).is_some_and(is_number);
        name.starts_with(TRANSDUCER) || NUMBERED.iter().any(is_numbered)
    }

    fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        Some(match channel {
            "position" => AttributeType::Gps,
            "sentence" | "time" | "waypoint" => AttributeType::Text,
            name if name.starts_with(TRANSDUCER) && name.ends_with(UNIT) => AttributeType::Text,
            _ => AttributeType::Number,
        })
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let found = if self.is_verified && !payload.starts_with(b"$") {
            let sentence = Sentence { body: payload.trim_ascii(), is_verified: true };
            vec![Found { bytes: payload, sentence: Ok(sentence) }]
        } else {
            let lines = payload.split(|byte| matches!(byte, b'\r' | b'\n'));
            let lines = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
            lines.flat_map(sentence::find).collect()
        };
        if found.len() > MESSAGES_MAX {
            return Err(DecodeError::TooManyMessages { found: found.len(), max: MESSAGES_MAX });
        }
        let (mut messages, mut losses) = (Vec::new(), Vec::new());
        for Found { bytes, sentence } in found {
            match sentence.and_then(parse) {
                Ok(channels) => messages.push(Decoded::from(channels)),
                Err(problem) => losses.push(invalid(problem, bytes)),
            }
        }
        if let Some(first) = messages.first_mut() {
            first.add_losses(losses);
            return Ok(messages);
        }
        if !payload.iter().any(|byte| matches!(byte, b'$' | b'!')) {
            // Noise of a wrong speed is not text.
            utf8(payload)?;
        }
        Err(losses.into_iter().next().unwrap_or_else(|| invalid(SentenceError::NoStart, payload)))
    }
}

fn invalid(problem: SentenceError, bytes: &[u8]) -> DecodeError {
    DecodeError::Invalid {
        format: "NMEA 0183 sentence",
        problem: problem.to_string().into(),
        excerpt: excerpt(bytes),
        advice: "check baud rate and wiring",
    }
}

/// Returns the channels of a sentence.
fn parse(Sentence { body, is_verified }: Sentence<'_>) -> Result<ChannelMap, SentenceError> {
    let text = String::from_utf8_lossy(body);
    let fields = Fields::new(&text, is_verified);
    let kind = kind(fields.text(0)).ok_or(SentenceError::Address)?;
    let mut channels = Channels::default();
    rules::add_always(kind, &fields, &mut channels)?;
    if !rules::is_void(kind, &fields) {
        table::add(kind, &fields, &mut channels)?;
        rules::add(kind, &fields, &mut channels)?;
    }
    channels.put_text("sentence", Some(kind.to_owned()));
    Ok(channels.0)
}

/// Returns the type of a sentence: the address without the talker, or a proprietary address.
///
/// A proprietary address may end without a comma.
fn kind(address: &str) -> Option<&str> {
    let is_name = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit();
    let name =
        address.find(|letter| !is_name(letter)).map_or(Some(address), |end| address.get(..end))?;
    match name.len() {
        4.. if name.starts_with('P') => Some(name),
        5 if name == address => name.get(2..),
        _ => None,
    }
}

impl Channels {
    fn put(&mut self, name: &str, number: Option<f64>) {
        if let Some(number) = number {
            self.0.entry(name.to_owned()).or_insert_with(|| Value::float(number));
        }
    }

    fn put_text(&mut self, name: &str, text: Option<String>) {
        if let Some(text) = text {
            self.0.entry(name.to_owned()).or_insert_with(|| Value::text(text));
        }
    }

    /// Adds a channel with the value of the first of `names` that the sentence has.
    fn copy_first(&mut self, names: &[&str], channel: &str) {
        if let Some(value) = names.iter().find_map(|name| self.0.get(*name)).cloned() {
            self.0.entry(channel.to_owned()).or_insert(value);
        }
    }

    fn put_position(&mut self, position: Option<Position>) {
        let Some(Position { latitude, longitude }) = position else { return };
        self.put("latitude", Some(latitude));
        self.put("longitude", Some(longitude));
        // A Losant gps attribute is a text of latitude and longitude (devices/attributes, "GPS
        // String"). The seventh decimal is 11 mm, the resolution of receivers with corrections.
        self.put_text("position", Some(format!("{latitude:.7},{longitude:.7}")));
    }
}

#[cfg(test)]
mod tests;
