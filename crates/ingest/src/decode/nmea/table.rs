//! The table of numbers: sentence, field, quantity, channel.
//!
//! The fields are those of "NMEA Revealed" (gpsd), and of the manuals of instruments. Sentences
//! with rules of their own are in [`super::rules`].

use super::Channels;
use super::SentenceError;
use super::fields::{Fields, Quantity};
use Quantity::{Distance, Length, Magnetic, Plain, Pressure, Speed, Temperature, True};

/// A number of a sentence. Of two rows with one channel the first that has a number counts.
struct Row {
    kind: &'static str,
    at: usize,
    quantity: Quantity,
    channel: &'static str,
}

const fn row(kind: &'static str, at: usize, quantity: Quantity, channel: &'static str) -> Row {
    Row { kind, at, quantity, channel }
}

const ROWS: &[Row] = &[
    row("BWC", 6, True, "waypointBearing"),
    row("BWC", 10, Distance, "waypointDistance"),
    row("BWR", 6, True, "waypointBearing"),
    row("BWR", 10, Distance, "waypointDistance"),
    row("DBK", 3, Length, "depthBelowKeel"),
    row("DBK", 1, Length, "depthBelowKeel"),
    row("DBK", 5, Length, "depthBelowKeel"),
    row("DBS", 3, Length, "depthBelowSurface"),
    row("DBS", 1, Length, "depthBelowSurface"),
    row("DBS", 5, Length, "depthBelowSurface"),
    row("DBT", 3, Length, "depthBelowTransducer"),
    row("DBT", 1, Length, "depthBelowTransducer"),
    row("DBT", 5, Length, "depthBelowTransducer"),
    row("GGA", 8, Plain, "hdop"),
    row("GGA", 9, Length, "altitude"),
    row("GNS", 8, Plain, "hdop"),
    row("GNS", 9, Plain, "altitude"),
    row("HDM", 1, Magnetic, "magneticHeading"),
    row("HDT", 1, True, "heading"),
    row("MDA", 3, Pressure, "pressure"),
    row("MDA", 1, Pressure, "pressure"),
    row("MDA", 5, Temperature, "airTemperature"),
    row("MDA", 7, Temperature, "waterTemperature"),
    row("MDA", 9, Plain, "humidity"),
    row("MDA", 11, Temperature, "dewPoint"),
    row("MDA", 13, True, "windDirection"),
    row("MDA", 15, Magnetic, "magneticWindDirection"),
    row("MDA", 17, Speed, "trueWindSpeed"),
    row("MDA", 19, Speed, "trueWindSpeed"),
    row("MHU", 1, Plain, "humidity"),
    row("MHU", 3, Temperature, "dewPoint"),
    row("MMB", 3, Pressure, "pressure"),
    row("MMB", 1, Pressure, "pressure"),
    row("MTA", 1, Temperature, "airTemperature"),
    row("MTW", 1, Temperature, "waterTemperature"),
    row("MWD", 1, True, "windDirection"),
    row("MWD", 3, Magnetic, "magneticWindDirection"),
    row("MWD", 5, Speed, "trueWindSpeed"),
    row("MWD", 7, Speed, "trueWindSpeed"),
    row("RMB", 10, Plain, "waypointDistance"),
    row("RMB", 11, Plain, "waypointBearing"),
    row("RMB", 12, Plain, "closingSpeed"),
    row("RMC", 7, Plain, "speed"),
    row("RMC", 8, Plain, "course"),
    row("ROT", 1, Plain, "rateOfTurn"),
    row("THS", 1, Plain, "heading"),
    row("VBW", 1, Plain, "waterSpeed"),
    row("VDR", 1, True, "set"),
    row("VDR", 3, Magnetic, "magneticSet"),
    row("VDR", 5, Speed, "drift"),
    row("VHW", 1, True, "heading"),
    row("VHW", 3, Magnetic, "magneticHeading"),
    row("VHW", 5, Speed, "waterSpeed"),
    row("VHW", 7, Speed, "waterSpeed"),
    row("VLW", 1, Distance, "waterDistance"),
    row("VLW", 3, Distance, "waterTripDistance"),
    row("VLW", 5, Distance, "groundDistance"),
    row("VLW", 7, Distance, "groundTripDistance"),
    row("VWR", 3, Speed, "windSpeed"),
    row("VWR", 5, Speed, "windSpeed"),
    row("VWR", 7, Speed, "windSpeed"),
    row("VWT", 3, Speed, "trueWindSpeed"),
    row("VWT", 5, Speed, "trueWindSpeed"),
    row("VWT", 7, Speed, "trueWindSpeed"),
];

/// Adds the numbers of a sentence.
///
/// Without a letter of its unit, a number that the sentence has only once has the usual unit, if a
/// checksum proves that the letter was not cut.
pub(super) fn add(
    kind: &str,
    fields: &Fields<'_>,
    channels: &mut Channels,
) -> Result<(), SentenceError> {
    let rows = || ROWS.iter().filter(|row| row.kind == kind);
    for row in rows() {
        let is_only = || rows().filter(|other| other.channel == row.channel).count() == 1;
        let is_bare = fields.text(row.at + 1).is_empty() && fields.is_verified() && is_only();
        let quantity = if is_bare { Plain } else { row.quantity };
        channels.put(row.channel, fields.measured(row.at, quantity)?);
    }
    Ok(())
}
