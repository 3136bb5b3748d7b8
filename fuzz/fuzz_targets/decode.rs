//! Decoders: no payload causes a panic in any format, and the error texts stay short.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ingest::decode::{
    Binary, BinaryField, Births, Csv, Format, Json, KeyValue, Kind, Nmea, Obis, OneWire, Pattern,
    PlainText, Ruuvi, Sml, Sparkplug, compile_pattern,
};
use tidegate_ingest::frame::Endian;
use tidegate_ingest::text_encoding::TextEncoding;
use tidegate_ingest::word::{NoneValues, NumberStyle};

/// Pairs with a decimal comma, thousands, and words for no value.
fn decimal_comma() -> Format {
    let numbers = NumberStyle { decimal: ',', thousands: Some(' ') };
    let none_values = NoneValues { words: vec!["---".to_owned()], numbers: vec![-1.0] };
    Format::from(KeyValue { numbers }).with_none_values(none_values, numbers)
}

fn format(choice: u8) -> Format {
    let csv = |has_header| Csv { has_header, delimiter: b';', ..Csv::default() }.into();
    let field =
        |kind| BinaryField { name: "a".to_owned(), offset: 2, kind, endian: Endian::Little };
    let fields = [Kind::Float32, Kind::Bcd(8), Kind::Text(9), Kind::Signed(3)].map(field).to_vec();
    match choice % 16 {
        0 => KeyValue::default().into(),
        1 => csv(false),
        2 => csv(true),
        3 => Json::default().into(),
        4 => Json { array_pointer: Some("/a".to_owned()), ..Json::default() }.into(),
        5 => Pattern::from(compile_pattern(r"(?<a>\w+)[=: ]+(?<b>[-\d.]+)").unwrap()).into(),
        6 => Binary { fields, encoding: None }.into(),
        7 => Nmea::default().into(),
        8 => Obis.into(),
        9 => Ruuvi.into(),
        10 => OneWire.into(),
        11 => Sml.into(),
        12 => decimal_comma(),
        13 => Format::from(PlainText::default()).with_encoding(TextEncoding::named("shift_jis")),
        14 => PlainText::default().into(),
        _ => Sparkplug { rebirth: true }.into(),
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, payload @ ..] = input else { return };
    // Data with the metrics of a birth.
    let mut births = Births::default();
    let (birth, data) = payload.split_at(payload.len() / 2);
    let topic = |kind| format!("spBv1.0/a/{kind}/b");
    let sparkplug = Format::from(Sparkplug { rebirth: true });
    sparkplug.decode(&topic("NBIRTH"), birth, &mut births).ok();
    sparkplug.decode(&topic("NDATA"), data, &mut births).ok();
    match format(*choice).decode(&topic("NBIRTH"), payload, &mut births) {
        Ok(messages) => {
            for message in &messages {
                let names = message.names();
                assert!(message.original_texts().keys().all(|name| names.contains(&name.as_str())));
                for name in names {
                    message.channel(name);
                    message.is_null(name);
                }
            }
        }
        Err(error) => assert!(error.to_string().len() < 400, "{error}"),
    }
});
