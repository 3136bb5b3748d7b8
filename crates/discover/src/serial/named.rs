//! Detects protocols whose frames have a name in the configuration, by their checksums.

use std::time::Instant;

use super::lines::note_sentences;
use super::{Candidate, FRAME_BYTES_MAX, frames, hex, share};
use crate::mqtt::shape::{Channels, DetectedFormat};
use tidegate_ingest::decode::{Births, Format, KeyValue};
use tidegate_ingest::frame::{
    Checksum, ChecksumAlgorithm, Counted, CoverEnd, Endian, Framing, Length, Shape,
};

/// The score of a protocol with a strong checksum, or with a checksum and other proof.
const PROVEN: f64 = 1.0;

/// The score of frames with a checksum whose content is for the data sheet to explain.
const BINARY: f64 = 0.97;

/// The least number of frames with a checksum of 8 bits; fewer may be coincidence.
const FRAMES_MIN: usize = 3;

/// The first byte of an M-Bus frame behind its header (EN 13757-2, 5.4).
const MBUS_HEADER_BYTES: usize = 4;

/// The bytes of unit and function of a Modbus frame.
const MODBUS_HEADER_BYTES: usize = 2;

/// The most fields of a binary frame.
const FIELDS_MAX: usize = 64;

/// Returns a candidate for blocks of VE.Direct.
pub(super) fn vedirect(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let blocks = named_frames(Shape::VeDirect, None, bytes, now);
    let mut channels = Channels::default();
    let format = Format::from(KeyValue::default());
    let count = blocks.iter().filter(|block| channels.record_as(&format, block)).count();
    let evidence = format!("{count} blocks of VE.Direct, whose checksums are good");
    let found = Candidate {
        description: "blocks of VE.Direct".to_owned(),
        frames: count,
        score: PROVEN,
        evidence: vec![evidence],
        bus_keys: "frame = \"vedirect\"\n".to_owned(),
        sensor_keys: "format = \"key-value\"\n".to_owned(),
        channels,
        is_modbus: false,
    };
    (count > 0).then_some(found)
}

/// Returns a candidate for files of the Smart Message Language.
pub(super) fn sml(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let files = named_frames(Shape::Sml, None, bytes, now);
    let mut channels = Channels::default();
    let mut births = Births::default();
    let mut count = 0;
    for file in &files {
        count += usize::from(channels.record("", DetectedFormat::Sml, file, &mut births));
    }
    let found = Candidate {
        description: "files of a smart meter (SML)".to_owned(),
        frames: count,
        score: PROVEN,
        evidence: vec![format!("{count} SML files, whose checksums are good")],
        bus_keys: "frame = \"sml\"\n".to_owned(),
        sensor_keys: "format = \"sml\"\n".to_owned(),
        channels,
        is_modbus: false,
    };
    (count > 0).then_some(found)
}

/// Returns a candidate for sentences of NMEA 0183 with checksums.
pub(super) fn nmea(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let sentences = named_frames(Shape::Nmea, None, bytes, now);
    let (mut channels, mut births) = (Channels::default(), Births::default());
    let mut known = 0;
    for sentence in &sentences {
        known += usize::from(channels.record("", DetectedFormat::Nmea, sentence, &mut births));
    }
    channels.remove("sentence");
    // A name for any depth, beside the name of the depth that it is.
    channels.remove("depth");
    let taken: usize = sentences.iter().map(Vec::len).sum();
    // The probe may begin and end in the middle of a sentence, which says nothing against NMEA.
    let first = bytes.iter().position(|byte| matches!(byte, b'$' | b'!')).unwrap_or_default();
    let last = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let bytes = bytes.get(first..last).unwrap_or(bytes);
    let ends = bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut candidate = Candidate {
        description: "sentences of NMEA 0183 with checksums".to_owned(),
        frames: known,
        score: PROVEN * share(taken + ends, bytes.len()).min(1.0),
        evidence: vec![format!("{} sentences have a valid checksum", sentences.len())],
        bus_keys: "frame = \"nmea\"\n".to_owned(),
        sensor_keys: "format = \"nmea\"\n".to_owned(),
        channels,
        is_modbus: false,
    };
    note_sentences(&mut candidate, &sentences, &[]);
    (known > 0).then_some(candidate)
}

/// Returns a candidate for long frames of M-Bus that a meter sends to another master.
pub(super) fn mbus(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let length = Length {
        offset: 1,
        size: 1,
        endian: Endian::Big,
        counts: Counted::Rest,
        extra: MBUS_HEADER_BYTES,
        is_repeated: true,
    };
    let shape = Shape::Prefixed { start: b"\x68".to_vec(), length, end: b"\x16".to_vec() };
    let found = named_frames(shape, checksum("sum", MBUS_HEADER_BYTES), bytes, now);
    binary("mbus", "frames of M-Bus", MBUS_HEADER_BYTES, &found)
}

/// Returns a candidate for Modbus ASCII between other devices.
pub(super) fn modbus_ascii(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let shape = Shape::Enclosed {
        start: b":".to_vec(),
        end: b"\r\n".to_vec(),
        checksum_after_end: false,
        keep_markers: false,
        checksum_optional: false,
    };
    let (checksum, decode_hex) = (checksum("lrc", 0), true);
    let framing = Framing { shape, checksum, decode_hex, ..Framing::lines(FRAME_BYTES_MAX) };
    let found = frames(framing, bytes, now);
    binary("modbus-ascii", "frames of Modbus ASCII", MODBUS_HEADER_BYTES, &found)
}

/// Returns a candidate with a field for each byte that all frames have behind their header.
fn binary(kind: &str, name: &str, header_bytes: usize, frames: &[Vec<u8>]) -> Option<Candidate> {
    let shortest = frames.iter().map(Vec::len).min().filter(|_| frames.len() >= FRAMES_MIN)?;
    let last = frames.last()?;
    let (mut fields, mut channels) = (Vec::new(), Channels::default());
    let content = last.iter().enumerate().take(shortest).skip(header_bytes).take(FIELDS_MAX);
    for (offset, byte) in content {
        let name = format!("byte-{offset}");
        fields.push(format!("  {{ name = \"{name}\", offset = {offset}, kind = \"u8\" }},\n"));
        channels.add_number(&name, i64::from(*byte));
    }
    Some(Candidate {
        description: name.to_owned(),
        frames: frames.len(),
        score: BINARY,
        evidence: vec![
            format!("{} {name} have a valid checksum, such as {}", frames.len(), hex(last)),
            "the data sheet has the meaning of the bytes: define fields for them".to_owned(),
            "the questions of another master have the same frame and are read, too".to_owned(),
        ],
        bus_keys: format!("frame = \"{kind}\"\n"),
        sensor_keys: format!("format = \"binary\"\nfields = [\n{}]\n", fields.concat()),
        channels,
        is_modbus: false,
    })
}

fn checksum(name: &str, from: usize) -> Option<Checksum> {
    let algorithm = ChecksumAlgorithm::named(name)?;
    let notation = algorithm.default_notation();
    Some(Checksum { algorithm, notation, from, to: CoverEnd::BeforeChecksum(0) })
}

fn named_frames(
    shape: Shape,
    checksum: Option<Checksum>,
    bytes: &[u8],
    now: Instant,
) -> Vec<Vec<u8>> {
    frames(Framing { shape, checksum, ..Framing::lines(FRAME_BYTES_MAX) }, bytes, now)
}
