//! The transport of SML files over a serial line, version 1 (BSI TR-03109-1, SML 1.04, chapter 8):
//! escapes, fill bytes and a checksum. The framer and the decoder share it.

use crc::{CRC_16_IBM_SDLC, CRC_16_KERMIT, Crc};

/// The escape sequence. In the data it is sent twice.
pub(crate) const ESCAPE: [u8; 4] = [0x1b; 4];

/// The begin of a file: the escape and the version.
pub(crate) const BEGIN: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];

/// The byte behind the escape at the end of a file.
pub(crate) const END: u8 = 0x1a;

/// The most fill bytes: a file is filled up to a multiple of four bytes.
pub(crate) const FILL_MAX: usize = 3;

/// CRC-16/X-25, under its other name.
const X25: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// The checksum that meters of Holley use.
const KERMIT: Crc<u16> = Crc::<u16>::new(&CRC_16_KERMIT);

/// Returns whether a checksum, with the low byte first as on the wire, is that of the bytes.
pub(crate) fn is_checksum_of(bytes: &[u8], checksum: u64) -> bool {
    [&X25, &KERMIT].iter().any(|crc| u64::from(crc.checksum(bytes).swap_bytes()) == checksum)
}

/// Returns the data with each doubled escape sequence once.
pub(crate) fn restored(mut escaped: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(escaped.len());
    while let Some((byte, after)) = escaped.split_first() {
        data.push(*byte);
        let repeated = escaped.strip_prefix(&ESCAPE).and_then(|rest| rest.strip_prefix(&ESCAPE));
        escaped = repeated.unwrap_or(after);
        if repeated.is_some() {
            data.extend(&ESCAPE[1..]);
        }
    }
    data
}
