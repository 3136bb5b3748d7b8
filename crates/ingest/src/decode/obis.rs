//! Telegrams of smart meters (DSMR, the P1 port): lines of an OBIS code and its values.
//!
//! The lines are a data block of IEC 62056-21. All codes are channels, so meters of all countries
//! are supported.

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind, DecoderOption};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::AttributeType;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind =
    DecoderKind { name: Obis::NAME, options: &[DecoderOption::Encoding], create: |_| Some(Obis.into()) };

/// The most lines of a telegram. A Dutch meter with four sub-meters sends about 40.
const LINES_MAX: usize = 256;

/// Decodes one telegram from `/` to `!`. The framing of the bus verifies its checksum.
///
/// The value of a line is the last one, because meters write the time of a value before it. If
/// there are more, the channels `CODE.0`, `CODE.1` and so on contain all of them. The channel
/// `CODE.unit` is the unit.
#[derive(Debug, Clone, Copy)]
pub struct Obis;

impl Obis {
    /// The name of the format in the configuration.
    pub const NAME: &str = "obis";
}

impl Decoder for Obis {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        // The value of any other code is a number or an identifier.
        let is_text =
            channel == "meter" || channel.rsplit_once('.').is_some_and(|(_, end)| end == "unit");
        is_text.then_some(AttributeType::Text)
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        Ok(vec![decode(utf8(payload)?)?])
    }
}

fn decode(text: &str) -> Result<Decoded, DecodeError> {
    let invalid = |problem: &'static str, line: &str| DecodeError::Invalid {
        format: "telegram",
        problem: problem.into(),
        excerpt: excerpt(line.as_bytes()),
        advice: "check that the frame of the bus starts with / and ends with !",
    };
    let mut channels = DecodedBuilder::default();
    let mut lines = text.trim_start().lines();
    let Some(identity) = lines.next().and_then(|line| line.strip_prefix('/')) else {
        return Err(invalid("no / at the start", text));
    };
    channels.add_text("meter", identity.trim());
    // IEC 62056-21 has an STX before the first line.
    let lines = lines.map(|line| line.trim().trim_start_matches('\u{2}'));
    let mut open: Option<Line<'_>> = None;
    for (index, line) in lines.enumerate() {
        if line.starts_with('!') {
            add_channels(open.take(), &mut channels);
            return Ok(channels.build());
        }
        if index > LINES_MAX {
            return Err(invalid("too many lines", line));
        }
        if line.is_empty() {
            continue;
        }
        let Some(split) = Line::split(line) else {
            return Err(invalid("no code with values in parentheses", line));
        };
        match &mut open {
            // DSMR 2 and 3 break the line of a gas meter before the last value.
            Some(before) if split.code.is_empty() => before.values.extend(split.values),
            Some(_) | None => add_channels(open.replace(split), &mut channels),
        }
    }
    Err(invalid("no ! at the end", text))
}

/// A line of a telegram.
struct Line<'a> {
    code: &'a str,
    values: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// Splits `1-0:1.8.1(000576.239*kWh)` into the code and the values.
    fn split(line: &'a str) -> Option<Self> {
        let (code, values) = line.split_once('(')?;
        Some(Self { code, values: values.strip_suffix(')')?.split(")(").collect() })
    }
}

/// Adds the channels of a line.
fn add_channels(line: Option<Line<'_>>, channels: &mut DecodedBuilder) {
    let Some(Line { code, values }) = line else { return };
    let Some((last, before)) = values.split_last() else { return };
    let (value, mut unit) =
        last.split_once('*').map_or((*last, None), |(value, unit)| (value, Some(unit)));
    // `(090212160000)(00)(60)(1)(0-1:24.2.1)(m3)` and `(00001.001)`: the unit is before the value.
    if let (None, [_, _, _, _, _, before]) = (unit, before) {
        unit = Some(before).copied().filter(|unit| unit.starts_with(char::is_alphabetic));
    }
    if let Some(unit) = unit {
        channels.add_text(&format!("{code}.unit"), unit);
    }
    if values.len() > 1 {
        for (index, value) in values.iter().enumerate() {
            channels.add_text(&format!("{code}.{index}"), value);
        }
    }
    // An identifier such as 4530303433303037 is a text. A number is short, or has a unit or a
    // point.
    let is_number = unit.is_some() || value.contains('.') || value.len() < 16;
    if is_number {
        channels.add_word(code, value);
    } else {
        channels.add_text(code, value);
    }
}
