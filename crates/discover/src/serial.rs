//! What speaks on a serial line: the bytes that were heard at one setting, with their times, give the framing and the format
//! that read them best, and how sure that is.
//!
//! Each hypothesis is tried with the framer and the decoder that the daemon would use. Wrong settings give bytes that no
//! hypothesis reads, so the best guess of all settings tells the setting, too.

mod binary;
mod lines;
mod modbus;
mod telegram;

use std::time::Instant;

use crate::mqtt::shape::Channels;
use crate::mqtt::{map_entries, quoted};
use tidegate_ingest::frame::{Frame, Framer, Framing};

/// The most bytes that are kept of one setting: seconds at the fastest of the usual ones.
pub const BYTES_MAX: usize = 64 * 1024;

/// The longest frame that is looked for, in bytes: a telegram of a smart meter may have 2 KiB.
const FRAME_BYTES_MAX: usize = 4 * 1024;

/// From here on no other setting could explain more: at a wrong one nothing has a form.
const GOOD_SCORE: f64 = 0.7;

/// From here on a guess is as good as certain, if enough frames bear it out.
const CERTAIN_SCORE: f64 = 0.85;

/// How many frames that takes.
const CERTAIN_FRAMES: usize = 5;

/// Bytes that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// When.
    pub at: Instant,
    /// What.
    pub bytes: Vec<u8>,
}

/// What was heard, made sense of.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// In a few words.
    pub what: String,
    /// The frames that bear it out.
    pub frames: usize,
    /// 0, nothing fits, to 1.
    pub score: f64,
    /// Why it is thought, in sentences.
    pub evidence: Vec<String>,
    /// What stands in the table of the bus beside its port; none if it is no bus that listens.
    pub bus_keys: String,
    /// What stands in the table of the sensor before its map.
    pub sensor_keys: String,
    /// The channels.
    pub channels: Channels,
    /// Whether the instrument is a unit on a Modbus line, which is to be asked.
    pub is_modbus: bool,
}

/// The best guess for what was heard at one setting; `None` if nothing fits.
pub fn guess(chunks: &[Chunk]) -> Option<Guess> {
    let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| &chunk.bytes).copied().collect();
    let now = chunks.last()?.at;
    let found = [
        telegram::guess(&bytes, now),
        modbus::guess(&bytes),
        lines::guess(&bytes, now),
        lines::guess_marked(&bytes, now),
        lines::guess_pauses(chunks),
        binary::guess(&bytes, now),
    ];
    let useful = |guess: &Guess| guess.is_modbus || !guess.channels.is_empty();
    let found = found.into_iter().flatten().filter(useful);
    found.reduce(|best, one| if one.score > best.score { one } else { best })
}

/// How much of it is text, 0 to 1.
pub fn text_share(chunks: &[Chunk]) -> f64 {
    let bytes = || chunks.iter().flat_map(|chunk| &chunk.bytes);
    share(bytes().filter(|byte| is_text(**byte)).count(), bytes().count())
}

impl Guess {
    /// Whether listening on would not change it.
    pub fn is_certain(&self) -> bool {
        self.score >= CERTAIN_SCORE && self.frames >= CERTAIN_FRAMES
    }

    /// Whether other settings need not be tried.
    pub fn is_good(&self) -> bool {
        self.score >= GOOD_SCORE
    }

    /// The entries of the sensor's map, a line each.
    pub fn map(&self) -> String {
        map_entries(&self.channels)
    }
}

/// The whole frames in these bytes.
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

/// Bytes as a data sheet writes them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
