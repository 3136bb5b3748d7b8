//! Sentences of NMEA 0183: positions, speeds, depths and winds, by the crate `nmea`.

use nmea::ParseResult;

use super::{DecodeError, Flat};
use crate::logic::excerpt::excerpt;
use crate::model::Value;

/// Reads one sentence with its checksum. Its type is the channel `sentence`; a receiver that has no fix yet sends
/// sentences without a `position`.
pub(super) fn decode(text: &str) -> Result<Flat, DecodeError> {
    let sentence = text.trim();
    let mut channels = Flat::new();
    // A type that the crate does not know is no damage.
    let kind = sentence.get(3..6).unwrap_or_default().to_owned();
    match nmea::parse_str(sentence) {
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
    // The crate's singles, as the sentence wrote them.
    let single = |number: Option<f32>| number.and_then(|number| number.to_string().parse().ok());
    let mut position = None;
    match parsed {
        ParseResult::GGA(gga) => {
            position = gga.latitude.zip(gga.longitude);
            put("altitude", single(gga.altitude));
            put("hdop", single(gga.hdop));
            put("satellites", gga.fix_satellites.map(f64::from));
        }
        ParseResult::RMC(rmc) => {
            position = rmc.lat.zip(rmc.lon);
            put("speed", single(rmc.speed_over_ground));
            put("course", single(rmc.true_course));
        }
        ParseResult::GLL(gll) => position = gll.latitude.zip(gll.longitude),
        ParseResult::GNS(gns) => {
            position = gns.lat.zip(gns.lon);
            put("altitude", single(gns.alt));
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
        ParseResult::MWV(mwv) => {
            put("windAngle", single(mwv.wind_direction));
            put("windSpeed", single(mwv.wind_speed));
        }
        _ => {}
    }
    if let Some((latitude, longitude)) = position {
        put("latitude", Some(latitude));
        put("longitude", Some(longitude));
        // A Losant gps attribute is a text of latitude and longitude (devices/attributes, "GPS String").
        channels
            .insert("position".to_owned(), Value::text(format!("{latitude:.6},{longitude:.6}")));
    }
}
