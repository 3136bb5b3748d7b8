//! Detects telegrams of smart meters, from `/` to `!`.

use std::time::Instant;

use super::{Candidate, FRAME_BYTES_MAX, frames};
use crate::mqtt::shape::{Channels, DetectedFormat};
use tidegate_ingest::decode::{Births, Format, Obis};
use tidegate_ingest::frame::{Checksum, ChecksumAlgorithm, CoverEnd, Framing, Notation, Shape};

/// The configuration of the frame of a telegram with the checksum of DSMR 4 and 5 (P1 companion
/// standard, 6.2) or a line end behind it.
const FRAME: &str = "frame = \"dsmr\"\n";

/// The configuration of the frame of another telegram.
const MARKED_FRAME: &str =
    "frame = { kind = \"enclosed\", start = \"/\", end = \"!\", keep_markers = true }\n";

pub(super) fn candidate(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let algorithm = ChecksumAlgorithm::named("crc-16-arc")?;
    let checksum = Checksum {
        algorithm,
        notation: Notation::Hexadecimal,
        from: 0,
        to: CoverEnd::BeforeChecksum(0),
    };
    let checked = telegrams(bytes, Some(checksum.clone()), false, now);
    let (telegrams, keys, proof, score) = if checked.is_empty() {
        let all = telegrams(bytes, None, false, now);
        // Of the last one, the line end may be missing.
        let is_usual = telegrams(bytes, Some(checksum), true, now).len() + 1 >= all.len().max(2);
        let keys = if is_usual { FRAME } else { MARKED_FRAME };
        (all, keys, "they have no checksum", 0.96)
    } else {
        (checked, FRAME, "their checksums are good (CRC-16/ARC)", 1.0)
    };
    let mut channels = Channels::default();
    for telegram in &telegrams {
        channels.record("", DetectedFormat::Obis, telegram, &mut Births::default());
    }
    (!channels.is_empty()).then(|| Candidate {
        description: "telegrams of a smart meter".to_owned(),
        frames: telegrams.len(),
        score,
        evidence: vec![format!("{} telegrams with OBIS codes; {proof}", telegrams.len())],
        bus_keys: keys.to_owned(),
        sensor_keys: "format = \"obis\"\n".to_owned(),
        channels,
        is_modbus: false,
    })
}

/// Returns the telegrams; with `checksum_optional` also those with a line end in place of the
/// checksum.
fn telegrams(
    bytes: &[u8],
    checksum: Option<Checksum>,
    checksum_optional: bool,
    now: Instant,
) -> Vec<Vec<u8>> {
    let shape = Shape::Enclosed {
        start: b"/".to_vec(),
        end: b"!".to_vec(),
        checksum_after_end: checksum.is_some(),
        keep_markers: true,
        checksum_optional,
    };
    let framing = Framing { shape, checksum, ..Framing::lines(FRAME_BYTES_MAX) };
    let format = Format::from(Obis);
    let is_telegram = |frame: &Vec<u8>| format.decode("", frame, &mut Births::default()).is_ok();
    frames(framing, bytes, now).into_iter().filter(is_telegram).collect()
}
