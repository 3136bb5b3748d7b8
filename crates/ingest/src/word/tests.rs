//! Tests of words, numbers and their notations. What instruments print is named in
//! `tests/data/README.md`.

use proptest::prelude::*;

use super::*;

const COMMA: NumberStyle = NumberStyle { decimal: ',', thousands: None };

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn read(rules: &WordRules, word: &str) -> Result<Value, ValueError> {
    rules.read(rules.numbers.parse_word(word), Some(word))
}

fn declared(word_type: WordType) -> WordRules {
    WordRules { word_type: Some(word_type), ..WordRules::default() }
}

#[test]
fn declared_types_read_the_word() {
    for (word_type, word, expected) in [
        (WordType::Text, "0012", text("0012")),
        (WordType::Text, "1.50", text("1.50")),
        (WordType::Text, "nan", text("nan")),
        (WordType::Text, "true", text("true")),
        (WordType::Number, "1e3", Value::Float(1000.0)),
        (WordType::Number, "04E1", Value::Float(40.0)),
        (WordType::Number, "0012", Value::Integer(12)),
        (WordType::Number, "24.0 °C", Value::Float(24.0)),
        (WordType::Number, "-   12.34", Value::Float(-12.34)),
        (WordType::Hex, "0000E001", Value::Integer(0xe001)),
        (WordType::Hex, "0xA053", Value::Integer(0xa053)),
        (WordType::Hex, "04E1", Value::Integer(0x4e1)),
        (WordType::Hex, "10", Value::Integer(16)),
        (WordType::Hex, "ffffffffffffffff", Value::Float(18_446_744_073_709_551_615.0)),
        (WordType::Boolean, "1", Value::Boolean(true)),
        (WordType::Boolean, "OFF", Value::Boolean(false)),
        (WordType::Boolean, "true", Value::Boolean(true)),
    ] {
        assert_eq!(read(&declared(word_type), word), Ok(expected), "{word_type:?} {word}");
    }
}

#[test]
fn words_of_another_type_are_errors() {
    for (word_type, word) in [
        (WordType::Number, "ERR"),
        (WordType::Number, "12:30"),
        (WordType::Number, "0x12"),
        (WordType::Number, "2026-05-01"),
        (WordType::Number, "21.°"),
        (WordType::Number, ""),
        (WordType::Hex, "E00G"),
        (WordType::Hex, "0x"),
        (WordType::Hex, "+12"),
        (WordType::Hex, "4E303030314E30303031"),
        (WordType::Boolean, "2"),
    ] {
        let error = read(&declared(word_type), word).unwrap_err();
        assert!(matches!(error, ValueError::WrongWord { .. }), "{word_type:?} {word}: {error}");
    }
    assert_eq!(read(&declared(WordType::Number), "nan"), Err(ValueError::NotFinite));
}

#[test]
fn leading_numbers_have_any_rest() {
    let rules = WordRules { is_leading: true, ..declared(WordType::Number) };
    for (word, number) in [
        ("027D", 27.0),
        ("0.1M", 0.1),
        ("24.0\u{fffd}C", 24.0),
        ("-3.5e2V", -350.0),
        ("+  12.34kg", 12.34),
        ("5.0 m3/h", 5.0),
        ("12 of 20", 12.0),
    ] {
        let value = read(&rules, word).ok().map(Some).and_then(number_of);
        assert_eq!(value, Some(number), "{word}");
    }
    for word in ["M0.1", "0x12", "- V", "", ".", "+", "12.5-"] {
        assert!(read(&rules, word).is_err(), "{word}");
    }
}

/// Two numbers with a blank between them are not one number.
#[test]
fn blanks_do_not_join_two_numbers() {
    let rules = WordRules { is_leading: true, ..declared(WordType::Number) };
    for (word, first) in [("21 55", 21.0), ("21.5 40", 21.5), ("0.5 12E1", 0.5), ("12 e 5", 12.0)] {
        let value = read(&rules, word).ok().map(Some).and_then(number_of);
        assert_eq!(value, Some(first), "{word}");
        assert!(read(&declared(WordType::Number), word).is_err(), "{word}");
    }
}

#[test]
fn marks_of_doubtful_numbers_are_no_units() {
    for word in ["5*", "0.00?", "7.1 >", "12.5-", "3 #"] {
        assert!(read(&declared(WordType::Number), word).is_err(), "{word}");
    }
}

#[test]
fn numbers_have_a_decimal_comma_and_thousands() {
    let style = |decimal, thousands| NumberStyle { decimal, thousands: Some(thousands) };
    for (style, word, number) in [
        (COMMA, "21,5", 21.5),
        (COMMA, "+  12,34", 12.34),
        (COMMA, "-0,5", -0.5),
        (COMMA, "7", 7.0),
        (COMMA, "1,5E3", 1500.0),
        (style(',', '.'), "1.234.567,8", 1_234_567.8),
        (style('.', ','), "12,345.6", 12_345.6),
        (style('.', ','), "1,013", 1013.0),
        (style(',', ' '), "1 013,2", 1013.2),
        (style(',', ' '), "1\u{202f}013,2", 1013.2),
        (style('.', '\''), "9’806'650", 9_806_650.0),
    ] {
        assert_eq!(number_of(style.parse_word(word).ok()), Some(number), "{word}");
    }
    for (style, word) in [
        (COMMA, "21.5"),
        (COMMA, "1,2,3"),
        (COMMA, "5,"),
        (style('.', ','), "1,23"),
        (style('.', ','), "1234,567"),
        (style('.', ','), "1,2345"),
        (style('.', ' '), "1 01"),
        (COMMA, "12E4"),
    ] {
        assert_eq!(style.parse_word(word), Ok(text(word)), "{word}");
    }
    assert_eq!(COMMA.parse_word("nan"), Err(ValueError::NotFinite));
    assert_eq!(COMMA.number_with_unit("12,34kg"), Some(Value::Float(12.34)));
    assert_eq!(NumberStyle::default().number_with_unit("12,34kg"), None);
    assert_eq!(NumberStyle::default().number_with_unit("04E1"), None);
}

#[test]
fn none_values_are_words_or_numbers() {
    let none_values =
        NoneValues { words: vec!["---".to_owned(), "9999".to_owned()], numbers: vec![-32768.0] };
    let rules = WordRules { none_values, ..WordRules::default() };
    for none in ["---", " --- ", "9999", "-32768", "-32768.0", "-32768 hPa"] {
        assert_eq!(read(&rules, none), Err(ValueError::NoValue), "{none}");
    }
    for some in ["--", "9999.0", "09999", "32768", "OL"] {
        assert!(read(&rules, some).is_ok(), "{some}");
    }
    assert_eq!(rules.read(Ok(Value::Integer(-32768)), None), Err(ValueError::NoValue));
}

proptest! {
    #[test]
    fn any_word_is_read_or_refused(word: String, comma: bool, thousands: Option<char>) {
        let decimal = if comma { ',' } else { '.' };
        let numbers = NumberStyle { decimal, thousands };
        let bytes = numbers.number_bytes(&word, true);
        prop_assert!(word.is_char_boundary(bytes));
        let types = [WordType::Text, WordType::Number, WordType::Hex, WordType::Boolean];
        for (word_type, is_leading) in types.map(|one| [(one, false), (one, true)]).concat() {
            let none_values = NoneValues { words: vec!["a".to_owned()], numbers: vec![1.0] };
            let word_type = Some(word_type);
            let rules = WordRules { word_type, is_leading, numbers, none_values };
            // Either result is right: no word may cause a panic.
            drop(read(&rules, &word));
        }
    }

    #[test]
    fn written_numbers_are_read_back(number in -1e9..1e9_f64) {
        let word = format!("{number}").replace('.', ",");
        prop_assert_eq!(number_of(COMMA.parse_word(&word).ok()), Some(number));
    }
}
