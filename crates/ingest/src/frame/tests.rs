//! Tests with frames of each shape, in any chunks and with damage.

use proptest::prelude::*;

use super::*;

#[test]
fn lines_end_with_lf_cr_or_crlf() {
    assert_eq!(
        cut(lines(), &[b"a\nb\rc\r\n\n\r\nd\n"]),
        [whole("a"), whole("b"), whole("c"), whole("d")]
    );
}

#[test]
fn joins_chunks_of_a_line() {
    assert_eq!(cut(lines(), &[b"t=2", b"1.5\r", b"\nt=2"]), [whole("t=21.5")]);
}

#[test]
fn reports_a_long_line_once_and_reads_the_next() {
    assert_eq!(
        cut(lines(), &[b"12345678\n123", b"456789", b"0123456789abcdef\nok\n"]),
        [whole("12345678"), lost(Loss::TooLong), whole("ok")]
    );
}

#[test]
fn losses_name_their_bytes_and_both_sums() {
    let texts = |framing: Framing, bytes: &[u8]| {
        let mut framer = Framer::new(framing);
        framer.handle_bytes(bytes, start());
        framer.handle_disconnected();
        framer
            .drain_frames()
            .filter_map(|frame| match frame {
                Frame::Lost(lost) => Some(lost.to_string()),
                Frame::Whole(_) => None,
            })
            .collect::<Vec<_>>()
    };
    let shape = Shape::Fixed { start: b"\xaa".to_vec(), bytes: 4, end: Vec::new() };
    let wrong = texts(framing(shape.clone(), Some(xor())), b"\xaa\x01\x02\xa8");
    let expected = "a message whose checksum is wrong, computed a9, received a8: 0xaa 01 02 a8";
    assert_eq!(wrong, [expected]);
    let noise = texts(framing(shape, Some(xor())), b"xy\xaa\x01\x02\xa9");
    assert_eq!(noise, ["bytes outside of a message: \"xy\" (78 79)"]);
    let cut = texts(lines(), b"t=2");
    assert_eq!(cut, ["a message without its end: \"t=2\" (74 3d 32)"]);
    let long = texts(Framing { bytes_max: 64, ..lines() }, &[b'x'; 65]);
    let first = ["78"; Lost::BYTES_MAX].join(" ");
    let x = "x".repeat(Lost::BYTES_MAX);
    assert_eq!(long, [format!("a message that is too long: \"{x}\" ({first}) …")]);
}

#[test]
fn reports_an_endless_line_at_the_limit() {
    assert_eq!(cut(lines(), &[b"12345678", b"9"]), [lost(Loss::TooLong)]);
}

#[test]
fn disconnect_drops_the_partial_line() {
    let mut framer = Framer::new(lines());
    framer.handle_bytes(b"t=2", start());
    framer.handle_disconnected();
    framer.handle_bytes(b"t=3\n0123456789", start());
    framer.handle_disconnected();
    framer.handle_disconnected();
    framer.handle_bytes(b"ok\n", start());
    let frames = frames_of(&mut framer);
    let (incomplete, too_long) = (lost(Loss::Incomplete), lost(Loss::TooLong));
    assert_eq!(frames, [incomplete, whole("t=3"), too_long, whole("ok")]);
}

#[test]
fn drops_the_rest_of_a_line_after_opening() {
    let first = |bytes: &[u8], framing: Framing, wait: Duration| {
        let mut framer = Framer::new(framing);
        framer.handle_opened(start());
        framer.handle_bytes(bytes, start() + wait);
        framer.handle_bytes(b"a\n", start() + wait);
        frames_of(&mut framer)
    };
    let (at_once, long) = (Duration::ZERO, Framing::INTER_BYTE_TIMEOUT + Duration::from_secs(1));
    assert_eq!(first(b"1.5\r\n", lines(), at_once), [lost(Loss::Noise), whole("a")]);
    assert_eq!(first(b"\n", lines(), at_once), [whole("a")], "nothing is lost");
    assert_eq!(first(b"1.5\r\n", lines(), long), [whole("1.5"), whole("a")], "after a pause");
    let keep = Framing { keep_first: true, ..lines() };
    assert_eq!(first(b"1.5\r\n", keep, at_once), [whole("1.5"), whole("a")]);
    let checked = Framing { checksum: Some(xor()), ..lines() };
    assert_eq!(first(b"1\x31\n", checked, at_once), [whole("1"), lost(Loss::Checksum)]);
    let too_long = [lost(Loss::TooLong), whole("a")];
    assert_eq!(first(b"0123456789\n", lines(), at_once), too_long);
}

#[test]
fn drops_the_rest_of_an_idle_frame_after_opening() {
    let gap = Duration::from_millis(20);
    let mut framer = Framer::new(framing(Shape::Idle(gap), None));
    let now = start();
    framer.handle_opened(now);
    framer.handle_bytes(b"cd", now + gap / 2);
    framer.handle_bytes(b"ef", now + 2 * gap);
    framer.handle_timeout(now + 4 * gap);
    let frames = frames_of(&mut framer);
    assert_eq!(frames, [lost(Loss::Noise), whole("ef")]);
}

#[test]
fn request_drops_half_an_answer() {
    let mut framer = Framer::new(lines());
    framer.handle_opened(start());
    framer.handle_request();
    framer.handle_bytes(b"21.5\n2", start());
    framer.handle_request();
    framer.handle_bytes(b"21.5\n", start());
    let frames = frames_of(&mut framer);
    assert_eq!(frames, [whole("21.5"), lost(Loss::Incomplete), whole("21.5")]);
}

#[test]
fn timeout_drops_a_partial_frame() {
    let (mut framer, now) = (Framer::new(lines()), start());
    framer.handle_bytes(b"t=2", now);
    assert_eq!(framer.poll_timeout(), Some(now + Framing::INTER_BYTE_TIMEOUT));
    framer.handle_bytes(b"t=3\n", now + Framing::INTER_BYTE_TIMEOUT);
    let frames = frames_of(&mut framer);
    assert_eq!(frames, [lost(Loss::Incomplete), whole("t=3")]);
    assert_eq!(framer.poll_timeout(), None);
}

#[test]
fn pause_ends_a_frame_of_shape_idle() {
    let gap = Duration::from_millis(20);
    let mut framer = Framer::new(framing(Shape::Idle(gap), None));
    let now = start();
    framer.handle_bytes(b"ab", now);
    framer.handle_bytes(b"cd", now + gap / 2);
    framer.handle_bytes(b"ef", now + 2 * gap);
    framer.handle_bytes(b"0123456789", now + 4 * gap);
    framer.handle_bytes(b"0123456789", now + 4 * gap);
    framer.handle_bytes(b"gh", now + 5 * gap);
    framer.handle_timeout(framer.poll_timeout().unwrap());
    let frames = frames_of(&mut framer);
    let too_long = lost(Loss::TooLong);
    assert_eq!(frames, [whole("abcd"), whole("ef"), too_long, whole("gh")]);
}

#[test]
fn finds_a_delimiter_across_chunks() {
    let shape = Shape::Delimited(b"--".to_vec());
    assert_eq!(
        cut(framing(shape, None), &[b"a-b-", b"-c--0123456789abcd-", b"-d--"]),
        [whole("a-b"), whole("c"), lost(Loss::TooLong), whole("d")]
    );
}

#[test]
fn finds_frames_of_fixed_length_after_damage() {
    let shape = Shape::Fixed { start: b"\xaa".to_vec(), bytes: 4, end: Vec::new() };
    let frames = cut(
        framing(shape, Some(xor())),
        // The second frame lost a byte, the third is complete.
        &[b"\xaa\x01\x02\xa9", b"\xaa\x01\xa9", b"\xaa\xaa\x05\x05", b"\x00\x00"],
    );
    let (one, three) = (whole_bytes(b"\xaa\x01\x02"), whole_bytes(b"\xaa\xaa\x05"));
    assert_eq!(frames, [one, lost(Loss::Checksum), three]);
}

#[test]
fn data_may_contain_the_end_byte() {
    // The particle sensor SDS011: the checksum covers six bytes of data, which may contain ab.
    let shape = Shape::Fixed { start: b"\xaa\xc0".to_vec(), bytes: 10, end: b"\xab".to_vec() };
    let sum = Checksum {
        algorithm: ChecksumAlgorithm::Add,
        notation: Notation::BigEndian,
        from: 2,
        to: CoverEnd::BeforeChecksum(0),
    };
    let framing = Framing { bytes_max: 10, ..framing(shape, Some(sum)) };
    let (one, two) =
        (b"\xaa\xc0\xd4\x04\x3a\x0a\xa1\x60\x1d\xab", b"\xaa\xc0\xab\0\xab\0\0\0\x56\xab");
    let frames = cut(framing, &[one, &two[..5], b"", &two[5..], &one[..7], two, one]);
    let (first, second) = (whole_bytes(&one[..8]), whole_bytes(&two[..8]));
    // The rest of the third frame happens to end with an ab of the next frame.
    let lost = lost(Loss::Checksum);
    assert_eq!(frames, [first.clone(), second.clone(), lost, second, first]);
}

#[test]
fn supports_16_bit_sums() {
    // The particle sensor PMS5003.
    let length = length(2, 2, Endian::Big, Counted::Rest, 0);
    let shape = Shape::Prefixed { start: b"BM".to_vec(), length, end: Vec::new() };
    let algorithm = ChecksumAlgorithm::named("sum-16").unwrap();
    let sum = Checksum {
        notation: algorithm.default_notation(),
        algorithm,
        from: 0,
        to: CoverEnd::BeforeChecksum(0),
    };
    let framing = Framing { bytes_max: 32, ..framing(shape, Some(sum)) };
    let frame = b"BM\0\x1c\0\x05\0\x08\0\x09\0\x05\0\x08\0\x09\x03\x8a\x01\x06\
        \0\x2d\0\x06\0\x02\0\0\x97\0\x02\x37";
    assert_eq!(cut(framing, &[frame]), [whole_bytes(&frame[..30])]);
}

#[test]
fn reads_length_fields_of_all_forms() {
    let cases: [(&[u8], Length); 4] = [
        (b"\x02ab", length(0, 1, Endian::Big, Counted::Rest, 0)),
        (b"\x03ab", length(0, 1, Endian::Big, Counted::All, 0)),
        (b"x\x05\x00ab", length(1, 2, Endian::Little, Counted::All, 0)),
        (b"x\x00\x01ab", length(1, 2, Endian::Big, Counted::Rest, 1)),
    ];
    for (bytes, length) in cases {
        let shape = Shape::Prefixed { start: Vec::new(), length, end: Vec::new() };
        let frames = cut(framing(shape, None), &[bytes, bytes]);
        assert_eq!(frames, [whole_bytes(bytes), whole_bytes(bytes)]);
    }
}

#[test]
fn scans_a_stream_of_start_bytes_once() {
    let checksum = Some(xor());
    let framing = Framing { bytes_max: 16_384, ..framing(enclosed("/", "!", true), checksum) };
    let mut framer = Framer::new(framing);
    framer.handle_bytes(&b"/".repeat(20_000), start());
    let frames = frames_of(&mut framer);
    assert_eq!(frames, [lost(Loss::TooLong)]);
    assert!(framer.scanned_bytes > 16_000, "{}", framer.scanned_bytes);
}

#[test]
fn rejects_a_length_above_the_limit() {
    let length = length(1, 1, Endian::Big, Counted::Rest, 0);
    let shape = Shape::Prefixed { start: b"$".to_vec(), length, end: Vec::new() };
    let frames = cut(framing(shape, None), &[b"$\xff$\x01a$\x01b"]);
    assert_eq!(frames, [lost(Loss::TooLong), whole("$\x01a"), whole("$\x01b")]);
}

#[test]
fn reports_noise_between_frames_once() {
    let shape = enclosed("<", ">", false);
    let frames = cut(framing(shape, None), &[b"xy", b"z<a>\r\n<b>", b"x<c>"]);
    let noise = || lost(Loss::Noise);
    assert_eq!(frames, [noise(), whole("a"), whole("b"), noise(), whole("c")]);
}

#[test]
fn lost_end_marker_does_not_join_two_frames() {
    let frames = cut(framing(enclosed("<", ">", false), None), &[b"<a<b>", b"<0123456789<c>"]);
    let (incomplete, too_long) = (lost(Loss::Incomplete), lost(Loss::TooLong));
    assert_eq!(frames, [incomplete, whole("b"), too_long, whole("c")]);
}

#[test]
fn checksum_may_precede_or_follow_the_end_marker() {
    let inside = cut(framing(enclosed("<", ">", false), Some(xor())), &[b"<a\x5d>"]);
    let behind = cut(framing(enclosed("<", ">", true), Some(xor())), &[b"<a>\x63"]);
    assert_eq!((inside, behind), (vec![whole("a")], vec![whole("a")]));
}

#[test]
fn damaged_frame_does_not_affect_the_next() {
    let shape = enclosed("<", ">", true);
    let frames = cut(framing(shape, Some(xor())), &[b"<b>\x63", b"<a>\x63", b"<a<a>\x63"]);
    assert_eq!(frames, [lost(Loss::Checksum), whole("a"), lost(Loss::Checksum), whole("a")]);
}

proptest! {
    #[test]
    fn frames_do_not_depend_on_chunks(
        framing in any_framing(),
        chunks in prop::collection::vec(prop::collection::vec(byte(), 0..12), 0..12),
    ) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(cut(framing.clone(), &chunks), cut(framing, &[&chunks.concat()]));
    }

    #[test]
    fn memory_and_frames_stay_within_the_limit(
        framing in any_framing(),
        bytes in prop::collection::vec(byte(), 0..200),
    ) {
        let mut framer = Framer::new(framing);
        let capacity = framer.buffer.capacity();
        framer.handle_bytes(&bytes, start());
        framer.handle_disconnected();
        prop_assert_eq!(framer.buffer.capacity(), capacity);
        for frame in framer.drain_frames() {
            prop_assert!(!matches!(frame, Frame::Whole(frame) if frame.len() > 8 + 4));
        }
    }

    #[test]
    fn finds_frames_after_noise(
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let shape = Shape::Fixed { start: b"\xaa".to_vec(), bytes: 4, end: Vec::new() };
        let good: Vec<u8> = b"\xaa\x01\x02\xa9".repeat(8);
        let frames = cut(framing(shape, Some(xor())), &[&noise, &good]);
        let found = frames.iter().filter(|frame| **frame == whole_bytes(b"\xaa\x01\x02"));
        // A start byte in the noise can consume the first frame.
        prop_assert!(found.count() >= 7);
    }
}

/// Any byte; start, end and delimiter bytes are frequent.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(&b"a\n\r<>-\x01\x02\x03\x00"[..]),]
}

fn any_framing() -> impl Strategy<Value = Framing> {
    let shape = prop_oneof![
        Just(Shape::Line),
        Just(Shape::Delimited(b"--".to_vec())),
        Just(Shape::Idle(Duration::from_millis(1))),
        Just(Shape::Sml),
        Just(Shape::Nmea),
        Just(Shape::VeDirect),
        Just(Shape::Fixed { start: Vec::new(), bytes: 3, end: Vec::new() }),
        Just(Shape::Fixed { start: b"<-".to_vec(), bytes: 4, end: b">".to_vec() }),
        Just(enclosed("<", ">", false)),
        Just(enclosed("<<", ">-", true)),
        Just(enclosed("--", "--", true)),
        Just(enclosed("-", "-", false)),
        Just(enclosed("--", "--", false)),
        (0..3_usize, 1..=4_usize, any::<bool>(), any::<bool>(), 0..3_usize).prop_map(
            |(offset, size, is_big, is_all, extra)| {
                let endian = if is_big { Endian::Big } else { Endian::Little };
                let counts = if is_all { Counted::All } else { Counted::Rest };
                let start = b"<-"[..offset].to_vec();
                let length = length(offset, size, endian, counts, extra);
                let end = if is_big { b">".to_vec() } else { Vec::new() };
                Shape::Prefixed { start, length, end }
            }
        ),
    ];
    let checksum = prop_oneof![Just(None), Just(Some(xor()))];
    let escape = prop_oneof![Just(None), Just(Some(Escape { byte: b'a', changed: 0x20 }))];
    (shape, checksum, escape, any::<bool>()).prop_map(|(shape, checksum, escape, decode_hex)| {
        Framing { escape, decode_hex, ..framing(shape, checksum) }
    })
}

pub(super) fn cut(framing: Framing, chunks: &[&[u8]]) -> Vec<Frame> {
    let (mut framer, now) = (Framer::new(framing), start());
    for chunk in chunks {
        framer.handle_bytes(chunk, now);
    }
    frames_of(&mut framer)
}

/// Returns the frames, and the losses without their bytes.
fn frames_of(framer: &mut Framer) -> Vec<Frame> {
    let without_bytes = |frame| match frame {
        Frame::Lost(Lost { loss, .. }) => lost(loss),
        Frame::Whole(content) => Frame::Whole(content),
    };
    framer.drain_frames().map(without_bytes).collect()
}

pub(super) fn lost(loss: Loss) -> Frame {
    Frame::Lost(Lost::new(loss, b"", None))
}

fn lines() -> Framing {
    Framing::lines(8)
}

pub(super) fn framing(shape: Shape, checksum: Option<Checksum>) -> Framing {
    Framing { shape, checksum, ..Framing::lines(8) }
}

fn xor() -> Checksum {
    Checksum {
        algorithm: ChecksumAlgorithm::Xor,
        notation: Notation::BigEndian,
        from: 0,
        to: CoverEnd::BeforeChecksum(0),
    }
}

pub(super) fn length(
    offset: usize,
    size: usize,
    endian: Endian,
    counts: Counted,
    extra: usize,
) -> Length {
    Length { offset, size, endian, counts, extra, is_repeated: false }
}

pub(super) fn enclosed(start: &str, end: &str, checksum_after_end: bool) -> Shape {
    let (start, end) = (start.as_bytes().to_vec(), end.as_bytes().to_vec());
    Shape::Enclosed {
        start,
        end,
        checksum_after_end,
        keep_markers: false,
        checksum_optional: false,
    }
}

fn whole(text: &'static str) -> Frame {
    whole_bytes(text.as_bytes())
}

pub(super) fn whole_bytes(bytes: &'static [u8]) -> Frame {
    Frame::Whole(Bytes::from_static(bytes))
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}
