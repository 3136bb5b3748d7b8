//! Detects binary frames of fixed length with a constant start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Candidate, frames, hex, share};
use crate::mqtt::shape::Channels;
use tidegate_ingest::frame::{Checksum, ChecksumAlgorithm, CoverEnd, Framing, Shape};

/// The shortest frame: a start of two bytes, a value, a checksum.
const FRAME_BYTES_MIN: usize = 4;

/// The longest frame.
const FRAME_BYTES_MAX: usize = 64;

/// The least number of frames; fewer may be coincidence.
const FRAMES_MIN: usize = 4;

/// How many bytes are searched for the period of the frames.
const BYTES_LOOKED_AT: usize = 4_096;

/// The checksums that are tried, by their names in the configuration; the likeliest first.
const CHECKSUMS: [&str; 10] = [
    "modbus",
    "crc-16-xmodem",
    "crc-16-ibm-3740",
    "crc-16-kermit",
    "crc-8-maxim-dow",
    "crc-8-smbus",
    "sum-16",
    "sum-negated",
    "sum",
    "xor",
];

/// How many different frames a checksum must match.
const CONTENTS_MIN: usize = 3;

/// How many candidates for the start are tried.
const STARTS_MAX: usize = 16;

/// The share of text above which the bytes count as text.
const TEXT_SHARE_MAX: f64 = 0.95;

pub(super) fn candidate(bytes: &[u8], now: Instant) -> Option<Candidate> {
    let bytes = bytes.get(..BYTES_LOOKED_AT).unwrap_or(bytes);
    let is_text = |byte: &&u8| super::is_text(**byte);
    if share(bytes.iter().filter(is_text).count(), bytes.len()) > TEXT_SHARE_MAX {
        return None;
    }
    let tried: Vec<_> =
        periods(bytes).into_iter().map(|(start, size)| Try::new(start, size, bytes, now)).collect();
    // A checksum shows where a frame begins if the first bytes are from the middle of a frame.
    let proven = tried.iter().find(|one| one.checksum.is_some());
    proven.or(tried.first())?.candidate(bytes)
}

/// A start and a length, with the frames that they yield.
struct Try {
    start: [u8; 2],
    size: usize,
    frames: Vec<Vec<u8>>,
    checksum: Option<Proof>,
    /// The byte after the checksum.
    end: Option<u8>,
}

/// A checksum that matches.
struct Proof {
    name: &'static str,
    from: usize,
    bytes: usize,
    good: usize,
}

impl Try {
    fn new(start: [u8; 2], size: usize, bytes: &[u8], now: Instant) -> Self {
        let shape = Shape::Fixed { start: start.to_vec(), bytes: size, end: Vec::new() };
        let frames = frames(Framing { shape, ..Framing::lines(FRAME_BYTES_MAX) }, bytes, now);
        let proved = |frames: &[Vec<u8>]| {
            CHECKSUMS.into_iter().find_map(|name| {
                [0, 1, start.len()].into_iter().find_map(|from| prove(name, from, frames))
            })
        };
        let (mut checksum, mut end) = (proved(&frames), None);
        let last = |frame: &Vec<u8>| frame.last().copied();
        let usual = frames.first().and_then(last);
        if checksum.is_none() && frames.iter().all(|frame| last(frame) == usual) {
            let judged = |frame: &Vec<u8>| frame.split_last().map(|(_, rest)| rest.to_vec());
            checksum = proved(&frames.iter().filter_map(judged).collect::<Vec<_>>());
            end = usual.filter(|_| checksum.is_some());
        }
        Self { start, size, frames, checksum, end }
    }

    fn candidate(&self, bytes: &[u8]) -> Option<Candidate> {
        let Self { start, size, frames, checksum, end } = self;
        let (count, last) = (frames.len(), frames.last()?);
        let start_digits = hex(start).replace(' ', "");
        let mut keys =
            format!("frame = {{ kind = \"fixed\", size = {size}, start = \"0x{start_digits}\"");
        let mut evidence =
            vec![format!("{count} frames begin with {}, such as {}", hex(start), hex(last))];
        let (mut trust, mut content) = (0.6, *size);
        if let Some(Proof { name, from, bytes, good }) = checksum {
            keys = format!("{keys}, checksum = \"{name}\", checksum_from = {from}");
            evidence.push(format!("{good} of them have a valid checksum ({name})"));
            (trust, content) = (0.97, size - bytes);
            if let Some(end) = end {
                keys = format!("{keys}, end = \"0x{end:02x}\"");
                content -= 1;
            }
        } else {
            evidence.push("no usual checksum fits".to_owned());
        }
        evidence
            .push("the data sheet has the meaning of the bytes: define fields for them".to_owned());
        let (mut fields, mut channels) = (Vec::new(), Channels::default());
        for (offset, byte) in last.iter().enumerate().take(content).skip(start.len()) {
            let name = format!("byte-{offset}");
            fields.push(format!("  {{ name = \"{name}\", offset = {offset}, kind = \"u8\" }},\n"));
            channels.add_number(&name, i64::from(*byte));
        }
        Some(Candidate {
            description: format!("frames of {size} bytes"),
            frames: count,
            score: trust * share(count * size, bytes.len()),
            evidence,
            bus_keys: keys + " }\n",
            sensor_keys: format!("format = \"binary\"\nfields = [\n{}]\n", fields.concat()),
            channels,
            is_modbus: false,
        })
    }
}

/// Returns the checksum if different frames match it. Equal frames could match by coincidence.
fn prove(name: &'static str, from: usize, frames: &[Vec<u8>]) -> Option<Proof> {
    let algorithm = ChecksumAlgorithm::named(name)?;
    let checksum = Checksum {
        notation: algorithm.default_notation(),
        algorithm,
        from,
        to: CoverEnd::BeforeChecksum(0),
    };
    let good: Vec<_> = frames.iter().filter(|frame| checksum.verify(frame).is_some()).collect();
    let contents: BTreeSet<_> = good.iter().collect();
    let is_proof = contents.len() >= CONTENTS_MIN && good.len() * 5 >= frames.len() * 4;
    is_proof.then(|| Proof { name, from, bytes: checksum.bytes(), good: good.len() })
}

/// Returns pairs of bytes that recur at a fixed distance, and the distance; the likeliest first.
fn periods(bytes: &[u8]) -> Vec<([u8; 2], usize)> {
    let mut places: BTreeMap<[u8; 2], Vec<usize>> = BTreeMap::new();
    for (at, pair) in bytes.windows(2).enumerate() {
        let [one, two] = *pair else { continue };
        places.entry([one, two]).or_default().push(at);
    }
    let mut found = Vec::new();
    for (pair, places) in places.iter().filter(|(_, places)| places.len() >= FRAMES_MIN) {
        let mut distances: BTreeMap<usize, usize> = BTreeMap::new();
        for two in places.windows(2) {
            let [one, other] = *two else { continue };
            *distances.entry(other - one).or_default() += 1;
        }
        let usual = distances.into_iter().max_by_key(|(_, count)| *count);
        let Some((distance, count)) = usual else { continue };
        let is_fit = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&distance)
            && count * 5 >= (places.len() - 1) * 3;
        if is_fit {
            // A start is seldom zeros; otherwise prefer the earliest pair.
            found.push((*pair == [0, 0], places.first().copied(), *pair, distance));
        }
    }
    found.sort_unstable();
    found.truncate(STARTS_MAX);
    found.into_iter().map(|(_, _, pair, distance)| (pair, distance)).collect()
}
