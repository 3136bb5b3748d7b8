//! Telegrams of smart meters (DSMR, the P1 port): lines of an OBIS code and its values, as IEC 62056-21 writes a data
//! block. The codes are the channels, whatever they are, so that the meters of all countries can be read.

use super::{DecodeError, Flat};
use tidegate_model::Value;
use tidegate_model::excerpt::excerpt;

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
    // IEC 62056-21 puts an STX before the first line.
    let lines = lines.map(|line| line.trim().trim_start_matches('\u{2}'));
    let mut open: Option<(&str, Vec<&str>)> = None;
    for (index, line) in lines.enumerate() {
        if line.starts_with('!') {
            put(open.take(), &mut channels);
            return Ok(channels);
        }
        if index > LINES_MAX {
            return Err(not_telegram("it has too many lines", line));
        }
        if line.is_empty() {
            continue;
        }
        let Some((code, values)) = split_line(line) else {
            return Err(not_telegram("no code with values in brackets", line));
        };
        match &mut open {
            // DSMR 2 and 3 break the line of a gas meter before its last value.
            Some((_, before)) if code.is_empty() => before.extend(values),
            Some(_) | None => put(open.replace((code, values)), &mut channels),
        }
    }
    Err(not_telegram("it does not end with !", text))
}

/// `1-0:1.8.1(000576.239*kWh)` as its code and its values.
fn split_line(line: &str) -> Option<(&str, Vec<&str>)> {
    let (code, values) = line.split_once('(')?;
    Some((code, values.strip_suffix(')')?.split(")(").collect()))
}

fn put(line: Option<(&str, Vec<&str>)>, channels: &mut Flat) {
    let Some((code, values)) = line else { return };
    let Some((last, before)) = values.split_last() else { return };
    let (value, mut unit) =
        last.split_once('*').map_or((*last, None), |(value, unit)| (value, Some(unit)));
    // `(090212160000)(00)(60)(1)(0-1:24.2.1)(m3)` and `(00001.001)`: the unit stands before its value.
    if let (None, [_, _, _, _, _, before]) = (unit, before) {
        unit = Some(before).copied().filter(|unit| unit.starts_with(char::is_alphabetic));
    }
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
}
