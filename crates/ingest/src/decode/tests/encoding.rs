//! Texts that are not UTF-8, and marks around texts.

use super::*;
use crate::text_encoding::TextEncoding;

fn pairs(line: &[u8]) -> Decoded {
    one(&KeyValue::default().into(), line).unwrap()
}

#[test]
fn numbers_of_a_latin_1_line_are_read() {
    let line = b"T: 24.0\xb0C, H: 55 %, U: 3\xb5V, S: zu k\xfchl";
    let message = pairs(line);
    assert_eq!(message.channel("T"), Some(Ok(Value::Float(24.0))));
    assert_eq!(message.channel("H"), Some(Ok(Value::Integer(55))));
    assert_eq!(message.channel("U"), Some(Ok(Value::Integer(3))));
    let format = Format::from(KeyValue::default()).with_encoding(TextEncoding::named("latin-1"));
    let message = one(&format, b"T: 24.0\xb0C, S: k\xfchl").unwrap();
    assert_eq!(message.channel("T"), Some(Ok(text("24.0°C"))));
    assert_eq!(message.channel("S"), Some(Ok(text("kühl"))));
}

#[test]
fn damaged_number_is_no_number() {
    for line in [b"t=2\xff1 h=1".as_slice(), b"t=21.\xb5 h=1", b"t=\xb21.5 h=1"] {
        let message = pairs(line);
        assert!(matches!(message.channel("t"), Some(Ok(Value::Text(_)))), "{message:?}");
        assert!(message.is_lossy());
        assert_eq!(message.channel("h"), Some(Ok(Value::Integer(1))));
    }
}

#[test]
fn every_text_format_reads_latin_1() {
    let columns = vec!["t".to_owned(), "h".to_owned()];
    let pattern = Pattern::from(compile_pattern("(?<t>[0-9.]+).C").unwrap());
    let document = br#"{"t": "24.0\u00b0C", "place": "k\u00fchl"}"#;
    let document = String::from_utf8(document.to_vec()).unwrap();
    let document = document.replace("\\u00b0", "\u{b0}").replace("\\u00fc", "\u{fc}");
    let document: Vec<u8> =
        document.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect();
    for (format, payload) in [
        (Csv { columns, ..Csv::default() }.into(), b"24.0\xb0C,1".as_slice()),
        (pattern.into(), b"T 24.0\xb0C"),
        (json(), document.as_slice()),
    ] {
        let message = one(&format, payload).unwrap();
        assert_eq!(message.channel("t"), Some(Ok(Value::Float(24.0))), "{format:?}");
    }
    let message = one(&PlainText::default().into(), b"24.0\xb0C\r\n").unwrap();
    assert_eq!(message.channel("value"), Some(Ok(Value::Float(24.0))));
    let message = one(&Obis.into(), b"/M\xfcller\r\n6.8(1.5*GJ)\r\n!").unwrap();
    assert_eq!(message.channel("6.8"), Some(Ok(Value::Float(1.5))));
}

#[test]
fn marks_around_a_text_are_skipped() {
    for line in [
        b"\xef\xbb\xbft=21.5 h=40".as_slice(),
        b"\0\0t=21.5 h=40\0",
        b"\0\xef\xbb\xbf\0t=21.5 h=40",
    ] {
        assert_eq!(pairs(line).channel("t"), Some(Ok(Value::Float(21.5))), "{line:?}");
    }
    let message = one(&json(), b"\xef\xbb\xbf{\"t\": 1}\0").unwrap();
    assert_eq!(message.channel("t"), Some(Ok(Value::Integer(1))));
    let format = Format::from(PlainText::default()).with_encoding(TextEncoding::named("utf-16"));
    let message = one(&format, b"\xff\xfe2\x001\x00.\x005\x00").unwrap();
    assert_eq!(message.channel("value"), Some(Ok(Value::Float(21.5))));
}

#[test]
fn binary_text_has_an_encoding() {
    let field = |name: &str, offset, kind| BinaryField {
        name: name.to_owned(),
        offset,
        kind,
        endian: Endian::Big,
    };
    let fields = vec![
        field("s", 0, Kind::Text(4)),
        field("n", 4, Kind::Unsigned(1)),
        field("d", 5, Kind::Bcd(1)),
    ];
    let payload = b"k\xfc\0x\x07\xa1";
    let message = one(&Binary { fields: fields.clone(), encoding: None }.into(), payload).unwrap();
    assert_eq!(message.channel("s"), Some(Err(ValueError::NotUtf8)));
    assert_eq!(message.channel("n"), Some(Ok(Value::Integer(7))));
    assert_eq!(message.channel("d"), Some(Err(ValueError::NotDecimal)));
    let encoding = TextEncoding::named("latin-1");
    let message = one(&Binary { fields, encoding }.into(), payload).unwrap();
    assert_eq!(message.channel("s"), Some(Ok(text("kü"))));
}

proptest! {
    #[test]
    fn any_bytes_in_any_encoding_are_read(payload: Vec<u8>, line in "[a-c0-9=:,; ]{0,20}") {
        for name in ["latin-1", "utf-16", "shift_jis", "utf-8"] {
            let pairs = Format::from(KeyValue::default());
            for decoder in [pairs, PlainText::default().into(), Obis.into()] {
                let format = decoder.with_encoding(TextEncoding::named(name));
                for payload in [payload.as_slice(), line.as_bytes()] {
                    if let Err(error) = decode(&format, payload) {
                        prop_assert!(error.to_string().len() < 400, "{error}");
                    }
                }
            }
        }
    }
}
