//! Lines as instruments print them: units, empty values, words among pairs, commas, sentinels. The
//! sources are in `tests/data/README.md`.

use super::*;
use crate::word::NoneValues;

/// Returns the value of a channel in a line of pairs.
fn pair(numbers: NumberStyle, line: &str, name: &str) -> Option<Result<Value, ValueError>> {
    one(&KeyValue { numbers }.into(), line.as_bytes()).unwrap().channel(name)
}

fn style(decimal: char, thousands: Option<char>) -> NumberStyle {
    NumberStyle { decimal, thousands }
}

#[test]
fn pairs_have_units_and_other_words_behind_them() {
    for (line, name, value) in [
        ("T=21.5 C,H=55 %", "T", Value::Float(21.5)),
        ("T=21.5 C,H=55 %", "H", Value::Integer(55)),
        ("T: 21.5 C H: 55 %", "H", Value::Integer(55)),
        ("T: 21.5 deg C, H: 55 %rH", "T", Value::Float(21.5)),
        ("0R1,Dm=027D,Sm=0.1M", "Dm", text("027D")),
        ("0R1,Dm=027D,Sm=0.1M", "Sm", text("0.1M")),
        ("OK t=21.5", "t", Value::Float(21.5)),
        ("t=21.5 h", "t", Value::Float(21.5)),
        ("t=1,ok,h=2", "h", Value::Integer(2)),
        ("t=21.5 40,h=2", "t", Value::Float(21.5)),
        ("w=+  12.34kg", "w", text("+  12.34kg")),
        ("w=-   12.34 kg", "w", Value::Float(-12.34)),
        ("mac: a4:c1:38:00:00:01 t: 2", "mac", text("a4:c1:38:00:00:01")),
        ("a=\"b\" c d=1", "d", Value::Integer(1)),
    ] {
        assert_eq!(pair(NumberStyle::default(), line, name), Some(Ok(value)), "{line}");
    }
}

#[test]
fn empty_value_costs_itself() {
    let read = |line, name| pair(NumberStyle::default(), line, name);
    for (line, empty, other) in [
        ("T=,H=55", "T", "H"),
        ("T=;H=55", "T", "H"),
        ("T= H=55", "T", "H"),
        ("T: H:55", "T", "H"),
        ("T:\r\nH:55", "T", "H"),
        ("H=55 T=", "T", "H"),
        ("H=55,T=,", "T", "H"),
    ] {
        assert_eq!(read(line, empty), Some(Err(ValueError::NoValue)), "{line}");
        assert_eq!(read(line, other), Some(Ok(Value::Integer(55))), "{line}");
    }
}

#[test]
fn value_of_several_words_costs_itself() {
    let read = |line, name| pair(NumberStyle::default(), line, name);
    for line in [
        "a=not ready,h=55",
        "a=21,5,h=55",
        "a=21,5 h=55",
        "a=1 013.2 hPa,h=55",
        "a: heat pump, h: 55",
        "a: 21,5 h:55",
    ] {
        assert_eq!(read(line, "a"), Some(Err(ValueError::Unclear)), "{line}");
        assert_eq!(read(line, "h"), Some(Ok(Value::Integer(55))), "{line}");
    }
}

#[test]
fn decimal_comma_separates_no_pairs() {
    let comma = style(',', None);
    for (numbers, line, name, value) in [
        (comma, "t=21,5,h=40,25", "t", Value::Float(21.5)),
        (comma, "t=21,5,h=40,25", "h", Value::Float(40.25)),
        (comma, "t=21,h=40", "t", Value::Integer(21)),
        (comma, "t: 21,5 °C, h: 40 %", "t", Value::Float(21.5)),
        (comma, "t=+  12,34", "t", Value::Float(12.34)),
        (comma, "v=1.2", "v", text("1.2")),
        (style(',', Some(' ')), "p=1 013,2 hPa h=5", "p", Value::Float(1013.2)),
        (style('.', Some(',')), "p=12,345.6,h=5", "p", Value::Float(12_345.6)),
        (style('.', Some(',')), "p=12,h=5", "p", Value::Integer(12)),
    ] {
        assert_eq!(pair(numbers, line, name), Some(Ok(value)), "{line}");
    }
}

#[test]
fn decimal_comma_works_in_every_text_format() {
    let numbers = style(',', None);
    let columns = vec!["a".to_owned(), "b".to_owned()];
    let csv = Csv { columns, delimiter: b';', numbers, ..Csv::default() };
    let message = one(&csv.into(), b"21,5;1.2").unwrap();
    assert_eq!(message.channel("a"), Some(Ok(Value::Float(21.5))));
    assert_eq!(message.channel("b"), Some(Ok(text("1.2"))));
    let regex = compile_pattern("(?<a>[-+] *[0-9,]+)kg").unwrap();
    let message = one(&Pattern { regex, numbers }.into(), b"ST,GS,+  12,34kg").unwrap();
    assert_eq!(message.channel("a"), Some(Ok(Value::Float(12.34))));
    let message = one(&PlainText { numbers }.into(), b"-0,5\r\n").unwrap();
    assert_eq!(message.channel("value"), Some(Ok(Value::Float(-0.5))));
    assert_eq!(message.written("value").as_deref(), Some("-0,5"));
}

#[test]
fn none_values_have_no_value_in_any_format() {
    let words = ["---", "OL", "9999"].map(str::to_owned).to_vec();
    let none_values = NoneValues { words, numbers: vec![-32768.0] };
    let format =
        |format: Format| format.with_none_values(none_values.clone(), NumberStyle::default());
    let message =
        one(&format(KeyValue::default().into()), b"a=---,b=OL,c=9999,d=-32768,e=9998,f=--- C");
    let message = message.unwrap();
    for name in ["a", "b", "c", "d", "f"] {
        assert_eq!(message.channel(name), Some(Err(ValueError::NoValue)), "{name}");
    }
    assert_eq!(message.channel("e"), Some(Ok(Value::Integer(9998))));
    assert_eq!(message.written("a").as_deref(), Some("---"));
    let message = one(&format(json()), br#"{"a": "OL", "b": [9999, -32768, 7], "c": "x"}"#);
    let message = message.unwrap();
    for name in ["a", "/b/0", "/b/1"] {
        assert!(message.is_null(name), "{name}");
    }
    assert_eq!(message.channel("/b/2"), Some(Ok(Value::Integer(7))));
    let field =
        BinaryField { name: "a".to_owned(), offset: 0, kind: Kind::Signed(2), endian: Endian::Big };
    let message =
        one(&format(Binary { fields: vec![field], encoding: None }.into()), &[0x80, 0]).unwrap();
    assert_eq!(message.channel("a"), Some(Err(ValueError::NoValue)));
}

#[test]
fn number_that_json_lacks_costs_its_member() {
    let text = br#"{"a": NaN, "b": -Infinity, "c": [nan, 7], "d": "NaN", "e": 1e999, "f": 21.5}"#;
    let message = one(&json(), text).unwrap();
    for name in ["a", "b", "/c/0", "e"] {
        assert_eq!(message.channel(name), Some(Err(ValueError::NotFinite)), "{name}");
    }
    assert_eq!(message.channel("/c/1"), Some(Ok(Value::Integer(7))));
    assert_eq!(message.channel("d"), Some(Ok(super::text("NaN"))));
    assert_eq!(message.channel("f"), Some(Ok(Value::Float(21.5))));
}

#[test]
fn hex_message_in_a_block_costs_nothing() {
    let block = b"V\t12800\r\n:A0102000543\r\nI\t-15\r\n";
    let message = one(&KeyValue::default().into(), block).unwrap();
    assert_eq!(message.channel("V"), Some(Ok(Value::Integer(12_800))));
    assert_eq!(message.channel("I"), Some(Ok(Value::Integer(-15))));
    assert_eq!(message.names(), ["I", "V"]);
}
