//! Data blocks of meters: data sets of an OBIS code and its values (IEC 62056-21, and the P1 port
//! of DSMR).
//!
//! All codes are channels, so meters of all countries are supported.

use super::decoded::{Decoded, DecodedBuilder};
use super::decoder::{Decoder, DecoderKind, DecoderOption};
use super::dlms;
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::AttributeType;
use tidegate_model::excerpt::excerpt;

pub(super) const KIND: DecoderKind = DecoderKind {
    name: Obis::NAME,
    options: &[DecoderOption::Encoding],
    create: |_| Some(Obis.into()),
};

/// The most lines of a telegram. A Dutch meter with four sub-meters sends about 40.
const LINES_MAX: usize = 256;

/// The longest code in bytes (IEC 62056-21, 6.6: 16, and room for the groups of OBIS).
const CODE_BYTES_MAX: usize = 32;

/// Decodes one telegram from `/` to `!`, or data sets without them. The framing of the bus verifies
/// its checksum.
///
/// A line has one or more data sets. The value of a data set is the last one that has a unit, or
/// else the last one: meters write the time of a value before it or behind it. If there are more,
/// the channels `CODE.0`, `CODE.1` and so on contain all of them. The channel `CODE.unit` is the
/// unit. A code with `*255` at its end, which means that there is no storage number, is the same as
/// the code without it. A broken data set costs the rest of its line only.
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
        is_text_channel(channel).then_some(AttributeType::Text)
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        if dlms::is_frame(payload) {
            return Err(dlms::not_supported(payload));
        }
        Ok(vec![Block::default().decode(utf8(payload)?)?])
    }
}

/// A data block that is being decoded.
#[derive(Default)]
struct Block<'a> {
    message: DecodedBuilder,
    /// The last data set, whose line may be broken before its last value.
    open: Option<DataSet<'a>>,
    /// The number of data sets.
    count: usize,
    has_identity: bool,
}

/// A code with its values.
struct DataSet<'a> {
    code: &'a str,
    values: Vec<&'a str>,
}

fn invalid(problem: &'static str, line: &str) -> DecodeError {
    DecodeError::Invalid {
        format: "telegram",
        problem: problem.into(),
        excerpt: excerpt(line.as_bytes()),
        advice: "check that the frame of the bus starts with / and ends with !",
    }
}

impl<'a> Block<'a> {
    fn decode(mut self, text: &'a str) -> Result<Decoded, DecodeError> {
        // The block check character follows the ETX (IEC 62056-21, 6.4).
        let block = text.split('\u{3}').next().unwrap_or_default();
        let is_control = |letter: char| letter.is_control() || letter == ' ';
        for (index, line) in block.trim().lines().enumerate() {
            if index > LINES_MAX {
                return Err(invalid("too many lines", line));
            }
            let line = line.trim_matches(is_control);
            if let Some(identity) = line.strip_prefix('/') {
                self.begin(identity.trim(), line);
            } else if self.add_line(line) {
                return self.end(text);
            }
        }
        if self.has_identity {
            return Err(invalid("no ! at the end", text));
        }
        self.end(text)
    }

    /// Begins a telegram. Data sets before it belong to a telegram that was cut.
    fn begin(&mut self, identity: &str, line: &str) {
        if self.count > 0 {
            *self = Self::default();
            self.message.add_loss(invalid("a telegram without an end", line));
        }
        self.has_identity = true;
        self.message.add_text("meter", identity);
    }

    fn end(mut self, text: &str) -> Result<Decoded, DecodeError> {
        self.close();
        // The identity alone is a telegram without data.
        if self.count == 0 && (!self.has_identity || self.message.has_loss()) {
            return Err(invalid("no code with values in parentheses", text));
        }
        Ok(self.message.build())
    }

    /// Adds the data sets of a line. Returns whether the telegram ends with it.
    fn add_line(&mut self, line: &'a str) -> bool {
        let mut rest = line;
        while !rest.is_empty() && !rest.starts_with('!') {
            let Some((data_set, after)) = DataSet::split_off(rest) else {
                let problem = invalid("no code with values in parentheses", rest);
                self.message.add_loss(problem);
                self.close();
                return false;
            };
            self.count += 1;
            rest = after.trim_start();
            match &mut self.open {
                // DSMR 2 and 3 break the line of a gas meter before the last value.
                Some(open) if data_set.code.is_empty() => open.values.extend(data_set.values),
                Some(_) | None => {
                    self.close();
                    self.open = Some(data_set);
                }
            }
        }
        rest.starts_with('!')
    }

    /// Adds the channels of the open data set.
    fn close(&mut self) {
        let Some(DataSet { code, values }) = self.open.take() else { return };
        let (values, is_group) = parts(values);
        let Some((last, before)) = values.split_last() else { return };
        if code.is_empty() {
            let problem = invalid("values without a code", last);
            return self.message.add_loss(problem);
        }
        // The time of a maximum is behind its value, which has a unit: `1.6.1(0.5*kW)(260501)`.
        let with_unit = if is_group {
            values.first()
        } else {
            values.iter().rfind(|value| value.contains('*'))
        };
        let main = with_unit.unwrap_or(last);
        let (value, mut unit) =
            main.split_once('*').map_or((*main, None), |(value, unit)| (value, Some(unit)));
        // `(090212160000)(00)(60)(1)(0-1:24.2.1)(m3)` and `(00001.001)`: the unit is before the
        // value.
        if let (None, [_, _, _, _, _, before]) = (unit, before) {
            unit = Some(before).copied().filter(|unit| unit.starts_with(char::is_alphabetic));
        }
        if let Some(unit) = unit {
            self.add_text(code, ".unit", unit);
        }
        if values.len() > 1 {
            for (index, value) in values.iter().enumerate() {
                self.add_text(code, &format!(".{index}"), value);
            }
        }
        // An identifier such as 4530303433303037 is a text. A number is short, or has a unit or a
        // point.
        let is_number = unit.is_some() || value.contains('.') || value.len() < 16;
        if is_number {
            self.message.add_word(code, value);
        } else {
            self.message.add_text(code, value);
        }
        self.message.add_alias(code, &other_name(code));
    }

    fn add_text(&mut self, code: &str, end: &str, text: &str) {
        let name = format!("{code}{end}");
        self.message.add_text(&name, text);
        self.message.add_alias(&name, &format!("{}{end}", other_name(code)));
    }
}

/// Returns the values, and whether they are a group such as `(088*C&082*C)`, which counts by its
/// first value.
fn parts(values: Vec<&str>) -> (Vec<&str>, bool) {
    match values.as_slice() {
        [group] if group.contains('&') && group.contains('*') => (group.split('&').collect(), true),
        _ => (values, false),
    }
}

/// Returns whether the values of a channel of a meter are texts.
pub(super) fn is_text_channel(channel: &str) -> bool {
    channel == "meter" || channel.rsplit_once('.').is_some_and(|(_, end)| end == "unit")
}

/// Returns the code with `*255` at its end, or without it.
fn other_name(code: &str) -> String {
    code.strip_suffix("*255").map_or_else(|| format!("{code}*255"), str::to_owned)
}

impl<'a> DataSet<'a> {
    /// Splits `1-0:1.8.1(000576.239*kWh)` off; returns it with the text behind it.
    fn split_off(text: &'a str) -> Option<(Self, &'a str)> {
        let (code, mut rest) = text.split_at(text.find('(')?);
        let code = code.trim();
        let is_code = |byte: u8| byte.is_ascii_alphanumeric() || b".:*&-_# ".contains(&byte);
        if code.len() > CODE_BYTES_MAX || !code.bytes().all(is_code) {
            return None;
        }
        let mut values = Vec::new();
        while let Some(value) = rest.strip_prefix('(') {
            let (value, after) = value.split_at(value.find(['(', ')'])?);
            rest = after.strip_prefix(')')?;
            values.push(value);
        }
        Some((Self { code, values }, rest))
    }
}
