//! The fields of a sentence: numbers, units, positions and times.

use std::borrow::Cow;

use super::SentenceError;
use crate::unit::{Unit, UnitConversion, rounded};

/// The fields of a sentence. Field 0 is the address, so the numbers are those of manuals.
pub(super) struct Fields<'a> {
    fields: Vec<&'a str>,
    is_verified: bool,
}

/// The meaning of a number, which says how the field after it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// The unit is fixed.
    Plain,
    /// An angle to true north: `T`.
    True,
    /// An angle to magnetic north: `M`.
    Magnetic,
    /// Degrees Celsius.
    Temperature,
    /// Metres.
    Length,
    /// Nautical miles.
    Distance,
    /// Knots.
    Speed,
    /// Bar.
    Pressure,
}

/// A latitude and a longitude in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Position {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

/// The letter of a unit, the unit in [`crate::unit`], and how many of it the letter means.
type Letter = (&'static str, &'static str, f64);

/// The first years of NMEA 0183, whose dates have two digits: 83 is 1983, 82 is 2082.
const YEAR_FIRST: u16 = 83;

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a str, is_verified: bool) -> Self {
        Self { fields: body.split(',').map(str::trim).collect(), is_verified }
    }

    /// Returns whether a checksum proves that no field is damaged or cut.
    pub(super) fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Returns the number of fields, the address included.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Returns a field; empty if the sentence has none there.
    pub(super) fn text(&self, at: usize) -> &'a str {
        self.fields.get(at).copied().unwrap_or_default()
    }

    /// Returns a number; `None` for an empty field, and for dashes, which mean the same.
    pub(super) fn number(&self, at: usize) -> Result<Option<f64>, SentenceError> {
        let text = self.text(at);
        if text.bytes().all(|byte| byte == b'-') {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| SentenceError::Fields)
    }

    /// Returns a number in the unit of its quantity. The next field has the letter of its unit.
    pub(super) fn measured(
        &self,
        at: usize,
        quantity: Quantity,
    ) -> Result<Option<f64>, SentenceError> {
        Ok(self.number(at)?.and_then(|number| quantity.convert(number, self.text(at + 1))))
    }

    /// Returns a number whose sign is the letter in the next field.
    pub(super) fn signed(
        &self,
        at: usize,
        positive: &str,
        negative: &str,
    ) -> Result<Option<f64>, SentenceError> {
        let letter = self.text(at + 1);
        let Some(number) = self.number(at)? else { return Ok(None) };
        match letter {
            // No sign is needed.
            _ if number == 0.0 => Ok(Some(0.0)),
            letter if letter == positive => Ok(Some(number)),
            letter if letter == negative => Ok(Some(-number)),
            _ => Ok(None),
        }
    }

    /// Returns the position in four fields: latitude, `N` or `S`, longitude, `E` or `W`.
    pub(super) fn position(&self, at: usize) -> Result<Option<Position>, SentenceError> {
        let [latitude, north, longitude, east] = [0, 1, 2, 3].map(|next| self.text(at + next));
        if latitude.is_empty() || longitude.is_empty() {
            return Ok(None);
        }
        let coordinate = |text, degrees_max, letter, positive, negative| {
            let degrees = degrees(text).filter(|degrees| *degrees <= degrees_max);
            let sign = match letter {
                letter if letter == positive => 1.0,
                letter if letter == negative => -1.0,
                _ => return Err(SentenceError::Fields),
            };
            degrees.map(|degrees| sign * degrees).ok_or(SentenceError::Fields)
        };
        Ok(Some(Position {
            latitude: coordinate(latitude, 90.0, north, "N", "S")?,
            longitude: coordinate(longitude, 180.0, east, "E", "W")?,
        }))
    }

    /// Returns the time of RFC 3339 for the time at `time` and the date `ddmmyy` at `date`.
    pub(super) fn date_and_time(
        &self,
        time: usize,
        date: usize,
    ) -> Result<Option<String>, SentenceError> {
        let (time, date) = (self.text(time), self.text(date));
        if time.is_empty() || date.is_empty() {
            return Ok(None);
        }
        let [day, month, year] = pairs(date).ok_or(SentenceError::Fields)?;
        let year = u16::from(year);
        let century = if (YEAR_FIRST..100).contains(&year) { 1_900 } else { 2_000 };
        rfc3339([day, month], year + century, time).map(Some)
    }

    /// Returns the time of RFC 3339 for fields of time, day, month and year of four digits.
    pub(super) fn time_and_date(&self, at: usize) -> Result<Option<String>, SentenceError> {
        let [time, day, month, year] = [0, 1, 2, 3].map(|next| self.text(at + next));
        if [time, day, month, year].iter().any(|field| field.is_empty()) {
            return Ok(None);
        }
        let number = |text: &str| digits(text).ok_or(SentenceError::Fields);
        let small = |text: &str| u8::try_from(number(text)?).map_err(|_| SentenceError::Fields);
        rfc3339([small(day)?, small(month)?], number(year)?, time).map(Some)
    }
}

impl Quantity {
    /// Converts a number to the unit of the quantity; `None` if the letter is none of its units.
    pub(super) fn convert(self, number: f64, letter: &str) -> Option<f64> {
        let (target, letters): (&str, &[Letter]) = match self {
            Self::Plain => return Some(number),
            Self::True => return (letter == "T").then_some(number),
            Self::Magnetic => return (letter == "M").then_some(number),
            Self::Temperature => ("°C", &[("C", "°C", 1.0), ("F", "°F", 1.0), ("K", "K", 1.0)]),
            // A fathom is six feet.
            Self::Length => ("m", &[("M", "m", 1.0), ("f", "ft", 1.0), ("F", "ft", 6.0)]),
            Self::Distance => ("nmi", &[("N", "nmi", 1.0), ("K", "km", 1.0), ("S", "mi", 1.0)]),
            Self::Speed => (
                "kn",
                &[("N", "kn", 1.0), ("K", "km/h", 1.0), ("M", "m/s", 1.0), ("S", "mph", 1.0)],
            ),
            Self::Pressure => ("bar", &[("B", "bar", 1.0), ("I", "inHg", 1.0), ("P", "Pa", 1.0)]),
        };
        let (_, unit, factor) = letters.iter().find(|(one, ..)| *one == letter)?;
        if *unit == target {
            return Some(number);
        }
        let conversion = UnitConversion::between(Unit::named(unit)?, Unit::named(target)?)?;
        Some(conversion.apply(number * factor))
    }
}

/// Returns an angle between 0 and 360 degrees.
pub(super) fn whole_circle(degrees: f64) -> f64 {
    rounded(rounded(degrees).rem_euclid(360.0))
}

/// Returns the degrees of `dddmm.mmmm`: the last two digits before the point are minutes.
fn degrees(text: &str) -> Option<f64> {
    let point = text.find('.').unwrap_or(text.len());
    let (degrees, minutes) = text.split_at_checked(point.checked_sub(2)?)?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let degrees: f64 = if degrees.is_empty() { 0.0 } else { number(degrees, is_number)? };
    let minutes = number(minutes, is_number).filter(|minutes| *minutes < 60.0)?;
    Some(degrees + minutes / 60.0)
}

fn number(text: &str, is_number: impl Fn(&str) -> bool) -> Option<f64> {
    is_number(text).then(|| text.parse().ok()).flatten()
}

/// Returns the number of a text that has only digits.
fn digits(text: &str) -> Option<u16> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

/// Returns three numbers of two digits each.
fn pairs(text: &str) -> Option<[u8; 3]> {
    let pair = |at: usize| u8::try_from(digits(text.get(at..at + 2)?)?).ok();
    (text.len() == 6).then_some([pair(0)?, pair(2)?, pair(4)?])
}

/// Writes a time of RFC 3339. `time` is `hhmmss`, with or without decimals.
fn rfc3339([day, month]: [u8; 2], year: u16, time: &str) -> Result<String, SentenceError> {
    let (whole, decimals) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = pairs(whole).ok_or(SentenceError::Fields)?;
    let is_decimals = decimals.bytes().all(|byte| byte.is_ascii_digit());
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    // A leap second is second 60.
    if !is_date || hour > 23 || minute > 59 || second > 60 || !is_decimals {
        return Err(SentenceError::Fields);
    }
    let decimals = decimals.get(..9).unwrap_or(decimals).trim_end_matches('0');
    let decimals: Cow<'_, str> =
        if decimals.is_empty() { "".into() } else { format!(".{decimals}").into() };
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{decimals}Z"))
}
