//! Sentences whose channels follow from several fields.

use super::Channels;
use super::SentenceError;
use super::fields::{Fields, Quantity, whole_circle};
use crate::unit::rounded;

/// The fields of one transducer in XDR: type, value, unit and name.
const TRANSDUCER_FIELDS: usize = 4;

/// The depths of which `depth` is the one that the sentence has.
const DEPTHS: [&str; 3] = ["depthBelowTransducer", "depthBelowSurface", "depthBelowKeel"];

/// Returns whether the instrument marks the fields as not valid. They are then old or invented.
pub(super) fn is_void(kind: &str, fields: &Fields<'_>) -> bool {
    let field = |at| fields.text(at);
    match kind {
        "APB" | "XTE" => field(1) != "A" || field(2) != "A",
        "GGA" => matches!(field(6), "" | "0"),
        "GNS" => field(6).bytes().all(|mode| mode == b'N'),
        "RMC" => matches!(field(2), "" | "V") || field(12) == "N",
        "GLL" => !matches!(field(6), "" | "A") || field(7) == "N",
        "VTG" => field(9) == "N",
        "MWV" | "RPM" => field(5) != "A",
        "RMB" => field(1) != "A",
        "ROT" | "THS" => field(2) == "V",
        "VBW" => field(3) != "A",
        _ => false,
    }
}

/// Adds what also sentences of a receiver without a fix have.
pub(super) fn add_always(
    kind: &str,
    fields: &Fields<'_>,
    channels: &mut Channels,
) -> Result<(), SentenceError> {
    if kind == "GGA" {
        channels.put("quality", Some(fields.number(6)?.unwrap_or(0.0)));
    }
    if matches!(kind, "GGA" | "GNS") {
        channels.put("satellites", fields.number(7)?);
    }
    Ok(())
}

/// Adds the channels of a sentence that is not void.
pub(super) fn add(
    kind: &str,
    fields: &Fields<'_>,
    channels: &mut Channels,
) -> Result<(), SentenceError> {
    match kind {
        "GGA" | "GNS" => channels.put_position(fields.position(2)?),
        "GLL" => channels.put_position(fields.position(1)?),
        "RMC" => {
            channels.put_position(fields.position(3)?);
            channels.put_text("time", fields.date_and_time(1, 9)?);
            channels.put("variation", fields.signed(10, "E", "W")?);
        }
        "ZDA" => channels.put_text("time", fields.time_and_date(1)?),
        "VTG" => add_track(fields, channels)?,
        "DPT" => add_depth(fields, channels)?,
        "DBK" | "DBS" | "DBT" => channels.copy_first(&DEPTHS, "depth"),
        "HDG" => add_heading(fields, channels)?,
        "MWV" => add_wind(fields, channels)?,
        "VWR" => channels.put("windAngle", side_angle(fields)?),
        "VWT" => channels.put("trueWindAngle", side_angle(fields)?),
        "RPM" => add_revolutions(fields, channels)?,
        "RSA" => add_rudders(fields, channels)?,
        "XDR" => add_transducers(fields, channels)?,
        "XTE" => add_cross_track(fields, 3, channels)?,
        "APB" => {
            add_cross_track(fields, 3, channels)?;
            channels.put("waypointBearing", fields.measured(11, Quantity::True)?);
            channels.put_text("waypoint", waypoint(fields, 10));
        }
        "RMB" => {
            channels.put("crossTrackError", fields.signed(2, "L", "R")?);
            channels.put_text("waypoint", waypoint(fields, 5));
        }
        "BWC" | "BWR" => channels.put_text("waypoint", waypoint(fields, 12)),
        _ => {}
    }
    Ok(())
}

/// Adds course and speed. Up to NMEA 1.5 the fields have no letters.
fn add_track(fields: &Fields<'_>, channels: &mut Channels) -> Result<(), SentenceError> {
    let is_old = fields.len() <= 5 && fields.text(2) != "T";
    if is_old {
        channels.put("course", fields.number(1)?);
        channels.put("magneticCourse", fields.number(2)?);
        channels.put("speed", fields.number(3)?);
        return Ok(());
    }
    channels.put("course", fields.measured(1, Quantity::True)?);
    channels.put("magneticCourse", fields.measured(3, Quantity::Magnetic)?);
    channels.put("speed", fields.measured(5, Quantity::Speed)?);
    channels.put("speed", fields.measured(7, Quantity::Speed)?);
    Ok(())
}

/// Adds the depths of DPT. A positive offset is the distance from the transducer up to the water
/// line, a negative one the distance down to the keel.
fn add_depth(fields: &Fields<'_>, channels: &mut Channels) -> Result<(), SentenceError> {
    let Some(depth) = fields.number(1)? else { return Ok(()) };
    let offset = fields.number(2)?.unwrap_or_default();
    channels.put("depth", Some(depth));
    channels.put("depthBelowTransducer", Some(depth));
    let total = Some(rounded(depth + offset));
    if offset > 0.0 {
        channels.put("depthBelowSurface", total);
    } else if offset < 0.0 {
        channels.put("depthBelowKeel", total);
    }
    Ok(())
}

/// Adds the headings of a magnetic compass: its reading with the deviation is magnetic, and with
/// the variation true.
fn add_heading(fields: &Fields<'_>, channels: &mut Channels) -> Result<(), SentenceError> {
    let deviation = fields.signed(2, "E", "W")?;
    let variation = fields.signed(4, "E", "W")?;
    channels.put("deviation", deviation);
    channels.put("variation", variation);
    let Some(compass) = fields.number(1)? else { return Ok(()) };
    let magnetic = compass + deviation.unwrap_or_default();
    channels.put("magneticHeading", Some(whole_circle(magnetic)));
    channels.put("heading", variation.map(|variation| whole_circle(magnetic + variation)));
    Ok(())
}

fn add_wind(fields: &Fields<'_>, channels: &mut Channels) -> Result<(), SentenceError> {
    let [angle, speed] = match fields.text(2) {
        "R" => ["windAngle", "windSpeed"],
        "T" => ["trueWindAngle", "trueWindSpeed"],
        _ => return Err(SentenceError::Fields),
    };
    channels.put(angle, fields.number(1)?);
    channels.put(speed, fields.measured(3, Quantity::Speed)?);
    Ok(())
}

/// Returns the angle clockwise from the bow for an angle of up to 180° to the left or the right.
fn side_angle(fields: &Fields<'_>) -> Result<Option<f64>, SentenceError> {
    Ok(fields.signed(1, "R", "L")?.map(whole_circle))
}

/// Adds the revolutions of an engine or a shaft. Number 0 is the only one, or the one in the
/// middle; odd numbers are to starboard.
fn add_revolutions(fields: &Fields<'_>, channels: &mut Channels) -> Result<(), SentenceError> {
    let number = fields.text(2);
    let part = match fields.text(1) {
        "E" => "engineSpeed",
        "S" => "shaftSpeed",
        _ => return Err(SentenceError::Fields),
    };
    if number.len() > 2 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SentenceError::Fields);
    }
    let suffix = number.trim_start_matches('0');
    channels.put(&format!("{part}{suffix}"), fields.number(3)?);
    channels.put(&format!("propellerPitch{suffix}"), fields.number(4)?);
    Ok(())
}

fn add_rudders(fields: &Fields<'_>, channels: &mut Channels) -> Result<(), SentenceError> {
    for (at, channel) in [(1, "rudderAngle"), (3, "portRudderAngle")] {
        if fields.text(at + 1) == "A" {
            channels.put(channel, fields.number(at)?);
        }
    }
    Ok(())
}

/// Adds the distance from the track, in nautical miles: positive to the right of it, from where
/// the helmsman steers left.
fn add_cross_track(
    fields: &Fields<'_>,
    at: usize,
    channels: &mut Channels,
) -> Result<(), SentenceError> {
    let sign = fields.signed(at, "L", "R")?.map(f64::signum);
    // The unit stands behind the side.
    let unit = fields.text(at + 2);
    let distance = match unit {
        "N" | "" => fields.number(at)?,
        _ => fields.number(at)?.and_then(|number| Quantity::Distance.convert(number, unit)),
    };
    channels.put("crossTrackError", sign.zip(distance).map(|(sign, distance)| sign * distance));
    Ok(())
}

fn waypoint(fields: &Fields<'_>, at: usize) -> Option<String> {
    Some(fields.text(at).to_owned()).filter(|name| !name.is_empty())
}

/// Adds the value and the unit of each transducer.
fn add_transducers(fields: &Fields<'_>, channels: &mut Channels) -> Result<(), SentenceError> {
    for at in (1..fields.len()).step_by(TRANSDUCER_FIELDS) {
        let is_whole = at + TRANSDUCER_FIELDS <= fields.len();
        if !is_whole && !fields.is_verified() {
            return Err(SentenceError::Fields);
        }
        let [kind, unit, name] = [at, at + 2, at + 3].map(|at| fields.text(at));
        if kind.is_empty() {
            continue;
        }
        let separator = if name.is_empty() { "" } else { "_" };
        let channel = format!("xdr_{}{separator}{}", plain(kind), plain(name));
        let value = fields.number(at + 1)?;
        let unit = Some(unit.to_owned()).filter(|unit| value.is_some() && !unit.is_empty());
        channels.put(&channel, value);
        channels.put_text(&format!("{channel}_unit"), unit);
    }
    Ok(())
}

/// Returns a name that may be a part of an attribute name: other characters become `_`.
fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}
