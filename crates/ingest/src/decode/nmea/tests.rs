//! Sentences as instruments send them. The fields are those of "NMEA Revealed" (gpsd), unless a
//! test names another source; the numbers are our own.

use proptest::prelude::*;

use super::*;
use tidegate_model::ValueError;

/// Decodes sentences whose checksums are missing: `$body` becomes `$body*hh`.
fn decode(body: &str) -> Result<Vec<Decoded>, DecodeError> {
    let sum = body.bytes().skip(1).fold(0, |sum, byte| sum ^ byte);
    raw(format!("{body}*{sum:02X}\r\n").as_bytes())
}

fn raw(payload: &[u8]) -> Result<Vec<Decoded>, DecodeError> {
    Nmea::default().decode("", payload, &mut Births::default())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Returns the channels of the only sentence, without `sentence`.
fn channels(body: &str) -> Vec<(String, f64)> {
    let messages = decode(body).unwrap();
    assert_eq!(messages.len(), 1, "{body}");
    let number = |name: &str| match messages[0].channel(name) {
        Some(Ok(Value::Float(number))) => Some((name.to_owned(), number)),
        Some(Ok(Value::Text(_))) => None,
        other => panic!("{body}: {name} is {other:?}"),
    };
    messages[0].names().into_iter().filter_map(number).collect()
}

fn assert_channels(body: &str, expected: &[(&str, f64)]) {
    let found = channels(body);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected_names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected_names, "{body}");
    for ((name, number), (_, expected)) in found.iter().zip(expected) {
        assert!((number - expected).abs() < 1e-9, "{body}: {name} is {number}");
    }
    let (nmea, known) = (Nmea::default(), Nmea::default().channels().unwrap());
    assert!(
        names.iter().all(|name| known.iter().any(|one| one == name) || nmea.may_have_channel(name))
    );
}

#[test]
fn position_has_the_format_of_losant() {
    // The examples of many NMEA 0183 references.
    let gga = "$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,";
    let message = decode(gga).unwrap().remove(0);
    assert_eq!(message.channel("position"), Some(Ok(text("53.3613367,-6.5056200"))));
    assert_eq!(message.channel("altitude"), Some(Ok(Value::Float(61.7))));
    assert_eq!(message.channel("satellites"), Some(Ok(Value::Float(8.0))));
    assert_eq!(message.channel("sentence"), Some(Ok(text("GGA"))));
    let gsv = "$GPGSV,3,1,11,03,03,111,00,04,15,270,00,06,01,010,00,13,06,292,00";
    assert_eq!(decode(gsv).unwrap()[0].names(), ["sentence"]);
}

#[test]
fn refuses_what_is_no_sentence() {
    for (line, problem) in [
        (
            &b"$GPGGA,092750.000,5321.6803,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76"[..],
            "wrong checksum",
        ),
        (b"PGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76", "no $ or ! at"),
        (b"$SDDBT,1,f*+3", "wrong checksum"),
        (b"$SDDBT,1,f*3", "wrong checksum"),
        (b"$PGRME,9.1,M", "no checksum"),
        (b"$hello", "no checksum"),
        (b"$SDDBT,7.8,f,\xb0", "no checksum"),
        (b"$GGA,1", "no talker and type"),
        (b"$GPRMC,092750.000,A,5321.68x2,N,00630.3372,W,0.02,31.66,280511,,,A", "the fields do"),
        (b"$GPRMC,092750.000,A,5321.6802,N,19030.3372,W,0.02,31.66,280511,,,A", "the fields do"),
        (b"$GPRMC,092750.000,A,5321.6802,N,00630.3372,W,0.02,31.66,281311,,,A", "the fields do"),
        (b"$IIXDR,C,19.5,C", "the fields do"),
        (b"# a comment", "no $ or !"),
    ] {
        let error = raw(line).unwrap_err().to_string();
        assert!(error.starts_with(&format!("invalid NMEA 0183 sentence: {problem}")), "{error}");
    }
    assert!(matches!(raw(b"\xff\xfe\x80"), Err(DecodeError::NotUtf8 { at: 0, .. })));
    let many = b"$SDDPT,1.0,\n".repeat(MESSAGES_MAX + 1);
    assert!(matches!(raw(&many), Err(DecodeError::TooManyMessages { .. })));
}

#[test]
fn void_sentences_have_no_position() {
    for body in [
        "$GPRMC,212406.000,V,0000.0000,N,00000.0000,E,0.0,0.0,280316,,,N",
        "$GPRMC,212607.891,V,,,,,,,181207,0,N",
        "$GPGLL,3728.0549,N,12213.8639,W,014413.076,V",
        "$GPGLL,3728.0549,N,12213.8639,W,014413.076,A,N",
        "$GPVTG,0.0,T,,M,0.0,N,0.0,K,N",
        "$WIMWV,041.1,R,01.0,N,V",
        "$IIRPM,E,1,2418.2,10.5,V",
        "$IIXTE,V,A,0.67,L,N",
        "$GPZDA,,,,,,",
        "$TIROT,-12.3,V",
        "$GPTXT,any",
        "!AIVDM,1,1,,B,13aGhtw0R<OJf=6LgQ?Ad1FF05`L,0",
        "$CDDSC,12,3380400790,12,06,00,1423108312,2019,,,S,E",
        "$PGRME,9.1,M,15.0,M,12.0,M",
        "$CCGPQ,GGA",
    ] {
        assert_channels(body, &[]);
    }
    let void = "$GPGGA,212406.000,0000.0000,N,00000.0000,E,0,00,0.0,0.0,M,0.0,M,,0000";
    assert_channels(void, &[("quality", 0.0), ("satellites", 0.0)]);
    assert_channels("$GNGNS,074150.799,,,,,NNNN,00,,,0.0,,0000", &[("satellites", 0.0)]);
}

#[test]
fn depths_are_distinct() {
    // Offsets: positive to the water line, negative to the keel.
    let depth = ("depth", 5.1);
    let transducer = ("depthBelowTransducer", 5.1);
    assert_channels("$SDDPT,5.1,-0.5", &[depth, ("depthBelowKeel", 4.6), transducer]);
    assert_channels("$SDDPT,5.1,0.4,100", &[depth, ("depthBelowSurface", 5.5), transducer]);
    for body in ["$SDDPT,5.1,0.0", "$INDPT,5.1,", "$YXDPT,5.1"] {
        assert_channels(body, &[depth, transducer]);
    }
    // A sounder without an echo.
    for body in ["$SDDPT,,0.5", "$SDDPT,---,0.5", "$SDDBT,,f,,M,,F", "$SDDBT,---,f,---,M,---,F"] {
        assert_channels(body, &[]);
    }
    assert_channels("$SDDBT,7.8,f,2.4,M,1.3,F", &[("depth", 2.4), ("depthBelowTransducer", 2.4)]);
    assert_channels("$SDDBS,7.8,f,2.4,M,1.3,F", &[("depth", 2.4), ("depthBelowSurface", 2.4)]);
    assert_channels("$SDDBK,7.8,f,2.4,M,1.3,F", &[("depth", 2.4), ("depthBelowKeel", 2.4)]);
    // Only feet, or only fathoms.
    assert_channels("$SDDBT,10.0,f,,M,,F", &[("depth", 3.048), ("depthBelowTransducer", 3.048)]);
    assert_channels("$SDDBT,,,,,2.0,F", &[("depth", 3.6576), ("depthBelowTransducer", 3.6576)]);
}

#[test]
fn headings_are_true_where_they_can_be() {
    let zero = ("deviation", 0.0);
    assert_channels(
        "$HCHDG,98.3,0.0,E,12.6,W",
        &[zero, ("heading", 85.7), ("magneticHeading", 98.3), ("variation", -12.6)],
    );
    assert_channels(
        "$HCHDG,355.0,4.0,E,3.0,E",
        &[("deviation", 4.0), ("heading", 2.0), ("magneticHeading", 359.0), ("variation", 3.0)],
    );
    assert_channels("$HCHDG,1.0,2.5,W,,", &[("deviation", -2.5), ("magneticHeading", 358.5)]);
    assert_channels(
        "$HCHDG,101.1,,,7.1,W",
        &[("heading", 94.0), ("magneticHeading", 101.1), ("variation", -7.1)],
    );
    assert_channels("$HCHDM,98.3,M", &[("magneticHeading", 98.3)]);
    assert_channels("$HEHDT,274.07,T", &[("heading", 274.07)]);
    assert_channels("$HEHDT,274.07,", &[("heading", 274.07)]);
    assert_channels("$HETHS,77.5,A", &[("heading", 77.5)]);
    assert_channels(
        "$VWVHW,100.5,T,105.5,M,10.5,N,19.4,K",
        &[("heading", 100.5), ("magneticHeading", 105.5), ("waterSpeed", 10.5)],
    );
    assert_channels("$VWVHW,,T,,M,,N,18.52,K", &[("waterSpeed", 10.0)]);
    assert_channels("$TIROT,-12.3,A", &[("rateOfTurn", -12.3)]);
}

#[test]
fn winds_have_one_unit_and_one_direction() {
    for unit in ["18.52,K", "10.0,N", "11.5077944802,S"] {
        assert_channels(
            &format!("$WIMWV,041.1,R,{unit},A"),
            &[("windAngle", 41.1), ("windSpeed", 10.0)],
        );
    }
    assert_channels(
        "$WIMWV,214.8,R,0.1,M,A",
        &[("windAngle", 214.8), ("windSpeed", 0.194_384_449_244)],
    );
    assert_channels("$WIMWV,041.1,T,10.0,N,A", &[("trueWindAngle", 41.1), ("trueWindSpeed", 10.0)]);
    assert_channels(
        "$IIVWR,045.0,L,12.6,N,6.5,M,23.3,K",
        &[("windAngle", 315.0), ("windSpeed", 12.6)],
    );
    assert_channels("$IIVWR,045.0,R,,N,,M,18.52,K", &[("windAngle", 45.0), ("windSpeed", 10.0)]);
    assert_channels(
        "$IIVWT,010.0,L,1.03,N,0.53,M,1.91,K",
        &[("trueWindAngle", 350.0), ("trueWindSpeed", 1.03)],
    );
    assert_channels(
        "$WIMWD,10.1,T,10.4,M,12.0,N,6.2,M",
        &[("magneticWindDirection", 10.4), ("trueWindSpeed", 12.0), ("windDirection", 10.1)],
    );
    assert_channels("$WIMWD,,T,10.4,M,,N,,M", &[("magneticWindDirection", 10.4)]);
}

#[test]
fn weather_has_the_units_of_the_table() {
    assert_channels(
        "$WIMDA,29.7544,I,1.0076,B,35.5,C,17.5,C,42.1,,20.6,C,116.4,T,107.7,M,1.2,N,0.6,M",
        &[
            ("airTemperature", 35.5),
            ("dewPoint", 20.6),
            ("humidity", 42.1),
            ("magneticWindDirection", 107.7),
            ("pressure", 1.0076),
            ("trueWindSpeed", 1.2),
            ("waterTemperature", 17.5),
            ("windDirection", 116.4),
        ],
    );
    assert_channels("$WIMDA,30.0,I,,,,,,,,,,,,,,,,,,", &[("pressure", 1.015_916_7)]);
    assert_channels("$IIMTW,17.9,C", &[("waterTemperature", 17.9)]);
    assert_channels("$IIMTW,64.4,F", &[("waterTemperature", 18.0)]);
    assert_channels("$WIMTA,21.5,C", &[("airTemperature", 21.5)]);
    assert_channels("$WIMMB,29.9,I,1.013,B", &[("pressure", 1.013)]);
    assert_channels("$WIMHU,45.0,,11.2,C", &[("dewPoint", 11.2), ("humidity", 45.0)]);
}

#[test]
fn speed_and_course_of_all_ages() {
    let both = [("course", 77.5), ("magneticCourse", 93.3), ("speed", 5.2)];
    for body in [
        "$GPVTG,77.5,T,93.3,M,5.2,N,9.7,K,A",
        "$GPVTG,77.5,T,93.3,M,5.2,N,9.7,K",
        "$IIVTG,77.5,93.3,5.2,9.7",
    ] {
        assert_channels(body, &both);
    }
    assert_channels("$GPVTG,,T,,M,0.031,N,0.058,K,A", &[("speed", 0.031)]);
    let rmc = "$GPRMC,092750.000,A,5321.6802,N,00630.3372,W,0.02,31.66,280511,4.2,W,A";
    let message = decode(rmc).unwrap().remove(0);
    assert_eq!(message.channel("time"), Some(Ok(text("2011-05-28T09:27:50Z"))));
    for (name, number) in [("course", 31.66), ("speed", 0.02), ("variation", -4.2)] {
        assert_eq!(message.channel(name), Some(Ok(Value::Float(number))), "{name}");
    }
    assert_channels(
        "$IIVDR,10.0,T,12.0,M,1.5,N",
        &[("drift", 1.5), ("magneticSet", 12.0), ("set", 10.0)],
    );
    assert_channels(
        "$VWVLW,7803.2,N,12.1,N",
        &[("waterDistance", 7_803.2), ("waterTripDistance", 12.1)],
    );
    assert_channels(
        "$VWVLW,100.0,N,1.0,N,18.52,K,2.0,N",
        &[
            ("groundDistance", 10.0),
            ("groundTripDistance", 2.0),
            ("waterDistance", 100.0),
            ("waterTripDistance", 1.0),
        ],
    );
    assert_channels("$VDVBW,4.5,0.1,A,,,V", &[("waterSpeed", 4.5)]);
}

#[test]
fn positions_are_exact() {
    let latitude = |body: &str| decode(body).unwrap().remove(0).channel("latitude");
    let south = -(45.0 + 27.458 / 60.0);
    assert_eq!(latitude("$GPGLL,4527.458,S,16709.165,E"), Some(Ok(Value::Float(south))));
    let north = 38.0 + 44.24 / 60.0;
    let gns = "$GNGNS,112257.00,3844.24,N,00908.43828,W,NNNA,03,10.5,,,,,V";
    assert_eq!(latitude(gns), Some(Ok(Value::Float(north))));
    assert_eq!(latitude("$GPGLL,,,,,,V,N"), None);
}

#[test]
fn times_have_a_date() {
    let time = |body: &str| decode(body).unwrap().remove(0).channel("time");
    assert_eq!(
        time("$GPZDA,160012.71,11,03,2004,-1,00"),
        Some(Ok(text("2004-03-11T16:00:12.71Z")))
    );
    assert_eq!(time("$GPZDA,235960,31,12,2016,,"), Some(Ok(text("2016-12-31T23:59:60Z"))));
    let rmc = "$GPRMC,092750,A,5321.6802,N,00630.3372,W,,,280599,,";
    assert_eq!(time(rmc), Some(Ok(text("1999-05-28T09:27:50Z"))));
    assert_eq!(time("$GPRMC,092750,A,5321.6802,N,00630.3372,W,,,,,"), None);
}

#[test]
fn engines_rudders_and_routes() {
    assert_channels(
        "$IIRPM,E,1,2418.2,10.5,A",
        &[("engineSpeed1", 2_418.2), ("propellerPitch1", 10.5)],
    );
    assert_channels("$IIRPM,E,0,800.0,,A", &[("engineSpeed", 800.0)]);
    assert_channels("$IIRPM,S,2,210.0,,A", &[("shaftSpeed2", 210.0)]);
    assert_channels("$IIRSA,10.5,A,,V", &[("rudderAngle", 10.5)]);
    assert_channels("$IIRSA,-3.0,A,-2.5,A", &[("portRudderAngle", -2.5), ("rudderAngle", -3.0)]);
    assert_channels("$GPXTE,A,A,0.67,L,N", &[("crossTrackError", 0.67)]);
    assert_channels("$GPXTE,A,A,0.67,R,N,A", &[("crossTrackError", -0.67)]);
    let rmb = "$GPRMB,A,0.66,L,003,004,4917.24,N,12309.57,W,1.3,52.5,0.5,V";
    assert_channels(
        rmb,
        &[
            ("closingSpeed", 0.5),
            ("crossTrackError", 0.66),
            ("waypointBearing", 52.5),
            ("waypointDistance", 1.3),
        ],
    );
    assert_eq!(decode(rmb).unwrap()[0].channel("waypoint"), Some(Ok(text("004"))));
    let apb = "$GPAPB,A,A,0.10,R,N,V,V,11.0,T,DEST,12.0,T,12.0,T";
    assert_channels(apb, &[("crossTrackError", -0.1), ("waypointBearing", 12.0)]);
    let bwc = "$GPBWC,081837,4917.24,N,12309.57,W,51.9,T,31.6,M,1.3,N,004";
    assert_channels(bwc, &[("waypointBearing", 51.9), ("waypointDistance", 1.3)]);
}

#[test]
fn transducers_have_names_types_and_units() {
    let body = "$IIXDR,C,19.5,C,AIRTEMP,A,-2.3,D,PITCH,P,1.0211,B,";
    let found = [("xdr_A_PITCH", -2.3), ("xdr_C_AIRTEMP", 19.5), ("xdr_P", 1.0211)];
    assert_channels(body, &found);
    let message = decode(body).unwrap().remove(0);
    assert_eq!(message.channel("xdr_A_PITCH_unit"), Some(Ok(text("D"))));
    assert_eq!(message.channel("xdr_P_unit"), Some(Ok(text("B"))));
    // The Vaisala WXT520 numbers its transducers for each type (user's guide, "XDR").
    assert_channels(
        "$WIXDR,A,302,D,0,A,320,D,1,S,0.1,M,0,H,,P,0",
        &[("xdr_A_0", 302.0), ("xdr_A_1", 320.0), ("xdr_S_0", 0.1)],
    );
    assert_channels("$ERXDR,C,80.0,C,ENGT#1", &[("xdr_C_ENGT_1", 80.0)]);
    let message = decode("$IIXDR,C,nan,C,ROOM").unwrap().remove(0);
    assert_eq!(message.channel("xdr_C_ROOM"), Some(Err(ValueError::NotFinite)));
    // Cut, without a checksum.
    assert!(raw(b"$IIXDR,C,19.5,C,AIR,C,2").is_err());
}

/// Returns the values of a channel in all messages, and the number of losses.
fn all(payload: &[u8], channel: &str) -> (Vec<f64>, usize) {
    let messages = raw(payload).unwrap();
    let numbers = messages.iter().filter_map(|message| match message.channel(channel) {
        Some(Ok(Value::Float(number))) => Some(number),
        _ => None,
    });
    (numbers.collect(), messages.iter().map(|message| message.losses().len()).sum())
}

#[test]
fn merged_lines_give_all_sentences() {
    let merged = b"$SDDBT,7.8,f,2.4,M,1.3,F*0D$IIMTW,15.2,C*15";
    assert_eq!(all(merged, "depth"), (vec![2.4], 0));
    assert_eq!(all(merged, "waterTemperature"), (vec![15.2], 0));
    // The wrong sentence costs itself only, and is counted.
    let wrong = b"$SDDBT,7.8,f,2.5,M,1.3,F*0D$IIMTW,15.2,C*15";
    assert_eq!(all(wrong, "depth"), (vec![], 1));
    assert_eq!(all(wrong, "waterTemperature"), (vec![15.2], 1));
    assert_eq!(all(b"$SDDBT,7.8,f,2.4,M,1$IIMTW,15.2,C*15", "waterTemperature"), (vec![15.2], 1));
    assert_eq!(all(b",2.4,M,1.3,F*0D$IIMTW,15.2,C*15", "waterTemperature"), (vec![15.2], 1));
    // Several lines in one payload, as of a broker.
    let lines = b"$IIMTW,15.2,C*15\r\n\r\n$SDDBT,7.8,f,2.4,M,1.3,F*0d\r\n";
    assert_eq!(all(lines, "depth"), (vec![2.4], 0));
}

#[test]
fn skips_noise_and_tag_blocks() {
    for before in
        ["\\s:rec,c:123*3F\\", "\\g:1-2-99,s:r*00\\\\c:5*1B\\", "\u{0}x$", ":12 $G", "\u{fe}"]
    {
        let line = format!("{before}$IIMTW,15.2,C*15");
        assert_eq!(all(line.as_bytes(), "waterTemperature"), (vec![15.2], 0), "{before}");
    }
    let group = b"\\g:1-2-7*60\\$IIMTW,15.2,C*15\\g:2-2-7*63\\$IIMTW,15.3,C*14";
    assert_eq!(all(group, "waterTemperature"), (vec![15.2, 15.3], 0));
    assert_eq!(all(b"\xff\xb0$IIMTW,15.2,C*15\xff", "waterTemperature"), (vec![15.2], 0));
    assert_channels("$GPTXT,01,01,02,HI!OK", &[]);
    // Only the start character is lost.
    assert_eq!(all(b"IIMTW,15.2,C*15", "waterTemperature"), (vec![15.2], 0));
}

#[test]
fn reads_what_the_frame_has_verified() {
    let nmea = Nmea { is_verified: true };
    let decode = |payload: &[u8]| nmea.decode("", payload, &mut Births::default());
    let message = decode(b"SDDPT,5.1,-0.5").unwrap().remove(0);
    assert_eq!(message.channel("depthBelowKeel"), Some(Ok(Value::Float(4.6))));
    assert!(decode(b"t=1").is_err());
    assert!(decode(b"$SDDPT,5.1,-0.5*00").is_err());
}

proptest! {
    #[test]
    fn any_line_gives_short_errors_and_known_channels(
        noise in prop::collection::vec(any::<u8>(), 0..60),
        body in "[A-Z]{4,6}(,[0-9.A-Z-]{0,6}){0,12}",
        at in 0..80_usize,
    ) {
        let nmea = Nmea::default();
        let known = nmea.channels().unwrap();
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        let mut line = format!("${body}*{sum:02x}").into_bytes();
        let at = at.min(line.len());
        line.splice(at..at, noise);
        match raw(&line) {
            Ok(messages) => for name in messages.iter().flat_map(Decoded::names) {
                prop_assert!(known.iter().any(|one| one == name) || nmea.may_have_channel(name));
            },
            Err(error) => prop_assert!(error.to_string().len() < 300, "{error}"),
        }
    }

    #[test]
    fn noise_between_sentences_loses_none(noise in "[a-z0-9 ,.:\\-]{0,20}") {
        let line = format!("{noise}$IIMTW,15.2,C*15{noise}$IIMTW,15.3,C*14{noise}");
        prop_assert_eq!(all(line.as_bytes(), "waterTemperature"), (vec![15.2, 15.3], 0));
    }
}
