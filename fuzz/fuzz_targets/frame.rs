//! Framers: the frames do not depend on the chunks, and none is longer than the limit.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tidegate_ingest::frame::{
    Checksum, ChecksumAlgorithm, Counted, CoverEnd, Endian, Escape, Frame, Framer, Framing, Length,
    Notation, Shape,
};
use tidegate_timing::machine::Machine as _;

const BYTES_MAX: usize = 64;

fn shape(choice: u8) -> Shape {
    let length = Length {
        offset: 1,
        size: 2,
        endian: Endian::Little,
        counts: Counted::Rest,
        extra: 1,
        is_repeated: false,
    };
    match choice % 12 {
        0 => Shape::Line,
        1 => Shape::Delimited(b"\r\n".to_vec()),
        2 => Shape::Fixed { start: b"\xaa".to_vec(), bytes: 8, end: b"\xab".to_vec() },
        3 => Shape::Prefixed { start: b"\xaa".to_vec(), length, end: b"\x16".to_vec() },
        4 | 5 => Shape::Enclosed {
            start: b"/".to_vec(),
            end: b"!".to_vec(),
            checksum_after_end: choice % 12 == 4,
            keep_markers: choice & 0x40 != 0,
            checksum_optional: choice & 0x20 != 0,
        },
        6 => Shape::Sml,
        7 => Shape::Nmea,
        8 => Shape::VeDirect,
        9 => {
            let length = Length { size: 1, extra: 4, is_repeated: true, ..length };
            Shape::Prefixed { start: b"h".to_vec(), length, end: b"\x16".to_vec() }
        }
        10 => Shape::Enclosed {
            start: b"~".to_vec(),
            end: b"~".to_vec(),
            checksum_after_end: false,
            keep_markers: choice & 0x40 != 0,
            checksum_optional: false,
        },
        _ => Shape::Idle(Duration::from_millis(20)),
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, size, bytes @ ..] = input else { return };
    let algorithm = if choice & 0x20 != 0 {
        ChecksumAlgorithm::Crc16(&crc::CRC_16_MODBUS)
    } else {
        ChecksumAlgorithm::Xor
    };
    let checksum = Checksum {
        algorithm,
        notation: Notation::Hexadecimal,
        from: 0,
        to: CoverEnd::BeforeChecksum(0),
    };
    let framing = Framing {
        shape: shape(*choice),
        checksum: (choice & 0x80 != 0).then_some(checksum),
        escape: (choice & 0x40 != 0).then_some(Escape { byte: 0x7d, changed: 0x20 }),
        decode_hex: choice & 0x10 != 0,
        bytes_max: BYTES_MAX,
        inter_byte_timeout: Duration::from_secs(5),
        keep_first: choice & 0x10 != 0,
    };
    let now = Instant::now();
    let cut = |chunk_bytes: usize| {
        let mut framer = Framer::new(framing.clone());
        framer.handle_opened(now);
        for chunk in bytes.chunks(chunk_bytes) {
            framer.handle_bytes(chunk, now);
        }
        framer.handle_timeout(now + Duration::from_secs(60));
        framer.drain_frames().collect::<Vec<_>>()
    };
    let frames = cut(usize::from(*size).max(1));
    assert_eq!(frames, cut(bytes.len().max(1)));
    for frame in frames {
        assert!(!matches!(frame, Frame::Whole(frame) if frame.len() > BYTES_MAX + 2));
    }
});
