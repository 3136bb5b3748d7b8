//! Frames with a name: those of widespread instruments and protocols.

use super::frame::{Raw, decode_hex};
use crate::check::Check;
use tidegate_ingest::frame::{
    Checksum, ChecksumAlgorithm, Counted, CoverEnd, Endian, Framing, Length, Notation, Shape,
};

/// The CRC of a telegram, as digits behind its end mark (DSMR 5.0.2 P1, 6.2).
const DSMR_CRC: &str = "crc-16-arc";

/// The first covered byte of an M-Bus frame: the checksum begins behind the second start byte
/// (EN 13757-2, 5.4).
const MBUS_FROM: usize = 4;

/// The bytes of an M-Bus frame that its length does not count: the second length, the second start
/// byte, the checksum and the end byte.
const MBUS_EXTRA: usize = 4;

/// Returns the framing of a preset; `None` if `kind` is none.
pub(super) fn preset(kind: &str) -> Option<Framing> {
    let lines = Framing::lines(1);
    let framing = match kind {
        "dsmr" => Framing {
            shape: Shape::Enclosed {
                start: b"/".to_vec(),
                end: b"!".to_vec(),
                checksum_after_end: true,
                keep_markers: true,
                checksum_optional: true,
            },
            checksum: checksum(DSMR_CRC, Some(Notation::Hexadecimal), 0),
            ..lines
        },
        "mbus" => {
            let length = Length {
                offset: 1,
                size: 1,
                endian: Endian::Big,
                counts: Counted::Rest,
                extra: MBUS_EXTRA,
                is_repeated: true,
            };
            let shape = Shape::Prefixed { start: b"\x68".to_vec(), length, end: b"\x16".to_vec() };
            Framing { shape, checksum: checksum("sum", None, MBUS_FROM), ..lines }
        }
        "modbus-ascii" => Framing {
            shape: Shape::Enclosed {
                start: b":".to_vec(),
                end: b"\r\n".to_vec(),
                checksum_after_end: false,
                keep_markers: false,
                checksum_optional: false,
            },
            checksum: checksum("lrc", None, 0),
            decode_hex: true,
            ..lines
        },
        "nmea" => Framing { shape: Shape::Nmea, ..lines },
        "sml" => Framing { shape: Shape::Sml, ..lines },
        "vedirect" => Framing { shape: Shape::VeDirect, ..lines },
        _ => return None,
    };
    Some(framing)
}

fn checksum(name: &str, notation: Option<Notation>, from: usize) -> Option<Checksum> {
    let algorithm = ChecksumAlgorithm::named(name)?;
    let notation = notation.unwrap_or_else(|| algorithm.default_notation());
    Some(Checksum { algorithm, notation, from, to: CoverEnd::BeforeChecksum(0) })
}

/// Rejects options that a preset sets itself, and resolves `decode` of Modbus ASCII.
pub(super) fn only(
    key: &str,
    kind: &str,
    raw: &Raw,
    framing: Framing,
    check: &mut Check<'_>,
) -> Option<Framing> {
    let given = [
        ("checksum", raw.checksum.is_some()),
        ("checksum_notation", raw.checksum_notation.is_some()),
        ("checksum_from", raw.checksum_from.is_some()),
        ("checksum_to", raw.checksum_to.is_some()),
        ("keep_first", raw.keep_first.is_some()),
        ("decode", raw.decode.is_some() && kind != "modbus-ascii"),
    ];
    for (option, _) in given.into_iter().filter(|(_, given)| *given) {
        let what = format!("kind = \"{kind}\" sets it itself");
        check.problems.add(format!("{key}.{option}"), what, "remove it, or remove kind");
    }
    if kind == "modbus-ascii" && raw.decode.is_some() {
        let decode_hex = decode_hex(key, raw.decode.clone(), check)?;
        return Some(Framing { decode_hex, ..framing });
    }
    Some(framing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_ingest::frame::{Frame, Framer};

    #[expect(clippy::disallowed_methods, reason = "the test needs any instant")]
    fn cut(kind: &str, bytes: &[u8]) -> Vec<Frame> {
        let framing = Framing { bytes_max: 4_096, ..preset(kind).unwrap() };
        let mut framer = Framer::new(framing);
        framer.handle_bytes(bytes, std::time::Instant::now());
        framer.drain_frames().collect()
    }

    #[test]
    fn presets_cut_frames_of_their_protocols() {
        let cases: [(&str, &[u8], &[u8]); 6] = [
            (
                "dsmr",
                b"/ISK5\x0d\x0a\x0d\x0a1-0:1.7.0(00.193*kW)\x0d\x0a!C10F\x0d\
                \x0a",
                b"/ISK5\x0d\x0a\x0d\x0a1-0:1.7.0(00.193*kW)\x0d\x0a!",
            ),
            (
                "mbus",
                b"h\x09\x09h\x08\x0brE\x0b-\x02\x00\xf0\xf4\x16",
                b"h\x09\x09h\x08\x0brE\x0b-\x02\x00\xf0",
            ),
            ("modbus-ascii", b":F7031389000A60\x0d\x0a", b"\xf7\x03\x13\x89\x00\x0a"),
            ("nmea", b"$SDDBT,7.8,f,2.4,M,1.3,F*0D\x0d\x0a", b"$SDDBT,7.8,f,2.4,M,1.3,F*0D"),
            (
                "sml",
                b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01v\x05\x1b\x1b\x1b\x1b\x1b\
                \x1b\x1b\x1b\x1a\x00c\x00\x00\x00\x1b\x1b\x1b\x1b\x1a\x03\
                \xc1\x09",
                b"v\x05\x1b\x1b\x1b\x1b\x1a\x00c",
            ),
            (
                "vedirect",
                b"\x0d\x0aPID\x090xA053\x0d\x0aV\x0912800\x0d\x0aChecksum\x09\
                \xbe",
                b"PID\x090xA053\x0d\x0aV\x0912800",
            ),
        ];
        for (kind, bytes, expected) in cases {
            assert_eq!(cut(kind, bytes), [Frame::Whole(expected.to_vec().into())], "{kind}");
        }
    }
}
