//! Finds an SML file in a payload, which may have the transport of a serial line around it.

use std::borrow::Cow;

use crate::sml_transport::{BEGIN, END, FILL_MAX, is_checksum_of, restored};

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
    let mut at = BEGIN.len();
    loop {
        let rest = frame.get(at..).unwrap_or_default();
        match rest {
            [0x1b, 0x1b, 0x1b, 0x1b, END, fill, low, high, ..] => {
                let covered = frame.get(..at + 6).unwrap_or_default();
                if !is_checksum_of(covered, u64::from(u16::from_be_bytes([*low, *high]))) {
                    return Err("wrong checksum");
                }
                let fill = usize::from(*fill);
                if fill > FILL_MAX {
                    return Err("more than 3 fill bytes");
                }
                let mut bytes = restored(frame.get(BEGIN.len()..at).unwrap_or_default());
                bytes.truncate(bytes.len().saturating_sub(fill));
                return Ok(File { bytes: Cow::Owned(bytes), is_verified: true });
            }
            [0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, 0x1b, ..] => at += 8,
            // An escape begins with the last 0x1b, if there are more than four.
            [0x1b, 0x1b, 0x1b, 0x1b, next, _, ..] if *next != 0x1b => {
                return Err("an unknown escape sequence");
            }
            [_, ..] => at += 1,
            [] => return Err("no end"),
        }
    }
}
