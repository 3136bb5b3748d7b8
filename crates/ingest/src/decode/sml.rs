//! Smart Message Language, the protocol of household meters in Germany (BSI TR-03109-1, annex IV).
//!
//! A file consists of messages; the message `GetList.Res` has the values. The transport (`1b1b1b1b
//! 01010101` to `1b1b1b1b 1a`) has a checksum. This module reads files with and without it.

mod element;
mod transport;

use std::borrow::Cow;
use std::fmt::Write as _;

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind};
use super::dlms;
use super::error::DecodeError;
use super::obis::is_text_channel;
use super::sparkplug::Births;
use crate::sml_transport::is_checksum_of;
use element::Element;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{AttributeType, Value, ValueError};

pub(super) const KIND: DecoderKind =
    DecoderKind { name: Sml::NAME, options: &[], create: |_| Some(Sml.into()) };

/// The tag of the message body `GetList.Res`.
const GET_LIST_RESPONSE: u64 = 0x0701;

/// Decodes one SML file.
///
/// The channels are OBIS codes without the storage number 255, as in `obis`: `1-0:1.8.0`, and
/// `CODE.unit` and `CODE.status`. Numbers are scaled. `meter` is the server id in hexadecimal
/// digits, as are identifiers that are not printable.
#[derive(Debug, Clone, Copy)]
pub struct Sml;

impl Sml {
    /// The name of the format in the configuration.
    pub const NAME: &str = "sml";
}

impl Decoder for Sml {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn is_text(&self) -> bool {
        false
    }

    fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        match channel.rsplit_once('.') {
            _ if is_text_channel(channel) => Some(AttributeType::Text),
            Some((_, "status")) => Some(AttributeType::Number),
            Some(_) | None => None,
        }
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let invalid = |problem: &'static str| DecodeError::Invalid {
            format: "SML file",
            problem: problem.into(),
            excerpt: excerpt(payload),
            advice: "check baud rate, parity and the frame of the bus",
        };
        if dlms::is_frame(payload) {
            return Err(dlms::not_supported(payload));
        }
        let file = transport::unwrap(payload).map_err(invalid)?;
        let messages = decode(file.bytes.as_ref(), file.is_verified).map_err(invalid)?;
        if messages.is_empty() { Err(invalid("no GetList response")) } else { Ok(messages) }
    }
}

/// Decodes the messages of a file. The checksums of messages count if that of the file is missing.
fn decode(bytes: &[u8], is_verified: bool) -> Result<Vec<Decoded>, &'static str> {
    let (mut rest, mut messages) = (bytes, Vec::new());
    loop {
        // Fill bytes and ends of messages are zero.
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let begin = rest.get(zeros..).unwrap_or_default();
        if begin.is_empty() {
            return Ok(messages);
        }
        let (message, after) = Element::parse(begin)?;
        let Some([_, _, _, body, Element::Unsigned(checksum), ..]) = message.items() else {
            return Err("a message without a body and a checksum");
        };
        if !is_verified {
            let covered = element::bytes_of(begin, 4)?;
            if !is_checksum_of(covered, *checksum) {
                return Err("wrong checksum of a message");
            }
        }
        if let Some([Element::Unsigned(GET_LIST_RESPONSE), response]) = body.items() {
            messages.push(decode_list(response)?);
        }
        rest = after;
    }
}

/// Decodes the body of `GetList.Res`.
fn decode_list(response: &Element<'_>) -> Result<Decoded, &'static str> {
    let Some([_, server, _, _, values, ..]) = response.items() else {
        return Err("a GetList response without values");
    };
    let mut message = DecodedBuilder::default();
    if let Element::Octets(id) = server
        && !id.is_empty()
    {
        message.add_text("meter", &hexadecimal(id));
    }
    for entry in values.items().unwrap_or_default() {
        let Some([Element::Octets(name), status, _, unit, scaler, value, ..]) = entry.items()
        else {
            return Err("an entry without a name and a value");
        };
        let Some(code) = code(name) else { return Err("a name that is no OBIS code") };
        let Some(value) = scaled(value, scaler) else { continue };
        add(&mut message, &code, "", value);
        if let Some(symbol) = unit.unsigned().and_then(unit_symbol) {
            add(&mut message, &code, ".unit", Value::text(symbol));
        }
        if let Some(status) = status.unsigned() {
            add(&mut message, &code, ".status", Ok(super::field::unsigned_value(status)));
        }
    }
    Ok(message.build())
}

fn add(message: &mut DecodedBuilder, code: &str, end: &str, value: Result<Value, ValueError>) {
    let name = format!("{code}{end}");
    message.add_value(&name, value);
    if !code.contains('*') {
        message.add_alias(&name, &format!("{code}*255{end}"));
    }
}

/// Returns `1-0:1.8.0` for six bytes; the storage number 255 is left out.
fn code(name: &[u8]) -> Option<String> {
    let [group @ .., storage] = name else { return None };
    let [medium, channel, quantity, kind, tariff] = group else { return None };
    let end = if *storage == 255 { Cow::Borrowed("") } else { Cow::Owned(format!("*{storage}")) };
    Some(format!("{medium}-{channel}:{quantity}.{kind}.{tariff}{end}"))
}

/// Returns a value × 10^scaler. `None` for a missing value and for a list.
fn scaled(value: &Element<'_>, scaler: &Element<'_>) -> Option<Result<Value, ValueError>> {
    let scaler = scaler.signed().and_then(|scaler| i32::try_from(scaler).ok()).unwrap_or(0);
    Some(match value {
        Element::Octets([]) | Element::List(_) => return None,
        Element::Octets(bytes) => Value::text(text(bytes)),
        Element::Boolean(boolean) => Ok(Value::Boolean(*boolean)),
        Element::Signed(number) => scale(Value::Integer(*number), scaler),
        Element::Unsigned(number) => scale(super::field::unsigned_value(*number), scaler),
    })
}

/// Multiplies by a power of ten. Dividing keeps 123.4 from becoming 123.40000000000001.
fn scale(number: Value, scaler: i32) -> Result<Value, ValueError> {
    let float = match number {
        Value::Integer(integer) => match u32::try_from(scaler)
            .ok()
            .and_then(|scaler| integer.checked_mul(10_i64.checked_pow(scaler)?))
        {
            Some(exact) => return Ok(Value::Integer(exact)),
            #[expect(clippy::cast_precision_loss, reason = "JSON numbers are floats")]
            None => integer as f64,
        },
        Value::Float(float) => float,
        Value::Boolean(_) | Value::Text(_) => return Ok(number),
    };
    let power = 10_f64.powi(scaler.saturating_abs());
    Value::float(if scaler < 0 { float / power } else { float * power })
}

/// Returns a printable text as it is, and other bytes as hexadecimal digits.
fn text(bytes: &[u8]) -> String {
    let is_printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    match std::str::from_utf8(bytes) {
        Ok(text) if is_printable => text.trim().to_owned(),
        Ok(_) | Err(_) => hexadecimal(bytes),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        // Writing to a string cannot fail.
        write!(digits, "{byte:02X}").ok();
        digits
    })
}

/// Returns the symbol of a unit (IEC 62056-62, enumeration of physical units).
fn unit_symbol(code: u64) -> Option<&'static str> {
    Some(match code {
        4 => "d",
        5 => "h",
        6 => "min",
        7 => "s",
        8 => "°",
        9 => "°C",
        11 => "m",
        13 | 14 => "m3",
        15 | 16 => "m3/h",
        19 => "l",
        20 => "kg",
        23 => "Pa",
        24 => "bar",
        25 => "J",
        26 => "J/h",
        27 => "W",
        28 => "VA",
        29 => "var",
        30 => "Wh",
        31 => "VAh",
        32 => "varh",
        33 => "A",
        35 => "V",
        44 => "Hz",
        56 => "%",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
