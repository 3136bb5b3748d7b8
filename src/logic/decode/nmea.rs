//! Sentences of NMEA 0183: positions, speeds, depths and winds, by the crate `nmea`.

use nmea::ParseResult;
use nmea::sentences::mwv::{MwvReference, MwvWindSpeedUnits};
use nmea::sentences::rmc::RmcStatusOfFix;
use nmea::sentences::{FixType, MwvData, RmcData};

use super::{DecodeError, Flat};
use crate::logic::excerpt::excerpt;
use crate::logic::frame::{Checksum, Notation, Sum};
use crate::logic::unit::{Conversion, Unit};
use crate::model::{Timestamp, Value};

/// All channels that a sentence can have.
pub(super) const CHANNELS: [&str; 17] = [
    "sentence",
    "position",
    "latitude",
    "longitude",
    "altitude",
    "speed",
    "course",
    "time",
    "hdop",
    "satellites",
    "depth",
    "heading",
    "waterTemperature",
    "windAngle",
    "windSpeed",
    "trueWindAngle",
    "trueWindSpeed",
];

/// Reads one sentence with its checksum. Its type is the channel `sentence`; a receiver that has no fix yet sends
/// sentences without a `position`.
pub(super) fn decode(text: &str) -> Result<Flat, DecodeError> {
    let sentence = text.trim();
    let mut channels = Flat::new();
    // A type that the crate does not know is no damage.
    let kind = sentence.get(3..6).unwrap_or_default().to_owned();
    if let Some(kind) = proprietary_type(sentence) {
        channels.insert("sentence".to_owned(), Value::text(kind));
        return Ok(channels);
    }
    let shortened = with_two_modes(sentence);
    match nmea::parse_str(shortened.as_deref().unwrap_or(sentence)) {
        Ok(parsed) => read(&parsed, &mut channels),
        Err(nmea::Error::DisabledSentence) => {}
        Err(error) => {
            let problem = excerpt(error.to_string().as_bytes());
            return Err(DecodeError::NotNmea { problem, excerpt: excerpt(text.as_bytes()) });
        }
    }
    channels.insert("sentence".to_owned(), Value::text(kind));
    Ok(channels)
}

/// GNS with one mode for all satellites where it has more than the two that the crate reads: NMEA 4.1 has one for each
/// system, `AANN`.
fn with_two_modes(sentence: &str) -> Option<String> {
    let content = content(sentence).filter(|content| content.get(2..6) == Some("GNS,"))?;
    let mut fields: Vec<_> = content.split(',').collect();
    let modes = fields.get_mut(6).filter(|modes| modes.len() > 2)?;
    let valid = modes.split('N').find(|valid| !valid.is_empty());
    *modes = valid.and_then(|valid| valid.get(..1)).unwrap_or("N");
    let content = fields.join(",");
    let sum = content.bytes().fold(0, |sum, byte| sum ^ byte);
    Some(format!("${content}*{sum:02X}"))
}

/// What stands between `$` and a good checksum.
fn content(sentence: &str) -> Option<&str> {
    let checksum = Checksum { sum: Sum::Nmea, notation: Notation::Hexadecimal, from: 0 };
    std::str::from_utf8(checksum.strip(sentence.as_bytes())?).ok()
}

/// Whole and begun by `$P`: a sentence that only its maker explains.
fn proprietary_type(sentence: &str) -> Option<&str> {
    content(sentence).filter(|content| content.starts_with('P'))?.split(',').next()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other sentences of the crate have a type, but nothing that is wanted here"
)]
fn read(parsed: &ParseResult, channels: &mut Flat) {
    let mut put = |name: &str, number: Option<f64>| {
        if let Some(number) = number {
            channels.insert(name.to_owned(), Value::float(number));
        }
    };
    let mut position = None;
    match parsed {
        // What the receiver itself calls void may be where it was an hour ago.
        ParseResult::GGA(gga) => {
            if gga.fix_type != Some(FixType::Invalid) {
                position = gga.latitude.zip(gga.longitude);
                put("altitude", single(gga.altitude));
            }
            put("hdop", single(gga.hdop));
            put("satellites", gga.fix_satellites.map(f64::from));
        }
        ParseResult::RMC(rmc) if rmc.status_of_fix != RmcStatusOfFix::Invalid => {
            position = rmc.lat.zip(rmc.lon);
            put("speed", single(rmc.speed_over_ground));
            put("course", single(rmc.true_course));
            channels.extend(time(rmc).map(|time| ("time".to_owned(), Value::text(time))));
        }
        ParseResult::GLL(gll) if gll.valid => position = gll.latitude.zip(gll.longitude),
        ParseResult::GNS(gns) => {
            if FixType::from(gns.faa_modes) != FixType::Invalid {
                position = gns.lat.zip(gns.lon);
                put("altitude", single(gns.alt));
            }
            put("hdop", single(gns.hdop));
            put("satellites", Some(gns.nsattelites.into()));
        }
        ParseResult::VTG(vtg) => {
            put("speed", single(vtg.speed_over_ground));
            put("course", single(vtg.true_course));
        }
        ParseResult::DPT(dpt) => put("depth", dpt.water_depth),
        ParseResult::HDT(hdt) => put("heading", single(hdt.heading)),
        ParseResult::MTW(mtw) => put("waterTemperature", mtw.temperature),
        ParseResult::MWV(mwv) if mwv.data_valid => {
            // A vessel sends the wind that it feels and the true one in turns.
            let (angle, speed) = match mwv.reference {
                Some(MwvReference::Theoretical) => ("trueWindAngle", "trueWindSpeed"),
                Some(MwvReference::Relative) | None => ("windAngle", "windSpeed"),
            };
            put(angle, single(mwv.wind_direction));
            put(speed, knots(mwv));
        }
        _ => {}
    }
    if let Some((latitude, longitude)) = position {
        let mut put = |name: &str, value| channels.insert(name.to_owned(), value);
        put("latitude", Value::float(latitude));
        put("longitude", Value::float(longitude));
        // A Losant gps attribute is a text of latitude and longitude (devices/attributes, "GPS String").
        put("position", Value::text(format!("{latitude:.6},{longitude:.6}")));
    }
}

/// One of the crate's singles, as the sentence wrote it.
fn single(number: Option<f32>) -> Option<f64> {
    number.and_then(|number| number.to_string().parse().ok())
}

/// The time of a fix with its date, in RFC 3339.
fn time(rmc: &RmcData) -> Option<String> {
    let (date, time) = rmc.fix_date.zip(rmc.fix_time)?;
    let millis = date.and_time(time).and_utc().timestamp_millis();
    Some(Timestamp::from_millis(millis).to_string())
}

/// The speed of the wind in knots, whatever it was measured in.
fn knots(mwv: &MwvData) -> Option<f64> {
    let unit = match mwv.wind_speed_units? {
        MwvWindSpeedUnits::Knots => return single(mwv.wind_speed),
        MwvWindSpeedUnits::KilometersPerHour => "km/h",
        MwvWindSpeedUnits::MetersPerSecond => "m/s",
        MwvWindSpeedUnits::MilesPerHour => "mph",
    };
    let conversion = Conversion::between(Unit::named(unit)?, Unit::named("kn")?)?;
    Some(conversion.apply(single(mwv.wind_speed)?))
}
