//! Sentences of NMEA 0183: positions, speeds, depths, headings, winds and weather.
//!
//! The crate `nmea` reads the fields. It is stricter than the instruments that are in use, so what stands around the fields is
//! read here: sentences of NMEA 2.0 and older, which have no checksum or no mode, the sentences of makers, and the flags by which
//! a receiver says that it has no fix. The recordings of gpsd are the judge (tests/it/gpsd.rs).

use nmea::ParseResult;
use nmea::sentences::mwv::{MwvReference, MwvWindSpeedUnits};

use super::{DecodeError, Flat};
use crate::unit::{Conversion, Unit};
use tidegate_model::Value;
use tidegate_model::excerpt::excerpt;

/// All channels that a sentence can have.
pub(super) const CHANNELS: [&str; 25] = [
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

/// Reads one sentence. Its type is the channel `sentence`; a receiver that has no fix sends sentences without a `position`.
pub(super) fn decode(text: &str) -> Result<Flat, DecodeError> {
    read(text.trim())
        .map_err(|problem| DecodeError::NotNmea { problem, excerpt: excerpt(text.as_bytes()) })
}

fn read(sentence: &str) -> Result<Flat, &'static str> {
    let body = body(sentence)?;
    let fields: Vec<&str> = body.split(',').collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    let kind = kind(field(0)).ok_or("it does not begin with a talker and a type, such as GPGGA")?;
    let mut channels = Flat::new();
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
    if is_read_by_crate(kind) && !is_void(kind, field) {
        let whole = as_the_crate_wants(kind, &fields).join(",");
        let whole = format!("${whole}*{:02X}", checksum(&whole));
        let parsed = nmea::parse_str(&whole).map_err(|_| "its fields are not those of its type")?;
        measure(&parsed, &mut channels);
    }
    channels.insert("sentence".to_owned(), Value::text(kind.to_owned()));
    Ok(channels)
}

/// What stands between the mark at the beginning and the checksum, which is right or missing.
fn body(sentence: &str) -> Result<&str, &'static str> {
    let body = sentence.strip_prefix(['$', '!']).ok_or("it does not begin with $ or !")?;
    let Some((body, digits)) = body.rsplit_once('*') else {
        // Up to NMEA 2.0 the checksum may be missing. A maker's sentence without one may be the rest of anything.
        let is_standard =
            body.starts_with(|begin: char| begin.is_ascii_uppercase() && begin != 'P');
        return if is_standard { Ok(body) } else { Err("it has no checksum") };
    };
    match u8::from_str_radix(digits, 16) {
        Ok(given) if given == checksum(body) => Ok(body),
        _ => Err("its checksum is wrong"),
    }
}

/// The exclusive or of all characters (NMEA 0183, 5.2.2.4).
fn checksum(body: &str) -> u8 {
    body.bytes().fold(0, |sum, byte| sum ^ byte)
}

/// The type of a sentence: what follows the talker, or the name of a maker's sentence, which need not end with a comma.
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

/// The fields with modes that all versions know. What the instrument said there is read by [`is_void`].
fn as_the_crate_wants<'a>(kind: &str, fields: &[&'a str]) -> Vec<&'a str> {
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

fn is_read_by_crate(kind: &str) -> bool {
    let kinds = ["GGA", "GLL", "GNS", "RMC", "VTG", "DPT", "HDT", "MDA", "MTW", "MWV", "VHW"];
    kinds.contains(&kind)
}

/// Whether the instrument itself says that the fields hold no measurement. What stands in them then is old, or made up.
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

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other sentences of the crate have a type, but nothing that is wanted here"
)]
fn measure(parsed: &ParseResult, channels: &mut Flat) {
    let mut put = |name: &str, number: Option<f64>| {
        if let Some(number) = number {
            channels.insert(name.to_owned(), Value::float(number));
        }
    };
    // The crate's singles, as the sentence wrote them.
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
        // A Losant gps attribute is a text of latitude and longitude (devices/attributes, "GPS String"). A unit in the seventh
        // decimal is 11 mm, which is what receivers with corrections tell.
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
    let conversion = Conversion::between(Unit::named(unit)?, Unit::named("kn")?)?;
    Some(conversion.apply(speed))
}
