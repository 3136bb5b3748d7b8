//! Infers framing and format of an instrument from the bytes on a serial line.
//!
//! Each candidate is tested with the framer and the decoder of the daemon, and gets a score. With
//! wrong line settings no candidate fits, so the best score of all settings also finds the setting.

mod binary;
mod lines;
mod modbus;
mod named;
mod notation;
mod telegram;

use std::time::Instant;

use crate::mqtt::shape::Channels;
use crate::mqtt::{map_entries, quoted};
use tidegate_ingest::frame::{Frame, Framer, Framing};

/// The most bytes that are recorded at one setting: some seconds at the fastest usual one.
pub const BYTES_MAX: usize = 64 * 1024;

/// The longest frame that is searched, in bytes. A telegram of a smart meter may have 2 KiB.
const FRAME_BYTES_MAX: usize = 4 * 1024;

/// The score from which on no other setting needs to be tried.
const GOOD_SCORE: f64 = 0.7;

/// The score from which on a candidate is certain, if enough frames confirm it.
const CERTAIN_SCORE: f64 = 0.85;

/// The number of frames that a certain candidate needs.
const CERTAIN_FRAMES: usize = 5;

/// Bytes that arrived together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// When they arrived.
    pub at: Instant,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A possible explanation of the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// A short description.
    pub description: String,
    /// The number of frames that confirm it.
    pub frames: usize,
    /// How well it fits, from 0 to 1.
    pub score: f64,
    /// The evidence, in sentences.
    pub evidence: Vec<String>,
    /// The keys of the bus besides its port; empty if no bus can read it passively.
    pub bus_keys: String,
    /// The keys of the sensor before its map.
    pub sensor_keys: String,
    /// The channels.
    pub channels: Channels,
    /// Whether the instrument is a Modbus unit, which must be polled.
    pub is_modbus: bool,
}

/// Returns the best candidate for the bytes at one setting; `None` if none fits.
pub fn best_candidate(chunks: &[Chunk]) -> Option<Candidate> {
    let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| &chunk.bytes).copied().collect();
    let now = chunks.last()?.at;
    let found = [
        named::vedirect(&bytes, now),
        named::sml(&bytes, now),
        named::nmea(&bytes, now),
        named::mbus(&bytes, now),
        named::modbus_ascii(&bytes, now),
        telegram::candidate(&bytes, now),
        modbus::candidate(&bytes),
        lines::candidate(&bytes, now),
        lines::candidate_marked(&bytes, now),
        lines::candidate_pauses(chunks),
        binary::candidate(&bytes, now),
    ];
    let useful = |candidate: &Candidate| candidate.is_modbus || !candidate.channels.is_empty();
    let found = found.into_iter().flatten().filter(useful);
    found.reduce(|best, one| if one.score > best.score { one } else { best })
}

/// Returns the share of text, from 0 to 1.
pub fn text_share(chunks: &[Chunk]) -> f64 {
    let bytes = || chunks.iter().flat_map(|chunk| &chunk.bytes);
    share(bytes().filter(|byte| is_text(**byte)).count(), bytes().count())
}

impl Candidate {
    /// Returns whether more bytes would not change it.
    pub fn is_certain(&self) -> bool {
        self.score >= CERTAIN_SCORE && self.frames >= CERTAIN_FRAMES
    }

    /// Returns whether other settings need not be tried.
    pub fn is_good(&self) -> bool {
        self.score >= GOOD_SCORE
    }

    /// Returns the map entries of the sensor, one a line.
    pub fn map(&self) -> String {
        map_entries(&self.channels)
    }
}

/// Returns the complete frames in the bytes.
fn frames(framing: Framing, bytes: &[u8], now: Instant) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(framing);
    framer.handle_bytes(bytes, now);
    let whole = framer.drain_frames().filter_map(|frame| match frame {
        Frame::Whole(frame) => Some(frame.to_vec()),
        Frame::Lost(_) => None,
    });
    whole.collect()
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t' | 0x02 | 0x03)
}

fn share(part: usize, whole: usize) -> f64 {
    let (part, whole) = (u32::try_from(part).unwrap_or(u32::MAX), u32::try_from(whole));
    whole.map_or(0.0, |whole| f64::from(part) / f64::from(whole.max(1)))
}

/// Formats bytes as hexadecimal digits, like a data sheet.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
