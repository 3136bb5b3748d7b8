//! Tests of all formats with examples.

use proptest::prelude::*;

use super::decoder::MESSAGES_MAX;
use super::*;
use crate::frame::Endian;
use crate::word::NumberStyle;
use tidegate_model::{Value, ValueError};

mod encoding;
mod lines;
mod meters;

#[test]
fn decodes_pairs_of_all_forms() {
    for line in [
        "t=21.5 h=40 door=open",
        "t:21.5,h:40,door:open",
        " t=21.5;\th=40 ; door=\"open\"\r\n",
        "t: 21.5, h: 40, door: open",
        "t = 21.5 h = 40 door = \"open\"",
        "t :21.5\th\t: 40\tdoor =open",
    ] {
        let message = one(&KeyValue::default().into(), line.as_bytes()).unwrap();
        assert_eq!(message.channel("t"), Some(Ok(Value::Float(21.5))), "{line}");
        assert_eq!(message.channel("h"), Some(Ok(Value::Integer(40))), "{line}");
        assert_eq!(message.channel("door"), Some(Ok(text("open"))), "{line}");
        assert_eq!(message.channel("x"), None, "{line}");
        assert_eq!(message.names(), ["door", "h", "t"]);
    }
}

#[test]
fn decodes_lines_of_key_tab_value() {
    let block = "PID\t0xA053\r\nSER#\tHQ2026ABCDE\r\nV\t12800\r\nI\t-15\r\nLOAD\tON\r\n\
        BMV\t712 Smart\r\nH2\t\r\n";
    let message = one(&KeyValue::default().into(), block.as_bytes()).unwrap();
    assert_eq!(message.channel("PID"), Some(Ok(text("0xA053"))));
    assert_eq!(message.channel("V"), Some(Ok(Value::Integer(12_800))));
    assert_eq!(message.channel("I"), Some(Ok(Value::Integer(-15))));
    assert_eq!(message.channel("BMV"), Some(Ok(text("712 Smart"))));
    assert_eq!(message.channel("H2"), None);
    for line in ["V\t1\nV\t2", "V\t1\nI", "V\t1\t2", "V\t1 h=2", "V", "\t1", "V 1\t2", "21.5\t40"] {
        assert!(one(&KeyValue::default().into(), line.as_bytes()).is_err(), "{line} was accepted");
    }
    // A tab may also separate pairs.
    let message = one(&KeyValue::default().into(), b"t=1\th=2").unwrap();
    assert_eq!(message.names(), ["h", "t"]);
}

#[test]
fn quoted_values_are_texts_with_any_separator() {
    let message =
        one(&KeyValue::default().into(), br#"serial="0012" place="hall, upstairs" at=12:30"#);
    let message = message.unwrap();
    assert_eq!(message.channel("serial"), Some(Ok(text("0012"))));
    assert_eq!(message.channel("place"), Some(Ok(text("hall, upstairs"))));
    assert_eq!(message.channel("at"), Some(Ok(text("12:30"))));
}

#[test]
fn rejects_cut_or_merged_pairs() {
    for line in [
        "",
        "t",
        "=4",
        "t=1 = h=2",
        "t=2t=21.5",
        "t=1 t=2",
        "a=\"b",
        "a=\"b\"c",
        "a=\"b\"c=1",
        "room t: 21.5",
    ] {
        assert!(one(&KeyValue::default().into(), line.as_bytes()).is_err(), "{line} was accepted");
    }
}

#[test]
fn error_contains_the_place_and_an_excerpt() {
    let error = |line: &[u8]| one(&KeyValue::default().into(), line).unwrap_err().to_string();
    assert!(error(b"t=21 =h").starts_with("no key=value at byte 5, from \"=h\";"));
    assert!(error(b"t h").starts_with("no key=value at byte 0, from \"t h\";"));
    assert!(error(b"t2\xff1").starts_with("byte 2 is not UTF-8, from \"\\xff1\";"));
    assert!(error(&[b'x'; 1000]).len() < 250);
}

#[test]
fn csv_columns_name_the_channels() {
    let columns = ["t", "h", "place"].map(str::to_owned).to_vec();
    let format = csv(columns, b';');
    let message = one(&format, br#"21.5; ;"hall; upstairs""#).unwrap();
    assert_eq!(message.channel("t"), Some(Ok(Value::Float(21.5))));
    assert_eq!(message.channel("h"), Some(Err(ValueError::NoValue)));
    assert_eq!(message.channel("place"), Some(Ok(text("hall; upstairs"))));
}

#[test]
fn csv_with_blanks_joins_them() {
    // A weighing terminal and a logger with columns of a fixed width.
    let columns = ["id", "t", "place"].map(str::to_owned).to_vec();
    let format = csv(columns, b' ');
    for line in ["1 21.5 \"a  b\"", "  1   21.5\t \"a  b\"  \r\n", "1\t21.5\t\"a  b\""] {
        let message = one(&format, line.as_bytes()).unwrap();
        assert_eq!(message.channel("id"), Some(Ok(Value::Integer(1))), "{line}");
        assert_eq!(message.channel("t"), Some(Ok(Value::Float(21.5))), "{line}");
        assert_eq!(message.channel("place"), Some(Ok(text("a  b"))), "{line}");
    }
    assert!(one(&format, b"1 21.5").is_err(), "a column is missing");
}

#[test]
fn csv_without_columns_uses_the_index() {
    let format = csv(Vec::new(), b',');
    let message = one(&format, b"21.5,nan\n").unwrap();
    assert_eq!(message.channel("0"), Some(Ok(Value::Float(21.5))));
    assert_eq!(message.channel("1"), Some(Err(ValueError::NotFinite)));
}

#[test]
fn rejects_cut_or_merged_csv_lines() {
    let columns = ["t", "h"].map(str::to_owned).to_vec();
    let format = csv(columns, b',');
    for line in ["", "21.5", "21.5,40,1", "1,2\n3,4", "1,\"2"] {
        assert!(one(&format, line.as_bytes()).is_err(), "{line} was accepted");
    }
}

#[test]
fn json_channels_are_pointers_or_keys() {
    let message =
        one(&Json::default().into(), br#"{"t": 21.5, "a": [{"b": true}], "n": null}"#).unwrap();
    assert_eq!(message.channel("t"), Some(Ok(Value::Float(21.5))));
    assert_eq!(message.channel("/t"), Some(Ok(Value::Float(21.5))));
    assert_eq!(message.channel("/a/0/b"), Some(Ok(Value::Boolean(true))));
    assert_eq!(message.channel("n"), Some(Err(ValueError::NotScalar)));
    assert_eq!(message.channel("/a/1/b"), None);
    assert_eq!(one(&json(), b"7").unwrap().channel(""), Some(Ok(Value::Integer(7))));
}

#[test]
fn rejects_invalid_json() {
    for payload in
        ["{\"t\": NaN,}", "{\"t\": nano}", "{'t': 1}", "{\"t\": 21.", "", &"[".repeat(1000)]
    {
        assert!(one(&json(), payload.as_bytes()).is_err(), "{payload} was accepted");
    }
}

#[test]
fn plain_text_is_the_channel_value() {
    let value =
        |payload: &[u8]| one(&PlainText::default().into(), payload).unwrap().channel("value");
    assert_eq!(value(b" 21.5\n"), Some(Ok(Value::Float(21.5))));
    assert_eq!(value("zu kühl".as_bytes()), Some(Ok(text("zu kühl"))));
    assert_eq!(value(b" "), None);
}

#[test]
fn csv_header_names_the_columns() {
    let format: Format =
        Csv { columns: Vec::new(), has_header: true, delimiter: b',', ..Csv::default() }.into();
    let messages = decode(&format, b"t,h\n21.5,40\n21.6,\n").unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].channel("h"), Some(Ok(Value::Integer(40))));
    assert_eq!(
        (messages[1].channel("t"), messages[1].channel("h")),
        (Some(Ok(Value::Float(21.6))), Some(Err(ValueError::NoValue)))
    );
    for payload in ["", "t,h", "t,h\n1"] {
        assert!(decode(&format, payload.as_bytes()).is_err(), "{payload} was accepted");
    }
}

#[test]
fn json_array_elements_are_messages() {
    let format: Format = Json { array_pointer: Some("/r".to_owned()), ..Json::default() }.into();
    let messages = decode(&format, br#"{"r": [{"t": 1}, {"t": 2}]}"#).unwrap();
    let values: Vec<_> = messages.iter().map(|message| message.channel("t")).collect();
    assert_eq!(values, [Some(Ok(Value::Integer(1))), Some(Ok(Value::Integer(2)))]);
    let error = decode(&format, br#"{"t": 1}"#).unwrap_err().to_string();
    assert!(error.starts_with("no array at \"/r\";"), "{error}");
    let many = format!("{{\"r\": [{}1]}}", "1,".repeat(MESSAGES_MAX));
    assert!(matches!(decode(&format, many.as_bytes()), Err(DecodeError::TooManyMessages { .. })));
}

#[test]
fn named_groups_are_channels() {
    let pattern =
        Pattern::from(compile_pattern(r"T1\s*:\s*(?<t>[-\d.]+)\s*C(?:, H (?<h>\d+))?").unwrap());
    let message = one(&pattern.clone().into(), b"#12 T1 : -3.5 C").unwrap();
    assert_eq!(message.channel("t"), Some(Ok(Value::Float(-3.5))));
    assert_eq!(message.channel("h"), None);
    let blank = Pattern::from(compile_pattern("T=(?<t>[^;]*);H=(?<h>.*)").unwrap());
    let message = one(&blank.into(), b"T= ;H=4").unwrap();
    assert_eq!(message.channel("t"), Some(Err(ValueError::NoValue)));
    assert!(matches!(one(&pattern.into(), b"T2: 4"), Err(DecodeError::NoMatch { .. })));
}

#[test]
fn rejects_invalid_patterns() {
    for (pattern, problem) in [
        ("(?<t>", "unclosed group"),
        ("(?<t>\\w{1000}{1000})", "exceeds size limit"),
        ("\\d+", "no named group"),
    ] {
        let error = compile_pattern(pattern).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn decodes_a_binary_layout() {
    let field = |name: &str, offset, kind: &str, endian| BinaryField {
        name: name.to_owned(),
        offset,
        kind: Kind::named(kind).unwrap(),
        endian,
    };
    let fields = vec![field("t", 2, "i16", Endian::Big), field("p", 4, "f32", Endian::Little)];
    let format: Format = Binary { fields, encoding: None }.into();
    let message = one(&format, b"\xaa\x55\xff\x9c\x00\x00\xc0\x7f").unwrap();
    assert_eq!(message.channel("t"), Some(Ok(Value::Integer(-100))));
    assert_eq!(message.channel("p"), Some(Err(ValueError::NotFinite)));
    let error = one(&format, b"\xaa\x55\xff\x9c").unwrap_err().to_string();
    assert!(
        error.starts_with("field p at byte 4 of 4: the message ends before the field"),
        "{error}"
    );
}

#[test]
fn obis_codes_are_channels() {
    let telegram = b"/ISK5\\2M550E-1012\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(190320181403W)\r\n\
        0-0:96.1.1(4530303433303037303532383730333138)\r\n1-0:1.8.1(000576.239*kWh)\r\n\
        0-1:24.2.1(190320181003W)(00042.125*m3)\r\n0-0:96.13.0()\r\n!A8DB\r\n";
    let message = one(&Obis.into(), telegram).unwrap();
    assert_eq!(message.channel("1-0:1.8.1"), Some(Ok(Value::Float(576.239))));
    assert_eq!(message.channel("1-0:1.8.1.unit"), Some(Ok(text("kWh"))));
    assert_eq!(message.channel("0-1:24.2.1"), Some(Ok(Value::Float(42.125))));
    assert_eq!(message.channel("0-1:24.2.1.0"), Some(Ok(text("190320181003W"))));
    assert_eq!(message.channel("0-0:96.1.1"), Some(Ok(text("4530303433303037303532383730333138"))));
    assert_eq!(message.channel("0-0:96.13.0"), Some(Ok(text(""))));
    assert_eq!(message.channel("meter"), Some(Ok(text("ISK5\\2M550E-1012"))));
    for cut in [&telegram[..telegram.len() - 7], b"/a\r\nx\r\n!", b"x", b""] {
        assert!(one(&Obis.into(), cut).is_err());
    }
}

#[test]
fn joins_broken_lines_of_old_telegrams() {
    let telegram = b"/KMP5 KA6U001585575011\r\n\r\n0-0:96.1.1(204B413655303031353835)\r\n\
        1-0:1.8.1(00185.000*kWh)\r\n0-1:24.1.0(3)\r\n\
        0-1:24.3.0(090212160000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(00001.001)\r\n0-1:24.4.0(1)\r\n\
        0-2:24.3.0(090212160000)(00)(60)(1)(0-2:24.2.1)(m3)\r\n(00007.500)\r\n!\r\n";
    let message = one(&Obis.into(), telegram).unwrap();
    assert_eq!(message.channel("0-1:24.3.0"), Some(Ok(Value::Float(1.001))));
    assert_eq!(message.channel("0-1:24.3.0.unit"), Some(Ok(text("m3"))));
    assert_eq!(message.channel("0-1:24.3.0.0"), Some(Ok(text("090212160000"))));
    assert_eq!(message.channel("0-2:24.3.0"), Some(Ok(Value::Float(7.5))));
    assert_eq!(message.channel("0-1:24.4.0"), Some(Ok(Value::Integer(1))));
    assert_eq!(message.channel(""), None);
    let telegram = b"/ISk5MT174-0001\r\n\x020.0.0(12345678)\r\n1.8.0(0001234.567*kWh)\r\n!\r\n";
    let message = one(&Obis.into(), telegram).unwrap();
    assert_eq!(message.channel("0.0.0"), Some(Ok(Value::Integer(12_345_678))));
}

proptest! {
    #[test]
    fn decoding_never_panics_on_any_payload(
        payload: Vec<u8>,
        line in "[a-c0-9=:,; \"]{0,20}",
        delimiter: u8,
    ) {
        let columns = vec!["a".to_owned(), "b".to_owned()];
        let csv = csv(columns, delimiter);
        let endian = Endian::Big;
        let field = |kind| BinaryField { name: "a".to_owned(), offset: 3, kind, endian };
        let fields = [Kind::Float32, Kind::Bcd(8), Kind::Text(5), Kind::Signed(3)].map(field);
        let pattern = Pattern::from(compile_pattern("(?<a>[a-c]+).(?<b>.*)").unwrap());
        let formats: [Format; 9] = [
            KeyValue::default().into(),
            csv,
            Csv { columns: Vec::new(), has_header: true, delimiter, ..Csv::default() }.into(),
                Json { array_pointer: Some("/a".to_owned()), ..Json::default() }.into(),
            pattern.into(),
            Binary { fields: fields.to_vec(), encoding: None }.into(),
            Nmea::default().into(),
            Obis.into(),
            PlainText::default().into(),
        ];
        for format in formats {
            for payload in [payload.as_slice(), line.as_bytes()] {
                if let Err(error) = decode(&format, payload) {
                    prop_assert!(error.to_string().len() < 300, "{error}");
                }
            }
        }
    }

    #[test]
    fn reads_back_written_pairs(key in "[a-z]{1,8}", number in -1e9..1e9_f64) {
        let line = format!("{key}={number:?}");
        let message = one(&KeyValue::default().into(), line.as_bytes()).unwrap();
        prop_assert_eq!(message.channel(&key), Some(Ok(Value::Float(number))));
    }
}

fn decode(format: &Format, payload: &[u8]) -> Result<Vec<Decoded>, DecodeError> {
    format.decode("", payload, &mut Births::default())
}

fn json() -> Format {
    Json::default().into()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Returns the only message of a payload.
fn one(format: &Format, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let mut messages = decode(format, payload)?;
    assert_eq!(messages.len(), 1);
    Ok(messages.remove(0))
}

fn csv(columns: Vec<String>, delimiter: u8) -> Format {
    Csv { columns, has_header: false, delimiter, ..Csv::default() }.into()
}
