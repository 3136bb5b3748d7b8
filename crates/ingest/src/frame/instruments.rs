//! Frames as real instruments send them. The bytes are written here; the manuals are named.

use super::tests::{cut, enclosed, framing, length, lost, whole_bytes};
use super::*;

fn large(framing: Framing) -> Framing {
    Framing { bytes_max: 512, ..framing }
}

fn checksum(name: &str, notation: Option<Notation>, from: usize) -> Checksum {
    let algorithm = ChecksumAlgorithm::named(name).unwrap();
    let notation = notation.unwrap_or_else(|| algorithm.default_notation());
    Checksum { algorithm, notation, from, to: CoverEnd::BeforeChecksum(0) }
}

#[test]
fn checksum_of_an_anemometer_excludes_both_marks() {
    // Gill WindSonic user manual 1405-PS-0019, ASCII output: STX, the data, ETX and two digits.
    let xor = checksum("xor", Some(Notation::Hexadecimal), 1);
    let xor = Checksum { to: CoverEnd::BeforeChecksum(1), ..xor };
    let framing = large(framing(enclosed("\u{2}", "\u{3}", true), Some(xor)));
    let good = b"\x02Q,229,002.74,M,00,\x0316\x0d\x0a";
    let bad = b"\x02Q,229,002.74,M,00,\x0317\x0d\x0a";
    let frames = cut(framing, &[good, bad, good]);
    let whole = whole_bytes(b"Q,229,002.74,M,00,");
    assert_eq!(frames, [whole.clone(), lost(Loss::Checksum), whole]);
}

#[test]
fn frames_of_variable_length_have_an_end_mark() {
    // JBD battery management, protocol 4: dd, register, status, length, data, the negated sum of
    // 16 bits from the status on, 77.
    let length = length(3, 1, Endian::Big, Counted::Rest, 3);
    let shape = Shape::Prefixed { start: b"\xdd".to_vec(), length, end: b"\x77".to_vec() };
    let framing = large(framing(shape, Some(checksum("sum-16-negated", None, 2))));
    let frame = b"\xdd\x03\x00\x04\x0a(\x13\x88\xff/w";
    let cut_short = b"\xdd\x03\x00\x04\x0a(\x13\x88\xff/x";
    let frames = cut(framing, &[frame, cut_short, frame]);
    let whole = whole_bytes(b"\xdd\x03\x00\x04\x0a(\x13\x88");
    assert_eq!(frames, [whole.clone(), lost(Loss::Incomplete), whole]);
}

#[test]
fn sums_may_be_inverted() {
    // XBee/XBee-PRO user guide, API frames: ff minus the sum of the bytes behind the length.
    let length = length(1, 2, Endian::Big, Counted::Rest, 1);
    let shape = Shape::Prefixed { start: b"~".to_vec(), length, end: Vec::new() };
    let framing = large(framing(shape, Some(checksum("sum-inverted", None, 3))));
    assert_eq!(
        cut(framing, &[b"~\x00\x07\x8b\x01N6\x00\x00\x00\xef"]),
        [whole_bytes(b"~\x00\x07\x8b\x01N6\x00\x00\x00")]
    );
}

#[test]
fn modbus_ascii_becomes_bytes() {
    // MODBUS over serial line V1.02, 2.5.2.
    let framing = Framing {
        decode_hex: true,
        ..large(framing(enclosed(":", "\r\n", false), Some(checksum("lrc", None, 0))))
    };
    let frames = cut(framing, &[b":F7031389000A60\r\n:F7031389000B60\r\n:f7031389000a60\r\n"]);
    let whole = whole_bytes(b"\xf7\x03\x13\x89\0\x0a");
    assert_eq!(frames, [whole.clone(), lost(Loss::Checksum), whole]);
}

#[test]
fn flags_are_shared_and_escaped_bytes_restored() {
    // Sensirion SPS30 datasheet, 5.2: frames between 7e with escapes and an inverted sum.
    let framing = Framing {
        escape: Some(Escape { byte: 0x7d, changed: 0x20 }),
        ..large(framing(enclosed("~", "~", false), Some(checksum("sum-inverted", None, 1))))
    };
    let (one, two) = (b"~\x00\x03\x00\x02(}^T~", b"~\x00\xd1\x00\x00.~");
    let (first, second) = (whole_bytes(b"\0\x03\0\x02(~"), whole_bytes(b"\0\xd1\0\0"));
    let expected = [first.clone(), second.clone(), first.clone()];
    assert_eq!(cut(framing.clone(), &[one, two, one]), expected);
    assert_eq!(cut(framing.clone(), &[one, &two[1..], &one[1..]]), expected, "shared");
    let damaged = cut(framing.clone(), &[one, &two[1..3], &one[1..], two]);
    assert_eq!(damaged, [first.clone(), lost(Loss::Checksum), second]);
    let mut framer = Framer::new(framing);
    framer.handle_bytes(one, start_time());
    assert_eq!(framer.poll_timeout(), None, "the last flag is no partial frame");
}

#[test]
fn escaped_bytes_may_be_inverted() {
    // Kamstrup KMP, 3.2: 40 … 0d, and 1b before an inverted 06, 0d, 1b, 40 or 80.
    let framing = Framing {
        escape: Some(Escape { byte: 0x1b, changed: 0xff }),
        ..large(framing(enclosed("@", "\r", false), None))
    };
    let frames = cut(framing, &[b"@\x3f\x10\x1b\xf2\x1b\xe4\x01\r"]);
    assert_eq!(frames, [whole_bytes(b"\x3f\x10\x0d\x1b\x01")]);
}

#[test]
fn long_frames_of_a_meter_bus() {
    // EN 13757-2, 5.4: 68, the length twice, 68, control, address and data, their sum, 16.
    let length = Length { is_repeated: true, ..length(1, 1, Endian::Big, Counted::Rest, 4) };
    let shape = Shape::Prefixed { start: b"h".to_vec(), length, end: b"\x16".to_vec() };
    let framing = large(framing(shape, Some(checksum("sum", None, 4))));
    let frame = b"h\x09\x09h\x08\x0brE\x0b-\x02\x00\xf0\xf4\x16";
    let frames = cut(framing, &[b"hh", frame, b"h\x09", frame, b"\xe5", frame]);
    let whole = whole_bytes(b"h\x09\x09h\x08\x0brE\x0b-\x02\x00\xf0");
    let noise = || lost(Loss::Noise);
    assert_eq!(frames, [noise(), whole.clone(), noise(), whole.clone(), noise(), whole]);
}

#[test]
fn telegrams_may_lack_the_checksum_of_later_versions() {
    // DSMR 5.0.2 P1, 6.2; DSMR 3.0 has no CRC.
    let shape = Shape::Enclosed {
        start: b"/".to_vec(),
        end: b"!".to_vec(),
        checksum_after_end: true,
        keep_markers: true,
        checksum_optional: true,
    };
    let crc = checksum("crc-16-arc", Some(Notation::Hexadecimal), 0);
    let framing = large(framing(shape, Some(crc)));
    let with = b"/ISK5\x0d\x0a\x0d\x0a1-0:1.7.0(00.193*kW)\x0d\x0a!C10F\x0d\x0a";
    let without = b"/ISK5\x0d\x0a\x0d\x0a1-0:1.7.0(00.193*kW)\x0d\x0a!";
    let frames = cut(framing, &[with, without, b"\r\n", without, b"0000\r\n", with]);
    let whole = whole_bytes(without);
    assert_eq!(frames, [whole.clone(), whole.clone(), lost(Loss::Checksum), whole]);
}

#[test]
fn files_of_the_smart_message_language() {
    // BSI TR-03109-1 (SML 1.04), chapter 8. Four bytes 1b in the data are sent twice.
    let framing = large(framing(Shape::Sml, None));
    let file = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01v\x05\x1b\x1b\x1b\x1b\x1b\
                \x1b\x1b\x1b\x1a\x00c\x00\x00\x00\x1b\x1b\x1b\x1b\x1a\x03\
                \xc1\x09";
    let kermit = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01v\x05\x1b\x1b\x1b\x1b\x1b\
                \x1b\x1b\x1b\x1a\x00c\x00\x00\x00\x1b\x1b\x1b\x1b\x1a\x03jT";
    let damaged = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01v\x05\x1b\x1b\x1b\x1b\x1b\
                \x1b\x1b\x1b\x1a\x00c\x00\x00\x00\x1b\x1b\x1b\x1b\x1a\x03\
                \xc1\x08";
    let frames = cut(framing, &[b"ab", file, kermit, damaged, &file[..12], file]);
    let whole = whole_bytes(b"v\x05\x1b\x1b\x1b\x1b\x1a\x00c");
    let (noise, incomplete) = (lost(Loss::Noise), lost(Loss::Incomplete));
    let expected = [noise, whole.clone(), whole.clone(), lost(Loss::Checksum), incomplete, whole];
    assert_eq!(frames, expected);
}

#[test]
fn sentences_are_cut_by_their_marks() {
    // NMEA 0183: merged lines, bytes before the mark, and tag blocks (4.00, chapter 7).
    let framing = large(framing(Shape::Nmea, None));
    let (one, two) = (b"$SDDBT,7.8,f,2.4,M,1.3,F*0D", b"$IIMTW,15.2,C*15");
    let frames =
        cut(framing, &[b"\0x", one, two, b"\r\n\\s:rec,c:1*25\\", one, b"\r\n$IIMTW,", two, b"\n"]);
    let (one, two) = (whole_bytes(one), whole_bytes(two));
    let expected = [lost(Loss::Noise), one.clone(), two.clone(), one, lost(Loss::Incomplete), two];
    assert_eq!(frames, expected);
}

#[test]
fn hex_message_does_not_cost_a_block() {
    // Victron, VE.Direct protocol 3.33: all bytes of a block add up to 0.
    let framing = large(framing(Shape::VeDirect, None));
    let block = b"\x0d\x0aPID\x090xA053\x0d\x0aV\x0912800\x0d\x0aChecksum\x09\xbe";
    let (head, tail) = block.split_at(16);
    let hex = b":7F0ED0071\x0a";
    let frames = cut(framing, &[&block[9..], block, hex, block, head, hex, tail, hex, hex, block]);
    let whole = whole_bytes(b"PID\x090xA053\x0d\x0aV\x0912800");
    let mut expected = vec![lost(Loss::Checksum)];
    expected.extend(vec![whole; 4]);
    assert_eq!(frames, expected);
}

fn start_time() -> Instant {
    tokio::time::Instant::now().into_std()
}
