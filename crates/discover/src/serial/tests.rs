//! Recordings, and what is thought of them.

use std::time::Duration;

use super::*;

/// The bytes in pieces as an adapter gives them, over and over as an instrument sends them.
fn chunks(bytes: &[u8], times: usize) -> Vec<Chunk> {
    #[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
    let start = Instant::now();
    let piece = |(index, piece): (u64, &[u8])| Chunk {
        at: start + Duration::from_millis(index),
        bytes: piece.to_vec(),
    };
    (0..).zip(bytes.repeat(times).chunks(50)).map(piece).collect()
}

fn guessed(bytes: &[u8], times: usize) -> Candidate {
    best_candidate(&chunks(bytes, times)).unwrap()
}

fn names(candidate: &Candidate) -> Vec<&str> {
    candidate.channels.iter().map(|channel| channel.name.as_str()).collect()
}

#[test]
fn lines_of_pairs_are_recognised() {
    let candidate = guessed(include_bytes!("../../../../tests/data/key-value.txt"), 3);
    assert!(candidate.score > 0.75, "{candidate:?}");
    assert_eq!(
        (candidate.bus_keys.as_str(), candidate.sensor_keys.as_str()),
        ("", "format = \"key-value\"\n")
    );
}

#[test]
fn header_names_the_columns() {
    let candidate =
        guessed(b"x,y\nt;h;state\n21.5;40;on\n21.6;41;on\n21.7;42;off\n21.8;42;off\n", 1);
    assert_eq!(names(&candidate), ["t", "h", "state"], "{candidate:?}");
    let expected = concat!(
        "format = \"csv\"\ndelimiter = \";\"\ncolumns = [\"t\", \"h\", \"state\"]\n",
        "ignore = \"^t;h;state$\"\n"
    );
    assert_eq!(candidate.sensor_keys, expected);
}

#[test]
fn recognises_nmea_and_ignores_valueless_sentences() {
    let candidate = guessed(include_bytes!("../../../../tests/data/nmea.txt"), 4);
    assert!(candidate.is_certain(), "{candidate:?}");
    assert_eq!(candidate.sensor_keys, "format = \"nmea\"\nignore = '^\\$..(GSA)'\n");
    assert!(names(&candidate).contains(&"position"));
}

#[test]
fn recognises_a_meter_with_checksum() {
    let candidate = guessed(include_bytes!("../../../../tests/data/obis.txt"), 2);
    assert_eq!(candidate.description, "telegrams of a smart meter");
    assert_eq!(candidate.bus_keys, "frame = \"dsmr\"\n", "{candidate:?}");
    assert!(names(&candidate).contains(&"1-0:1.8.1"));
    for detail in ["1-0:1.8.1.unit", "0-1:24.2.1.0"] {
        assert!(!names(&candidate).contains(&detail), "{detail}");
    }
}

#[test]
fn recognises_a_meter_without_checksum() {
    let candidate =
        guessed(b"/KMP5 KA6U\r\n\r\n1-0:1.8.1(00185.000*kWh)\r\n1-0:1.7.0(0000.98*kW)\r\n!\r\n", 3);
    assert_eq!(candidate.description, "telegrams of a smart meter", "{candidate:?}");
    assert!(!candidate.bus_keys.contains("checksum"));
}

#[test]
fn binary_frames_are_found_by_start_and_checksum() {
    // The answer of the carbon dioxide sensor MH-Z19B (user's manual 1.0): 0xff 0x86, high and low
    // byte, four bytes, sum.
    let frames: Vec<u8> = (0..12_u8)
        .flat_map(|number| {
            let content = [0x86, 2, 0x60 + 3 * number, 0x47, 0, 0, 0];
            let sum = content.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            [vec![0xff], content.to_vec(), vec![sum.wrapping_neg()]].concat()
        })
        .collect();
    let candidate = guessed(&frames[4..], 1);
    let expected = concat!(
        "frame = { kind = \"fixed\", size = 9, start = \"0xff86\", ",
        "checksum = \"sum-negated\", checksum_from = 1 }\n"
    );
    assert_eq!(candidate.bus_keys, expected, "{candidate:?}");
    assert_eq!(names(&candidate).len(), 6);
}

#[test]
fn finds_an_end_behind_the_checksum() {
    // The particle sensor SDS011.
    let frames: Vec<u8> = (0..12_u8)
        .flat_map(|number| {
            let content = [0xd4 + 3 * number, 4, 0x3a, 10 + number, 0xa1, 0x60];
            let sum = content.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            [vec![0xaa, 0xc0], content.to_vec(), vec![sum, 0xab]].concat()
        })
        .collect();
    let candidate = guessed(&frames[4..], 1);
    let expected = concat!(
        "frame = { kind = \"fixed\", size = 10, start = \"0xaac0\", ",
        "checksum = \"sum\", checksum_from = 2, end = \"0xab\" }\n"
    );
    assert_eq!(candidate.bus_keys, expected, "{candidate:?}");
    assert_eq!(names(&candidate).len(), 6);
}

#[test]
fn overheard_modbus_gives_the_requested_registers() {
    // Modbus Application Protocol 1.1b3, 6.3: registers 108 to 110 of unit 17, and the answer.
    // The checksums are computed.
    let question = [0x11, 0x03, 0x00, 0x6b, 0x00, 0x03, 0x76, 0x87];
    let answer = [0x11, 0x03, 0x06, 0xae, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xad];
    let candidate = guessed(&[&question[..], &answer[..]].concat(), 3);
    assert!(candidate.is_modbus && candidate.score > 0.9, "{candidate:?}");
    assert!(candidate.bus_keys.contains("unit-17]\nid = 17\n"), "{candidate:?}");
    assert!(candidate.bus_keys.contains("address = 107, kind = \"u16\""), "{candidate:?}");
}

#[test]
fn other_texts_are_cut_by_marks_or_by_silence() {
    let marked = guessed(b"\x02t=21.5\x03\x02t=21.6\x03\x02t=21.7\x03\x02t=21.8\x03", 2);
    assert_eq!(
        marked.bus_keys,
        "frame = { kind = \"enclosed\", start = \"0x02\", end = \"0x03\" }\n"
    );
    let mut chunks = chunks(b"21.5", 1);
    for pause in [1_u32, 2, 3] {
        let at = chunks[0].at + Duration::from_secs(1) * pause;
        chunks.push(Chunk { at, bytes: b"21.6".to_vec() });
    }
    assert_eq!(
        best_candidate(&chunks).unwrap().bus_keys,
        "frame = { kind = \"idle\", idle_time = \"50 ms\" }\n"
    );
    let checked = guessed(b"$t=1*78\n$t=2*7B\n$t=3*7A\n", 3);
    assert_eq!(
        checked.bus_keys, "frame = { kind = \"line\", checksum = \"nmea\" }\n",
        "{checked:?}"
    );
}

#[test]
fn noise_and_wrong_speed_give_no_good_candidate() {
    assert_eq!(best_candidate(&[]), None);
    // A generator of numbers (Numerical Recipes' LCG) in place of noise.
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(4_000)
    .collect();
    let score = best_candidate(&chunks(&noise, 1)).map_or(0.0, |candidate| candidate.score);
    assert!(score < 0.3, "{score}");
    // "t=21.5" with two bytes melted into one, as half the speed does.
    let melted: Vec<u8> = b"t=21.5 h=40\r\n"
        .chunks(2)
        .map(|pair| pair.iter().fold(0x80, |sum, byte| sum ^ byte.rotate_left(3)))
        .collect();
    let score = best_candidate(&chunks(&melted, 20)).map_or(0.0, |candidate| candidate.score);
    assert!(score < 0.61, "{score}");
}

#[test]
fn named_frames_are_proposed_for_their_protocols() {
    let vedirect = guessed(include_bytes!("../../../../tests/data/vedirect.bin"), 3);
    assert_eq!(vedirect.bus_keys, "frame = \"vedirect\"\n", "{vedirect:?}");
    assert_eq!(names(&vedirect), ["PID", "PPV", "V"]);
    let sml = guessed(include_bytes!("../../../../tests/data/sml.bin"), 3);
    assert_eq!(sml.bus_keys, "frame = \"sml\"\n", "{sml:?}");
    assert!(names(&sml).contains(&"1-0:1.8.0") && !names(&sml).contains(&"1-0:1.8.0.unit"));
    let mbus = guessed(include_bytes!("../../../../tests/data/mbus.bin"), 3);
    assert_eq!(mbus.bus_keys, "frame = \"mbus\"\n", "{mbus:?}");
    // MODBUS over serial line V1.02, 2.5.2.
    let modbus = guessed(b":F7031389000A60\r\n", 4);
    assert_eq!(modbus.bus_keys, "frame = \"modbus-ascii\"\n", "{modbus:?}");
}

#[test]
fn proposes_one_sensor_for_all_sentences() {
    let lines = b"$SDDPT,5.1,-0.5*7B\r\n$IIMTW,15.2,C*15\r\n$SDDBT,7.8,f,2.4,M,1.3,F*0D\r\n";
    let candidate = guessed(lines, 4);
    assert_eq!(candidate.bus_keys, "frame = \"nmea\"\n", "{candidate:?}");
    let names = names(&candidate);
    assert!(names.contains(&"depthBelowKeel") && names.contains(&"depthBelowTransducer"));
    assert!(!names.contains(&"depth") && !names.contains(&"sentence"), "{names:?}");
}

#[test]
fn several_data_sets_in_a_line_are_recognised() {
    let lines = b"6.8(0017.745*GJ)6.26(00413.97*m3)9.21(66153690)\r\n";
    for (start, end, keys) in [
        (&b""[..], &b""[..], ""),
        (b"/LUGCUH50\r\n\x02", b"!\r\n\x03\x5d", "frame = \"dsmr\"\n"),
        (
            b"\x02",
            b"!\r\n\x03\x5d",
            "frame = { kind = \"enclosed\", start = \"0x02\", end = \"0x03\" }\n",
        ),
    ] {
        let candidate = guessed(&[start, lines, end].concat(), 4);
        assert_eq!(candidate.bus_keys, keys, "{candidate:?}");
        assert_eq!(candidate.sensor_keys, "format = \"obis\"\n", "{candidate:?}");
        for name in ["6.8", "6.26", "9.21"] {
            assert!(names(&candidate).contains(&name), "{name}: {candidate:?}");
        }
    }
}

#[test]
fn reads_decimal_commas_and_units() {
    let scale = guessed(b"ST,GS,+  12,34kg\r\nST,GS,+  12,40kg\r\nUS,GS,+   2,40kg\r\n", 2);
    assert_eq!(names(&scale), ["status", "unit", "value"], "{scale:?}");
    assert!(scale.sensor_keys.ends_with("decimal = \",\"\n"), "{scale:?}");
    assert!(scale.evidence[0].ends_with("US,GS,+   2,40kg"), "{scale:?}");
    assert_eq!(scale.channels.get("value").unwrap().example, "2.4");
    for (bytes, keys) in [
        (&b"21,5\r\n21,7\r\n"[..], "format = \"text\"\ndecimal = \",\"\n"),
        (
            b"21,5;40,25;on\r\n21,7;41,25;on\r\n",
            "format = \"csv\"\ndelimiter = \";\"\ndecimal = \",\"\n",
        ),
        (b"T=21,5 H=55\r\nT=121,55 H=54\r\n", "format = \"key-value\"\ndecimal = \",\"\n"),
        (
            b"a;t;h\r\nx;21,5;40,1\r\nx;21,6;40,2\r\n",
            concat!(
                "format = \"csv\"\ndelimiter = \";\"\ncolumns = [\"a\", \"t\", \"h\"]\n",
                "ignore = \"^a;t;h$\"\ndecimal = \",\"\n"
            ),
        ),
        (b"6.8(0017.745*GJ)\r\n6.26(00413.97*m3)\r\n!\r\n", "format = \"obis\"\nignore = '^!'\n"),
        (b"21,5,on\r\n22,6,on\r\n", "format = \"csv\"\n"),
        (b"21,5\r\n21,10\r\n", "format = \"csv\"\n"),
        (b"21,5,7\r\n22,6,8\r\n", "format = \"csv\"\n"),
    ] {
        assert_eq!(guessed(bytes, 3).sensor_keys, keys, "{}", bytes.escape_ascii());
    }
}

#[test]
fn reads_latin_1() {
    let candidate = guessed(b"T: 24.0\xb0C, H: 55 %\r\n", 6);
    let keys = "format = \"key-value\"\nencoding = \"latin-1\"\n";
    assert_eq!(candidate.sensor_keys, keys, "{candidate:?}");
    assert_eq!(names(&candidate), ["H", "T"]);
    let entry = "{ channel = \"T\", attribute = \"T\", type = \"number\" },";
    assert!(candidate.map().contains(entry), "{}", candidate.map());
    assert!(candidate.is_certain(), "{candidate:?}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_accepted(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        if let Some(candidate) = best_candidate(&chunks(&bytes, 2)) {
            proptest::prop_assert!((0.0..=1.0).contains(&candidate.score), "{candidate:?}");
        }
    }
}
