//! Decoders: turn a frame or a payload into messages with named channels.
//!
//! A decoder rejects a message whose parts it cannot tell apart, such as two merged lines. A part
//! that is certainly separate costs itself only. Only a checksum in the sensor detects a cut within
//! a number (`t=21.5` cut to `t=2`).
//!
//! CONTRIBUTING.md has the recipe for another decoder.

mod binary;
mod csv;
mod decoded;
mod decoder;
mod dlms;
mod error;
mod field;
mod json;
mod json_value;
mod json_words;
mod key_value;
mod nmea;
mod obis;
mod one_wire;
mod pattern;
mod plain_text;
mod ruuvi;
mod sml;
mod sparkplug;
mod text;

pub use self::csv::Csv;
pub use binary::Binary;
pub use decoded::Decoded;
pub(crate) use decoded::is_whole;
pub use decoder::{Decoder, DecoderKind, DecoderOption, DecoderOptions, Format};
pub use error::DecodeError;
pub use field::{BinaryField, FieldError, Kind};
pub use json::Json;
pub use key_value::KeyValue;
pub use nmea::Nmea;
pub use obis::Obis;
pub use one_wire::OneWire;
pub use pattern::{Pattern, PatternError, compile_pattern};
pub use plain_text::PlainText;
pub use ruuvi::Ruuvi;
pub use sml::Sml;
pub use sparkplug::{Births, Sparkplug, rebirth_request};

/// All decoders, in the order of the documentation.
pub const DECODERS: &[DecoderKind] = &[
    key_value::KIND,
    csv::KIND,
    json::KIND,
    pattern::KIND,
    binary::KIND,
    nmea::KIND,
    obis::KIND,
    sml::KIND,
    sparkplug::KIND,
    ruuvi::KIND,
    one_wire::KIND,
    plain_text::KIND,
];

#[cfg(test)]
mod tests;
