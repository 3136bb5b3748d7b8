//! Parses positions in the forms that Losant accepts (devices/state): decimal degrees, degrees with
//! minutes and seconds, and the NMEA 0183 sentences GLL and GGA.

/// A position on the earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    /// Degrees north, -90 to 90.
    pub(crate) latitude: f64,
    /// Degrees east, -180 to 180.
    pub(crate) longitude: f64,
}

/// A parsed position and its form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Parsed {
    /// The form `"<latitude>,<longitude>"`.
    Decimal(Position),
    /// Any other form.
    Other(Position),
}

impl Position {
    fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let valid = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        valid.then_some(Self { latitude, longitude })
    }

    /// Formats the position as `"<latitude>,<longitude>"` in degrees, with seven decimals (about a
    /// centimetre).
    pub(crate) fn to_text(self) -> String {
        let round = |degrees: f64| (degrees * 1e7).round() / 1e7;
        format!("{},{}", round(self.latitude), round(self.longitude))
    }
}

/// Parses a position; returns `None` when the text has none of the forms.
pub(crate) fn parse(text: &str) -> Option<Parsed> {
    let text = text.trim();
    decimal(text)
        .map(Parsed::Decimal)
        .or_else(|| sentence(text).or_else(|| dms(text)).map(Parsed::Other))
}

fn decimal(text: &str) -> Option<Position> {
    let (latitude, longitude) = text.split_once(',')?;
    Position::new(number(latitude.trim())?, number(longitude.trim())?)
}

/// Parses a plain decimal number, without an exponent or infinity.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    plain.then(|| text.parse().ok())?
}

/// Parses a sentence such as `$GPGLL,4916.45,N,12311.12,W,…*31`. The checksum is optional, but a
/// wrong one is an error.
fn sentence(text: &str) -> Option<Position> {
    let text = text.strip_prefix('$').unwrap_or(text);
    let (body, checksum) =
        text.split_once('*').map_or((text, None), |(body, sum)| (body, Some(sum)));
    if let Some(checksum) = checksum {
        let expected = body.bytes().fold(0, |sum, byte| sum ^ byte);
        if u8::from_str_radix(checksum.trim(), 16) != Ok(expected) {
            return None;
        }
    }
    let mut fields = body.split(',');
    let kind = fields.next()?;
    let skipped = if kind.ends_with("GLL") {
        0
    } else if kind.ends_with("GGA") {
        1
    } else {
        return None;
    };
    let mut fields = fields.skip(skipped);
    let latitude = degrees_minutes(fields.next()?, 2)? * hemisphere(fields.next()?, 'N', 'S')?;
    let longitude = degrees_minutes(fields.next()?, 3)? * hemisphere(fields.next()?, 'E', 'W')?;
    Position::new(latitude, longitude)
}

/// Parses `ddmm.mmm` or `dddmm.mmm`.
fn degrees_minutes(text: &str, degree_digits: usize) -> Option<f64> {
    let (degrees, minutes) = text.split_at_checked(degree_digits)?;
    join(&[number(degrees)?, number(minutes)?])
}

/// Parses degrees, minutes and seconds such as `41°24'12.2"N 2°10'26.5"E`. The letters may come
/// first, a comma may separate the angles, and minutes and seconds may be absent.
fn dms(text: &str) -> Option<Position> {
    let split = if text.starts_with(['N', 'S']) {
        text.find(['E', 'W'])?
    } else {
        text.find(['N', 'S'])? + 1
    };
    let (latitude, longitude) = text.split_at_checked(split)?;
    Position::new(angle(latitude, 'N', 'S')?, angle(longitude, 'E', 'W')?)
}

fn angle(text: &str, positive: char, negative: char) -> Option<f64> {
    let text = text.trim_matches([' ', ',']);
    let letter = |c: char| c == positive || c == negative;
    let sign = text.find(letter).and_then(|at| text.get(at..=at))?;
    let sign = hemisphere(sign, positive, negative)?;
    let text = text.trim_matches(letter);
    let parts = text.split(SEPARATORS).filter(|part| !part.is_empty());
    join(&parts.map(number).collect::<Option<Vec<_>>>()?).map(|degrees| sign * degrees)
}

fn hemisphere(text: &str, positive: char, negative: char) -> Option<f64> {
    let mut letters = text.chars();
    let letter = letters.next().filter(|_| letters.next().is_none())?;
    if letter == positive { Some(1.0) } else { (letter == negative).then_some(-1.0) }
}

/// Adds up to three parts, of which each is a sixtieth of the previous one.
fn join(parts: &[f64]) -> Option<f64> {
    let is_valid = parts.iter().skip(1).all(|part| *part < 60.0) && parts.iter().all(|p| *p >= 0.0);
    if parts.is_empty() || parts.len() > 3 || !is_valid {
        return None;
    }
    Some(parts.iter().rev().fold(0.0, |sum, part| part + sum / 60.0))
}

const SEPARATORS: [char; 8] = ['°', 'º', '\'', '"', '′', '″', ':', ' '];

#[cfg(test)]
mod tests {
    use super::*;

    fn other(text: &str) -> String {
        match parse(text) {
            Some(Parsed::Other(position)) => position.to_text(),
            parsed => panic!("{text}: {parsed:?}"),
        }
    }

    #[test]
    fn parses_decimal_degrees() {
        let berlin = Position { latitude: 52.52, longitude: -13.405 };
        for text in ["52.52,-13.405", " 52.52 , -13.405 "] {
            assert_eq!(parse(text), Some(Parsed::Decimal(berlin)), "{text}");
        }
    }

    #[test]
    fn parses_degrees_minutes_and_seconds() {
        for text in [
            "41°24'12.2\"N 2°10'26.5\"E",
            "41°24′12.2″N, 2°10′26.5″E",
            "N41°24'12.2\" E2°10'26.5\"",
            "41:24:12.2N 2:10:26.5E",
        ] {
            assert_eq!(other(text), "41.4033889,2.1740278", "{text}");
        }
        assert_eq!(other("41°30'S 2°W"), "-41.5,-2");
    }

    /// The sentences are examples from gpsd (`driver_nmea0183.c`).
    #[test]
    fn parses_gll_and_gga_sentences() {
        assert_eq!(other("$GPGLL,4916.45,N,12311.12,W,225444,A*31"), "49.2741667,-123.1853333");
        let gga = "GPGGA,123519,4807.038,N,01131.324,E,1,08,0.9,545.4,M,46.9,M,,";
        assert_eq!(other(gga), "48.1173,11.5220667");
    }

    #[test]
    fn rejects_invalid_positions() {
        for text in [
            "",
            "here",
            "91,0",
            "0,181",
            "1,2,3",
            "1e1,2",
            "NaN,0",
            "$GPGLL,4916.45,N,12311.12,W,225444,A*32",
            "$GPRMC,4916.45,N,12311.12,W",
            "$GPGLL,4960.00,N,12311.12,W",
            "41°24'60\"N 2°10'26.5\"E",
            "41°24'N",
            "é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
