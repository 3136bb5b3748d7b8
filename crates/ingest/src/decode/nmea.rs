//! Sentences of NMEA 0183: positions, speeds, depths, headings, winds and weather.
//!
//! The crate `nmea` parses the fields. It is stricter than common instruments, so this module
//! handles the rest: sentences of NMEA 2.0 and older without a checksum or a mode, proprietary
//! sentences, and the flags of a receiver without a fix. A test decodes the recordings of gpsd
//! (tests/it/gpsd.rs).

use nmea::ParseResult;
use nmea::sentences::mwv::{MwvReference, MwvWindSpeedUnits};

use super::decoded::{ChannelMap, Decoded};
use super::decoder::{Decoder, DecoderKind};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use crate::unit::{Unit, UnitConversion};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{AttributeType, Value};

pub(super) const KIND: DecoderKind =
    DecoderKind { name: Nmea::NAME, options: &[], create: |_| Some(Nmea.into()) };

/// All channels of all sentences.
const CHANNELS: [&str; 25] = [
    "airTemperature",
    "altitude",
    "course",
    "depth",
    "dewPoint",
    "hdop",
    "heading",
    "humidity",
    "latitude",
    "longitude",
    "magneticHeading",
    "position",
    "pressure",
    "quality",
    "satellites",
    "sentence",
    "speed",
    "time",
    "trueWindAngle",
    "trueWindSpeed",
    "waterSpeed",
    "waterTemperature",
    "windAngle",
    "windDirection",
    "windSpeed",
];

/// Decodes one sentence of NMEA 0183, and checks its checksum.
///
/// The channel `sentence` is the type. Sentences of a receiver without a fix have no `position`.
#[derive(Debug, Clone, Copy)]
pub struct Nmea;

impl Nmea {
    /// The name of the format in the configuration.
    pub const NAME: &str = "nmea";
}

impl Decoder for Nmea {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn channels(&self) -> Option<Vec<String>> {
        Some(CHANNELS.map(str::to_owned).to_vec())
    }

    fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        Some(match channel {
            "position" => AttributeType::Gps,
            "sentence" | "time" => AttributeType::Text,
            _ => AttributeType::Number,
        })
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        let text = utf8(payload)?;
        let channels = parse(text.trim()).map_err(|problem| DecodeError::Invalid {
            format: "NMEA 0183 sentence",
            problem: problem.into(),
            excerpt: excerpt(text.as_bytes()),
            advice: "check baud rate and wiring",
        })?;
        Ok(vec![channels.into()])
    }
}

/// Parses a sentence. The error is the problem in words.
fn parse(sentence: &str) -> Result<ChannelMap, &'static str> {
    let body = body(sentence)?;
    let fields: Vec<&str> = body.split(',').collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    let kind = kind(field(0)).ok_or("no talker and type, such as GPGGA")?;
    let mut channels = ChannelMap::new();
    let mut put = |name: &str, number: Option<f64>| {
        if let Some(number) = number {
            channels.insert(name.to_owned(), Value::float(number));
        }
    };
    match kind {
        "GGA" => {
            put("quality", Some(field(6).parse().unwrap_or(0.0)));
            put("satellites", field(7).parse().ok());
        }
        "GNS" => put("satellites", field(7).parse().ok()),
        "DBK" | "DBS" | "DBT" => put("depth", field(3).parse().ok()),
        "HDG" | "HDM" => put("magneticHeading", field(1).parse().ok()),
        _ => {}
    }
    if is_supported_by_crate(kind) && !is_void(kind, field) {
        let normalized = normalize(kind, &fields).join(",");
        let normalized = format!("${normalized}*{:02X}", checksum(&normalized));
        let parsed = nmea::parse_str(&normalized)
            .map_err(|_| "the fields do not match the sentence type")?;
        add_channels(&parsed, &mut channels);
    }
    channels.insert("sentence".to_owned(), Value::text(kind.to_owned()));
    Ok(channels)
}

/// Returns the text between the start character and the checksum, which is right or missing.
fn body(sentence: &str) -> Result<&str, &'static str> {
    let body = sentence.strip_prefix(['$', '!']).ok_or("no $ or ! at the start")?;
    let Some((body, digits)) = body.rsplit_once('*') else {
        // Up to NMEA 2.0 the checksum may be missing. A proprietary sentence needs one.
        let is_standard =
            body.starts_with(|begin: char| begin.is_ascii_uppercase() && begin != 'P');
        return if is_standard { Ok(body) } else { Err("no checksum") };
    };
    match u8::from_str_radix(digits, 16) {
        Ok(given) if given == checksum(body) => Ok(body),
        _ => Err("wrong checksum"),
    }
}

/// Returns the exclusive or of all characters (NMEA 0183, 5.2.2.4).
fn checksum(body: &str) -> u8 {
    body.bytes().fold(0, |sum, byte| sum ^ byte)
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

/// Returns the fields with a mode that the crate accepts. [`is_void`] reads the original mode.
fn normalize<'a>(kind: &str, fields: &[&'a str]) -> Vec<&'a str> {
    let mut fields = fields.to_vec();
    match kind {
        "GLL" => {
            fields.truncate(5);
            fields.extend(["", "A", "A"]);
        }
        "RMC" => {
            fields.truncate(10);
            fields.extend(["", "", "A"]);
        }
        "GNS" => fields.iter_mut().skip(6).take(1).for_each(|modes| *modes = "A"),
        _ => {}
    }
    fields
}

fn is_supported_by_crate(kind: &str) -> bool {
    let kinds = ["GGA", "GLL", "GNS", "RMC", "VTG", "DPT", "HDT", "MDA", "MTW", "MWV", "VHW"];
    kinds.contains(&kind)
}

/// Returns whether the instrument marks the fields as not valid. They are then old or invented.
fn is_void<'a>(kind: &str, field: impl Fn(usize) -> &'a str) -> bool {
    match kind {
        "GGA" => matches!(field(6), "" | "0"),
        "GNS" => field(6).bytes().all(|mode| mode == b'N'),
        "RMC" => matches!(field(2), "" | "V") || field(12) == "N",
        "GLL" => !matches!(field(6), "" | "A") || field(7) == "N",
        "VTG" => field(9) == "N",
        "MWV" => field(5) != "A",
        _ => false,
    }
}

/// Adds the channels of a parsed sentence.
#[expect(clippy::wildcard_enum_match_arm, reason = "other sentences of the crate have no channel")]
fn add_channels(parsed: &ParseResult, channels: &mut ChannelMap) {
    let mut put = |name: &str, number: Option<f64>| {
        if let Some(number) = number {
            channels.insert(name.to_owned(), Value::float(number));
        }
    };
    // Floats of single precision, with the digits of the sentence.
    let single = |number: Option<f32>| number.and_then(|number| number.to_string().parse().ok());
    let mut position = None;
    let mut time = None;
    match parsed {
        ParseResult::GGA(gga) => {
            position = gga.latitude.zip(gga.longitude);
            put("altitude", single(gga.altitude));
            put("hdop", single(gga.hdop));
        }
        ParseResult::RMC(rmc) => {
            position = rmc.lat.zip(rmc.lon);
            time = rmc.fix_date.zip(rmc.fix_time);
            put("speed", single(rmc.speed_over_ground));
            put("course", single(rmc.true_course));
        }
        ParseResult::GLL(gll) => position = gll.latitude.zip(gll.longitude),
        ParseResult::GNS(gns) => {
            position = gns.lat.zip(gns.lon);
            put("altitude", single(gns.alt));
            put("hdop", single(gns.hdop));
        }
        ParseResult::VTG(vtg) => {
            put("speed", single(vtg.speed_over_ground));
            put("course", single(vtg.true_course));
        }
        ParseResult::DPT(dpt) => put("depth", dpt.water_depth),
        ParseResult::HDT(hdt) => put("heading", single(hdt.heading)),
        ParseResult::VHW(vhw) => {
            put("heading", vhw.heading_true);
            put("magneticHeading", vhw.heading_magnetic);
            put("waterSpeed", vhw.relative_speed_knots);
        }
        ParseResult::MTW(mtw) => put("waterTemperature", mtw.temperature),
        ParseResult::MDA(mda) => {
            put("pressure", single(mda.pressure_bar));
            put("airTemperature", single(mda.air_temp_deg));
            put("waterTemperature", single(mda.water_temp_deg));
            put("humidity", single(mda.rel_humidity));
            put("dewPoint", single(mda.dew_point));
            put("windDirection", single(mda.wind_direction_true));
        }
        ParseResult::MWV(mwv) => {
            let knots = single(mwv.wind_speed).zip(mwv.wind_speed_units);
            let knots = knots.and_then(|(speed, unit)| to_knots(speed, unit));
            let is_true = mwv.reference == Some(MwvReference::Theoretical);
            put(if is_true { "trueWindAngle" } else { "windAngle" }, single(mwv.wind_direction));
            put(if is_true { "trueWindSpeed" } else { "windSpeed" }, knots);
        }
        _ => {}
    }
    if let Some((latitude, longitude)) = position {
        put("latitude", Some(latitude));
        put("longitude", Some(longitude));
        // A Losant gps attribute is a text of latitude and longitude (devices/attributes, "GPS
        // String"). The seventh decimal is 11 mm, the resolution of receivers with corrections.
        let written = format!("{latitude:.7},{longitude:.7}");
        channels.insert("position".to_owned(), Value::text(written));
    }
    if let Some((date, time)) = time {
        channels.insert("time".to_owned(), Value::text(format!("{date}T{time}Z")));
    }
}

fn to_knots(speed: f64, unit: MwvWindSpeedUnits) -> Option<f64> {
    let unit = match unit {
        MwvWindSpeedUnits::Knots => return Some(speed),
        MwvWindSpeedUnits::KilometersPerHour => "km/h",
        MwvWindSpeedUnits::MetersPerSecond => "m/s",
        MwvWindSpeedUnits::MilesPerHour => "mph",
    };
    let conversion = UnitConversion::between(Unit::named(unit)?, Unit::named("kn")?)?;
    Some(conversion.apply(speed))
}
