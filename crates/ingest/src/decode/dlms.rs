//! Recognises frames of DLMS/COSEM, which tidegate does not decode.

use super::error::DecodeError;
use tidegate_model::excerpt::excerpt;

/// The begin of an LLC header in an HDLC frame (IEC 62056-46, 5.2.3).
const LLC: [[u8; 3]; 2] = [[0xe6, 0xe7, 0x00], [0xe6, 0xe6, 0x00]];

/// The longest header of an HDLC frame in bytes: format, two addresses, control and its checksum.
const HEADER_BYTES_MAX: usize = 13;

/// Returns whether a message is a DLMS frame: HDLC with frame format 3, an APDU of a push
/// (data-notification, or ciphered), or a push in a long frame of M-Bus.
pub(super) fn is_frame(payload: &[u8]) -> bool {
    match payload {
        [0x7e, format, ..] => format & 0xf0 == 0xa0,
        [format, ..] if format & 0xf0 == 0xa0 => payload
            .windows(3)
            .take(HEADER_BYTES_MAX)
            .any(|bytes| LLC.iter().any(|llc| llc == bytes)),
        // A data-notification with its long invoke id, or general ciphering with a system title.
        [0x0f, first, ..] => matches!(first, 0x00 | 0x40 | 0x80 | 0xc0),
        [0xdb, 0x08, ..] => true,
        // SND-UD with the CI field of DLMS (EN 13757-1).
        [0x68, one, other, 0x68, _, _, control, ..] => one == other && *control <= 0x1f,
        _ => false,
    }
}

/// Returns the error for a DLMS frame.
pub(super) fn not_supported(payload: &[u8]) -> DecodeError {
    DecodeError::Invalid {
        format: "telegram",
        problem: "this is a DLMS push frame, which tidegate does not support".into(),
        excerpt: excerpt(payload),
        advice: "set the meter to IEC 62056-21 (ASCII) or SML, or use a converter to MQTT",
    }
}
