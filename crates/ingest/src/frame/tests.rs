//! Frames of every shape, cut anywhere and damaged anyhow.

use proptest::prelude::*;

use super::*;

#[test]
fn a_line_ends_with_lf_cr_or_crlf_and_empty_lines_are_skipped() {
    assert_eq!(
        cut(lines(), &[b"a\nb\rc\r\n\n\r\nd\n"]),
        [whole("a"), whole("b"), whole("c"), whole("d")]
    );
}

#[test]
fn a_line_may_come_in_pieces() {
    assert_eq!(cut(lines(), &[b"t=2", b"1.5\r", b"\nt=2"]), [whole("t=21.5")]);
}

#[test]
fn a_line_over_the_bound_is_told_once_and_the_next_is_read() {
    assert_eq!(
        cut(lines(), &[b"12345678\n123", b"456789", b"0123456789abcdef\nok\n"]),
        [whole("12345678"), Frame::Lost(Loss::TooLong), whole("ok")]
    );
}

#[test]
fn a_sender_that_never_ends_its_line_is_noticed_at_the_bound() {
    assert_eq!(cut(lines(), &[b"12345678", b"9"]), [Frame::Lost(Loss::TooLong)]);
}

#[test]
fn a_reset_tells_the_partial_line_and_two_halves_never_join() {
    let (mut framer, mut frames) = (Framer::new(lines()), Vec::new());
    framer.push(b"t=2", start(), &mut frames);
    framer.reset(&mut frames);
    framer.push(b"t=3\n0123456789", start(), &mut frames);
    framer.reset(&mut frames);
    framer.reset(&mut frames);
    framer.push(b"ok\n", start(), &mut frames);
    let (incomplete, too_long) = (Frame::Lost(Loss::Incomplete), Frame::Lost(Loss::TooLong));
    assert_eq!(frames, [incomplete, whole("t=3"), too_long, whole("ok")]);
}

#[test]
fn a_partial_frame_is_dropped_after_a_pause() {
    let (mut framer, mut frames, now) = (Framer::new(lines()), Vec::new(), start());
    framer.push(b"t=2", now, &mut frames);
    assert_eq!(framer.poll_timeout(), Some(now + Framing::INTER_BYTE_TIMEOUT));
    framer.push(b"t=3\n", now + Framing::INTER_BYTE_TIMEOUT, &mut frames);
    assert_eq!(frames, [Frame::Lost(Loss::Incomplete), whole("t=3")]);
    assert_eq!(framer.poll_timeout(), None);
}

#[test]
fn a_pause_ends_a_frame_where_the_gap_is_the_delimiter() {
    let gap = Duration::from_millis(20);
    let (mut framer, mut frames) = (Framer::new(framing(Shape::Idle(gap), None)), Vec::new());
    let now = start();
    framer.push(b"ab", now, &mut frames);
    framer.push(b"cd", now + gap / 2, &mut frames);
    framer.push(b"ef", now + 2 * gap, &mut frames);
    framer.push(b"0123456789", now + 4 * gap, &mut frames);
    framer.push(b"0123456789", now + 4 * gap, &mut frames);
    framer.push(b"gh", now + 5 * gap, &mut frames);
    framer.handle_timeout(framer.poll_timeout().unwrap(), &mut frames);
    let too_long = Frame::Lost(Loss::TooLong);
    assert_eq!(frames, [whole("abcd"), whole("ef"), too_long, whole("gh")]);
}

#[test]
fn a_delimiter_may_have_several_bytes_and_be_cut() {
    let shape = Shape::Delimited(b"--".to_vec());
    assert_eq!(
        cut(framing(shape, None), &[b"a-b-", b"-c--0123456789abcd-", b"-d--"]),
        [whole("a-b"), whole("c"), Frame::Lost(Loss::TooLong), whole("d")]
    );
}

#[test]
fn a_fixed_length_is_found_again_by_its_start_and_checksum() {
    let shape = Shape::Fixed { start: b"\xaa".to_vec(), bytes: 4, end: Vec::new() };
    let frames = cut(
        framing(shape, Some(xor())),
        // The second frame lost a byte, the third is whole.
        &[b"\xaa\x01\x02\xa9", b"\xaa\x01\xa9", b"\xaa\xaa\x05\x05", b"\x00\x00"],
    );
    let (one, three) = (whole_bytes(b"\xaa\x01\x02"), whole_bytes(b"\xaa\xaa\x05"));
    assert_eq!(frames, [one, Frame::Lost(Loss::Checksum), three]);
}

#[test]
fn an_end_behind_the_checksum_may_also_stand_in_the_frame() {
    // The particle sensor SDS011: the checksum covers the six bytes of data, and ab may be one of them.
    let shape = Shape::Fixed { start: b"\xaa\xc0".to_vec(), bytes: 10, end: b"\xab".to_vec() };
    let sum = Checksum { sum: Sum::Add, notation: Notation::BigEndian, from: 2 };
    let framing = Framing { bytes_max: 10, ..framing(shape, Some(sum)) };
    let (one, two) =
        (b"\xaa\xc0\xd4\x04\x3a\x0a\xa1\x60\x1d\xab", b"\xaa\xc0\xab\0\xab\0\0\0\x56\xab");
    let frames = cut(framing, &[one, &two[..5], b"", &two[5..], &one[..7], two, one]);
    let (first, second) = (whole_bytes(&one[..8]), whole_bytes(&two[..8]));
    // What is left of the third one ends with the ab of the next by chance.
    let lost = Frame::Lost(Loss::Checksum);
    assert_eq!(frames, [first.clone(), second.clone(), lost, second, first]);
}

#[test]
fn a_sum_may_have_16_bits() {
    // The particle sensor PMS5003.
    let length = length(2, 2, Endian::Big, Counted::Rest, 0);
    let shape = Shape::Prefixed { start: b"BM".to_vec(), length };
    let sum = Sum::named("sum-16").unwrap();
    let sum = Checksum { notation: sum.usual_notation(), sum, from: 0 };
    let framing = Framing { bytes_max: 32, ..framing(shape, Some(sum)) };
    let frame = b"BM\0\x1c\0\x05\0\x08\0\x09\0\x05\0\x08\0\x09\x03\x8a\x01\x06\0\x2d\0\x06\0\x02\0\0\x97\0\x02\x37";
    assert_eq!(cut(framing, &[frame]), [whole_bytes(&frame[..30])]);
}

#[test]
fn a_length_is_read_where_and_how_the_header_has_it() {
    let cases: [(&[u8], Length); 4] = [
        (b"\x02ab", length(0, 1, Endian::Big, Counted::Rest, 0)),
        (b"\x03ab", length(0, 1, Endian::Big, Counted::All, 0)),
        (b"x\x05\x00ab", length(1, 2, Endian::Little, Counted::All, 0)),
        (b"x\x00\x01ab", length(1, 2, Endian::Big, Counted::Rest, 1)),
    ];
    for (bytes, length) in cases {
        let shape = Shape::Prefixed { start: Vec::new(), length };
        let frames = cut(framing(shape, None), &[bytes, bytes]);
        assert_eq!(frames, [whole_bytes(bytes), whole_bytes(bytes)]);
    }
}

#[test]
fn a_stream_of_starts_without_an_end_is_looked_at_once() {
    let checksum = Some(xor());
    let framing = Framing { bytes_max: 16_384, ..framing(enclosed("/", "!", true), checksum) };
    let (mut framer, mut frames) = (Framer::new(framing), Vec::new());
    framer.push(&b"/".repeat(20_000), start(), &mut frames);
    assert_eq!(frames, [Frame::Lost(Loss::TooLong)]);
    assert!(framer.scanned > 16_000, "{}", framer.scanned);
}

#[test]
fn a_length_that_cannot_be_is_not_waited_for() {
    let length = length(1, 1, Endian::Big, Counted::Rest, 0);
    let shape = Shape::Prefixed { start: b"$".to_vec(), length };
    let frames = cut(framing(shape, None), &[b"$\xff$\x01a$\x01b"]);
    assert_eq!(frames, [Frame::Lost(Loss::TooLong), whole("$\x01a"), whole("$\x01b")]);
}

#[test]
fn what_stands_between_frames_is_told_as_noise_once() {
    let shape = enclosed("<", ">", false);
    let frames = cut(framing(shape, None), &[b"xy", b"z<a>\r\n<b>", b"x<c>"]);
    let noise = || Frame::Lost(Loss::Noise);
    assert_eq!(frames, [noise(), whole("a"), whole("b"), noise(), whole("c")]);
}

#[test]
fn a_frame_whose_end_was_lost_does_not_join_the_next() {
    let frames = cut(framing(enclosed("<", ">", false), None), &[b"<a<b>", b"<0123456789<c>"]);
    let (incomplete, too_long) = (Frame::Lost(Loss::Incomplete), Frame::Lost(Loss::TooLong));
    assert_eq!(frames, [incomplete, whole("b"), too_long, whole("c")]);
}

#[test]
fn a_checksum_may_stand_before_or_behind_the_end() {
    let inside = cut(framing(enclosed("<", ">", false), Some(xor())), &[b"<a\x5d>"]);
    let behind = cut(framing(enclosed("<", ">", true), Some(xor())), &[b"<a>\x63"]);
    assert_eq!((inside, behind), (vec![whole("a")], vec![whole("a")]));
}

#[test]
fn a_damaged_frame_costs_itself_only() {
    let shape = enclosed("<", ">", true);
    let frames = cut(framing(shape, Some(xor())), &[b"<b>\x63", b"<a>\x63", b"<a<a>\x63"]);
    assert_eq!(
        frames,
        [Frame::Lost(Loss::Checksum), whole("a"), Frame::Lost(Loss::Checksum), whole("a")]
    );
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_frames(
        framing in any_framing(),
        chunks in prop::collection::vec(prop::collection::vec(byte(), 0..12), 0..12),
    ) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(cut(framing.clone(), &chunks), cut(framing, &[&chunks.concat()]));
    }

    #[test]
    fn no_bytes_make_the_framer_take_more_memory_or_pass_on_more_than_its_bound(
        framing in any_framing(),
        bytes in prop::collection::vec(byte(), 0..200),
    ) {
        let mut framer = Framer::new(framing);
        let (capacity, mut frames) = (framer.buffer.capacity(), Vec::new());
        framer.push(&bytes, start(), &mut frames);
        framer.reset(&mut frames);
        prop_assert_eq!(framer.buffer.capacity(), capacity);
        for frame in frames {
            prop_assert!(!matches!(frame, Frame::Whole(frame) if frame.len() > 8 + 4));
        }
    }

    #[test]
    fn damage_ends_and_the_frames_behind_it_are_found(
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let shape = Shape::Fixed { start: b"\xaa".to_vec(), bytes: 4, end: Vec::new() };
        let good: Vec<u8> = b"\xaa\x01\x02\xa9".repeat(8);
        let frames = cut(framing(shape, Some(xor())), &[&noise, &good]);
        let found = frames.iter().filter(|frame| **frame == whole_bytes(b"\xaa\x01\x02"));
        // A false beginning in the noise can swallow the first one.
        prop_assert!(found.count() >= 7);
    }
}

/// Any byte, with those that matter often enough.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(&b"a\n\r<>-\x01\x02\x03\x00"[..]),]
}

fn any_framing() -> impl Strategy<Value = Framing> {
    let shape = prop_oneof![
        Just(Shape::Line),
        Just(Shape::Delimited(b"--".to_vec())),
        Just(Shape::Idle(Duration::from_millis(1))),
        Just(Shape::Fixed { start: Vec::new(), bytes: 3, end: Vec::new() }),
        Just(Shape::Fixed { start: b"<-".to_vec(), bytes: 4, end: b">".to_vec() }),
        Just(enclosed("<", ">", false)),
        Just(enclosed("<<", ">-", true)),
        Just(enclosed("--", "--", true)),
        (0..3_usize, 1..=4_usize, any::<bool>(), any::<bool>(), 0..3_usize).prop_map(
            |(offset, size, is_big, is_all, extra)| {
                let endian = if is_big { Endian::Big } else { Endian::Little };
                let counts = if is_all { Counted::All } else { Counted::Rest };
                let start = b"<-"[..offset].to_vec();
                Shape::Prefixed { start, length: length(offset, size, endian, counts, extra) }
            }
        ),
    ];
    let checksum = prop_oneof![Just(None), Just(Some(xor()))];
    (shape, checksum).prop_map(|(shape, checksum)| framing(shape, checksum))
}

fn cut(framing: Framing, chunks: &[&[u8]]) -> Vec<Frame> {
    let (mut framer, mut frames, now) = (Framer::new(framing), Vec::new(), start());
    for chunk in chunks {
        framer.push(chunk, now, &mut frames);
    }
    frames
}

fn lines() -> Framing {
    Framing::lines(8)
}

fn framing(shape: Shape, checksum: Option<Checksum>) -> Framing {
    Framing { shape, checksum, bytes_max: 8, inter_byte_timeout: Framing::INTER_BYTE_TIMEOUT }
}

fn xor() -> Checksum {
    Checksum { sum: Sum::Xor, notation: Notation::BigEndian, from: 0 }
}

fn length(offset: usize, size: usize, endian: Endian, counts: Counted, extra: usize) -> Length {
    Length { offset, size, endian, counts, extra }
}

fn enclosed(start: &str, end: &str, checksum_after_end: bool) -> Shape {
    let (start, end) = (start.as_bytes().to_vec(), end.as_bytes().to_vec());
    Shape::Enclosed { start, end, checksum_after_end, keep_markers: false }
}

fn whole(text: &'static str) -> Frame {
    whole_bytes(text.as_bytes())
}

fn whole_bytes(bytes: &'static [u8]) -> Frame {
    Frame::Whole(Bytes::from_static(bytes))
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}
