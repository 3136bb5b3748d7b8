//! Framers: the frames do not depend on the chunks, and none is longer than the limit.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tidegate_ingest::frame::{
    Checksum, ChecksumAlgorithm, CoverEnd, Counted, Endian, Frame, Framer, Framing, Length, Notation, Shape,
};
use tidegate_timing::machine::Machine as _;

const BYTES_MAX: usize = 64;

fn shape(choice: u8) -> Shape {
    let length =
        Length { offset: 1, size: 2, endian: Endian::Little, counts: Counted::Rest, extra: 1 };
    match choice % 7 {
        0 => Shape::Line,
        1 => Shape::Delimited(b"\r\n".to_vec()),
        2 => Shape::Fixed { start: b"\xaa".to_vec(), bytes: 8, end: b"\xab".to_vec() },
        3 => Shape::Prefixed { start: b"\xaa".to_vec(), length },
        4 | 5 => Shape::Enclosed {
            start: b"/".to_vec(),
            end: b"!".to_vec(),
            checksum_after_end: choice % 7 == 4,
            keep_markers: choice & 0x40 != 0,
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
    let checksum = Checksum { algorithm, notation: Notation::Hexadecimal, from: 0, to: CoverEnd::BeforeChecksum(0) };
    let framing = Framing {
        shape: shape(*choice),
        checksum: (choice & 0x80 != 0).then_some(checksum),
        bytes_max: BYTES_MAX,
        inter_byte_timeout: Duration::from_secs(5),
    };
    let now = Instant::now();
    let cut = |chunk_bytes: usize| {
        let mut framer = Framer::new(framing.clone());
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
