//! The transport of SML files over a serial line, version 1: escapes, fill bytes and a checksum.

use std::borrow::Cow;

use crc::{CRC_16_IBM_SDLC, CRC_16_KERMIT, Crc};

/// The escape sequence.
const ESCAPE: [u8; 4] = [0x1b; 4];

/// The begin of a file: the escape and the version.
const BEGIN: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];

/// The byte behind the escape at the end of a file.
const END: u8 = 0x1a;

/// CRC-16/X-25, under its other name.
const X25: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// The checksum that meters of Holley use.
const KERMIT: Crc<u16> = Crc::<u16>::new(&CRC_16_KERMIT);

/// The bytes of a file.
pub(super) struct File<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Whether a checksum of the transport was verified.
    pub(super) is_verified: bool,
}

/// Removes the transport, if there is one, and verifies its checksum.
pub(super) fn unwrap(payload: &[u8]) -> Result<File<'_>, &'static str> {
    let Some(begin) = payload.windows(BEGIN.len()).position(|bytes| *bytes == BEGIN) else {
        return Ok(File { bytes: Cow::Borrowed(payload), is_verified: false });
    };
    let frame = payload.get(begin..).unwrap_or_default();
    let (mut bytes, mut at) = (Vec::with_capacity(frame.len()), BEGIN.len());
    loop {
        let rest = frame.get(at..).unwrap_or_default();
        match rest {
            [0x1b, 0x1b, 0x1b, 0x1b, END, fill, low, high, ..] => {
                let covered = frame.get(..at + 6).unwrap_or_default();
                if !is_checksum_of(covered, u64::from(u16::from_be_bytes([*low, *high]))) {
                    return Err("wrong checksum");
                }
                if *fill > 3 {
                    return Err("more than 3 fill bytes");
                }
                bytes.truncate(bytes.len().saturating_sub(usize::from(*fill)));
                return Ok(File { bytes: Cow::Owned(bytes), is_verified: true });
            }
            [0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, ..] => {
                bytes.extend(ESCAPE);
                at += 8;
            }
            // An escape begins with the last 0x1b, if there are more than four.
            [0x1b, 0x1b, 0x1b, 0x1b, next, _, ..] if *next != 0x1b => {
                return Err("an unknown escape sequence");
            }
            [byte, ..] => {
                bytes.push(*byte);
                at += 1;
            }
            [] => return Err("no end"),
        }
    }
}

/// Returns whether a checksum, with the low byte first as on the wire, is that of the bytes.
pub(super) fn is_checksum_of(bytes: &[u8], checksum: u64) -> bool {
    [&X25, &KERMIT].iter().any(|crc| u64::from(crc.checksum(bytes).swap_bytes()) == checksum)
}
