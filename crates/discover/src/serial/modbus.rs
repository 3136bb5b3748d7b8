//! Detects Modbus RTU between other devices.
//!
//! Frames are found by their checksum, because an adapter blurs the pauses between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crc::{CRC_16_MODBUS, Crc};

use super::{Candidate, share};
use crate::mqtt::shape::Channels;

/// The checksum algorithm.
const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// The residue of the checksum over a frame with its checksum.
const RESIDUE: u16 = 0;

/// The longest frame (Modbus over Serial Line 1.02, 2.3).
const FRAME_BYTES_MAX: usize = 256;

/// The shortest frame: an address, a function, a checksum.
const FRAME_BYTES_MIN: usize = 4;

/// The supported functions (Modbus Application Protocol 1.1b3, 6).
const FUNCTIONS: [u8; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 22, 23];

/// The length of a request for registers: unit, function, address, count, checksum.
const QUESTION_BYTES: usize = 8;

/// The most registers of a unit in the configuration.
const REGISTERS_MAX: u16 = 32;

/// The least number of frames; fewer may be coincidence.
const FRAMES_MIN: usize = 2;

pub(super) fn candidate(bytes: &[u8]) -> Option<Candidate> {
    let (mut rest, mut taken, mut frames) = (bytes, 0, Vec::new());
    while !rest.is_empty() {
        let length = frame_at(rest);
        if let Some((frame, _)) = length.and_then(|length| rest.split_at_checked(length)) {
            taken += frame.len();
            frames.push(frame);
        }
        rest = rest.get(length.unwrap_or(1)..).unwrap_or_default();
    }
    if frames.len() < FRAMES_MIN {
        return None;
    }
    let units: BTreeSet<_> = frames.iter().filter_map(|frame| frame.first()).collect();
    let named: Vec<_> = units.iter().map(ToString::to_string).collect();
    let mut evidence = vec![
        format!("{} frames have a valid checksum; units {}", frames.len(), named.join(", ")),
        "Somebody asks already, and only one may: take that one away before tidegate asks"
            .to_owned(),
    ];
    let tables = unit_tables(&frames);
    if tables.is_empty() {
        evidence.push("no request for registers was received, so none is known".to_owned());
    }
    Some(Candidate {
        description: "Modbus RTU".to_owned(),
        frames: frames.len(),
        score: share(taken, bytes.len()),
        evidence,
        bus_keys: tables,
        sensor_keys: "format = \"json\"\n".to_owned(),
        channels: Channels::default(),
        is_modbus: true,
    })
}

/// Returns the length of the frame at the beginning.
fn frame_at(bytes: &[u8]) -> Option<usize> {
    let (unit, function) = (*bytes.first()?, bytes.get(1)? & 0x7f);
    if unit > 247 || !FUNCTIONS.contains(&function) {
        return None;
    }
    let mut digest = CRC.digest();
    for (index, byte) in bytes.iter().take(FRAME_BYTES_MAX).enumerate() {
        digest.update(&[*byte]);
        if index + 1 >= FRAME_BYTES_MIN && digest.clone().finalize() == RESIDUE {
            return Some(index + 1);
        }
    }
    None
}

/// Returns the tables of the units, with the registers that other devices requested.
fn unit_tables(frames: &[&[u8]]) -> String {
    let mut asked: BTreeMap<u8, BTreeSet<(&str, u16)>> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame.len() == QUESTION_BYTES) {
        let [unit @ 1..=247, function, high, low, count_high, count_low, ..] = **frame else {
            continue;
        };
        let table = match function {
            1 => "coil",
            2 => "discrete",
            3 => "holding",
            4 => "input",
            _ => continue,
        };
        let (first, count) =
            (u16::from_be_bytes([high, low]), u16::from_be_bytes([count_high, count_low]));
        let registers = asked.entry(unit).or_default();
        let remaining = usize::from(REGISTERS_MAX).saturating_sub(registers.len());
        let addresses = (0..count).filter_map(|offset| first.checked_add(offset));
        registers.extend(addresses.take(remaining).map(|address| (table, address)));
    }
    let mut text = String::new();
    for (unit, registers) in asked {
        // Writing to a String cannot fail.
        write!(text, "\n[bus.modbus.NAME.unit.unit-{unit}]\nid = {unit}\nregisters = [\n")
            .unwrap_or_default();
        for (table, address) in registers {
            let kind = if matches!(table, "coil" | "discrete") { "" } else { ", kind = \"u16\"" };
            writeln!(
                text,
                "  {{ channel = \"{table}-{address}\", table = \"{table}\", \
                 address = {address}{kind} }},"
            )
            .unwrap_or_default();
        }
        text.push_str("]\n");
    }
    text
}
