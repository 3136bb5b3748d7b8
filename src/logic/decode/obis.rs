//! Telegrams of smart meters (DSMR, the P1 port): lines of an OBIS code and its values, as IEC 62056-21 writes a data
//! block. The codes are the channels, whatever they are, so that the meters of all countries can be read.

use super::{DecodeError, Flat};
use crate::logic::excerpt::excerpt;
use crate::model::Value;

/// Codes in one telegram: a Dutch meter with four slaves sends about 40.
const LINES_MAX: usize = 256;

/// Reads one telegram, from `/` to `!`. The frame's checksum is the bus's matter.
///
/// The value of a line is its last one, since meters put the time of a value before it; the others are the channels
/// `CODE.0`, `CODE.1` and so on, if there is more than one. A unit stands in the channel `CODE.unit`.
pub(super) fn decode(text: &str) -> Result<Flat, DecodeError> {
    let not_telegram = |problem, line: &str| DecodeError::NotTelegram {
        problem,
        excerpt: excerpt(line.as_bytes()),
    };
    let mut channels = Flat::new();
    let mut lines = text.trim_start().lines();
    let Some(identity) = lines.next().and_then(|line| line.strip_prefix('/')) else {
        return Err(not_telegram("it does not begin with /", text));
    };
    channels.insert("meter".to_owned(), Value::text(identity.trim()));
    for (index, line) in lines.map(str::trim).enumerate() {
        if line.starts_with('!') {
            return Ok(channels);
        }
        if index > LINES_MAX {
            return Err(not_telegram("it has too many lines", line));
        }
        if !line.is_empty() && read_line(line, &mut channels).is_none() {
            return Err(not_telegram("no code with values in brackets", line));
        }
    }
    Err(not_telegram("it does not end with !", text))
}

/// Reads `1-0:1.8.1(000576.239*kWh)`.
fn read_line(line: &str, channels: &mut Flat) -> Option<()> {
    let (code, values) = line.split_once('(')?;
    // Some meters break a line before its last value, which then has no code.
    let values: Vec<&str> = values.strip_suffix(')')?.split(")(").collect();
    let last = values.last()?;
    let (value, unit) =
        last.split_once('*').map_or((*last, None), |(value, unit)| (value, Some(unit)));
    if let Some(unit) = unit {
        channels.insert(format!("{code}.unit"), Value::text(unit));
    }
    if values.len() > 1 {
        for (index, value) in values.iter().enumerate() {
            channels.insert(format!("{code}.{index}"), Value::text(*value));
        }
    }
    // An identifier such as 4530303433303037 is a text, which only its unit or its point can tell from a number.
    let is_number = unit.is_some() || value.contains('.') || value.len() < 16;
    let value = if is_number { Value::parse_word(value) } else { Value::text(value) };
    channels.insert(code.to_owned(), value);
    Some(())
}
