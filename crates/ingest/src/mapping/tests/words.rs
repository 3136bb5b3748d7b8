//! Words as they stand in messages: `written`, declared types, and names for values.

use super::*;
use crate::decode::{Format, Obis, PlainText};
use crate::word::{WordRules, WordType};

/// The telegram of a meter with a status word, a serial number and a count in names.
const TELEGRAM: &str = "/LGZ5\r\nF.F(0000E001)\r\n0.0.0(4E30303031)\r\n96.14.0(0002)\r\n\
    96.7.21(12E4)\r\n1.8.0(000576.230*kWh)\r\n!\r\n";

fn mapping(channel: &str, word_type: Option<WordType>, values: &[(&str, i64)]) -> Mapping {
    let mut mapping = Mapping::of_channel(channel, "a".parse().unwrap());
    let values = values.iter().map(|(word, value)| ((*word).to_owned(), Value::Integer(*value)));
    mapping.conversion.values = values.collect();
    mapping.conversion.words = WordRules { word_type, ..WordRules::default() };
    mapping
}

fn expression(text: &str) -> Mapping {
    let source = Source::Expression(Expression::compile("e", text).unwrap());
    Mapping { source, ..mapping("", None, &[]) }
}

/// Returns the only value of the message, or the reason that it has none.
fn value(format: Format, mapping: Mapping, payload: &str) -> Result<Value, Reason> {
    let mut sensor = sensor("#", vec![mapping]);
    sensor.format = format;
    let output = bench(vec![sensor]).map(&message("a", payload), now());
    if let Some(reason) = output.rejected.keys().next() {
        return Err(*reason);
    }
    let data = output.states.into_iter().next().unwrap().state.data;
    Ok(data.into_values().next().unwrap())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn hexadecimal_words_are_no_numbers() {
    let read = |channel, word_type| value(Obis.into(), mapping(channel, word_type, &[]), TELEGRAM);
    assert_eq!(read("F.F", None), Ok(text("0000E001")));
    assert_eq!(read("F.F", Some(WordType::Hex)), Ok(Value::Integer(0xe001)));
    assert_eq!(read("0.0.0", None), Ok(text("4E30303031")));
    assert_eq!(read("96.7.21", None), Ok(text("12E4")));
    assert_eq!(read("96.7.21", Some(WordType::Number)), Ok(Value::Float(120_000.0)));
    assert_eq!(read("96.14.0", Some(WordType::Text)), Ok(text("0002")));
    assert_eq!(read("96.14.0", None), Ok(Value::Integer(2)));
    assert_eq!(read("1.8.0", Some(WordType::Text)), Ok(text("000576.230")));
    assert_eq!(read("1.8.0", Some(WordType::Boolean)), Err(Reason::Malformed));
}

#[test]
fn values_compare_words() {
    let read = |values: &[(&str, i64)], word: &str| {
        let line = format!("/LGZ5\r\n96.14.0({word})\r\n!\r\n");
        value(Obis.into(), mapping("96.14.0", None, values), &line)
    };
    let both = [("0002", 7), ("2", 8)];
    assert_eq!(read(&both, "0002"), Ok(Value::Integer(7)));
    assert_eq!(read(&both, "2"), Ok(Value::Integer(8)));
    assert_eq!(read(&[("0002", 7)], "2"), Err(Reason::UnknownValue));
    assert_eq!(read(&[("2", 8)], "0002"), Ok(Value::Integer(8)));
    assert_eq!(read(&[("04E1", 9)], "04E1"), Ok(Value::Integer(9)));
    assert_eq!(read(&[("40", 9)], "04E1"), Err(Reason::UnknownValue));
}

#[test]
fn written_is_always_text() {
    let line = "bits=10001001 low=00001001 t=1.50 n=nan on=true s=abc phone=+491701234";
    for (expression_text, expected) in [
        ("written.bits[0] == '1'", Value::Boolean(true)),
        ("written.low[0] == '1'", Value::Boolean(false)),
        ("written.t", text("1.50")),
        ("written.n", text("nan")),
        ("written.on", text("true")),
        ("written.s", text("abc")),
        ("written.phone", text("+491701234")),
        ("written.low | hex_number", Value::Integer(0x1001)),
        ("bits + 1", Value::Integer(10_001_002)),
    ] {
        let read = value(KeyValue::default().into(), expression(expression_text), line);
        assert_eq!(read, Ok(expected), "{expression_text}");
    }
    let read = value(PlainText::default().into(), expression("written.value[2]"), "10001001");
    assert_eq!(read, Ok(text("0")));
}

#[test]
fn written_is_text_in_json_too() {
    let payload = r#"{"n": 1.50, "i": 7, "b": true, "s": "x", "list": [{"e": 1e3}], "none": null}"#;
    let json = |keeps_words| -> Format { Json { keeps_words, ..Json::default() }.into() };
    for (expression_text, expected, without_words) in [
        ("written.n", "1.50", "1.5"),
        ("written.i", "7", "7"),
        ("written.b", "true", "true"),
        ("written.s", "x", "x"),
        ("written.list[0].e", "1e3", "1000.0"),
        ("written.none or '-'", "-", "-"),
    ] {
        let read = value(json(true), expression(expression_text), payload);
        assert_eq!(read, Ok(text(expected)), "{expression_text}");
        let read = value(json(false), expression(expression_text), payload);
        assert_eq!(read, Ok(text(without_words)), "{expression_text}");
    }
    let read =
        |channel, word_type| value(json(true), mapping(channel, Some(word_type), &[]), payload);
    assert_eq!(read("/list/0/e", WordType::Text), Ok(text("1e3")));
    assert_eq!(read("i", WordType::Boolean), Err(Reason::Malformed));
    assert_eq!(read("list", WordType::Text), Err(Reason::NotScalar));
    assert_eq!(read("none", WordType::Text), Err(Reason::NoValue));
    let mut list = Json { array_pointer: Some("/list".to_owned()), keeps_words: true };
    let read = value(list.clone().into(), expression("written.e"), payload);
    assert_eq!(read, Ok(text("1e3")));
    list.keeps_words = false;
    assert_eq!(value(list.into(), expression("e"), payload), Ok(Value::Float(1000.0)));
}

#[test]
fn undeclared_hexadecimal_words_are_not_converted() {
    let mut scaled = mapping("F.F", None, &[]);
    scaled.conversion.scale = 0.1;
    assert_eq!(value(Obis.into(), scaled.clone(), TELEGRAM), Err(Reason::Malformed));
    scaled.conversion.words.word_type = Some(WordType::Hex);
    assert_eq!(value(Obis.into(), scaled, TELEGRAM), Ok(Value::Float(5734.5)));
}
