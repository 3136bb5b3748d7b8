//! Decoders: no payload panics in any format, and what is said about a bad one stays short.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::logic::decode::{Csv, Field, Format, Kind, compile_pattern, decode};
use tidegate::logic::frame::Endian;

fn format(choice: u8) -> Format {
    let csv = |header| Format::Csv(Csv { columns: Vec::new(), header, delimiter: b';' });
    let field = |kind| Field { name: "a".to_owned(), offset: 2, kind, endian: Endian::Little };
    match choice % 9 {
        0 => Format::KeyValue,
        1 => csv(false),
        2 => csv(true),
        3 => Format::Json { each: None },
        4 => Format::Json { each: Some("/a".to_owned()) },
        5 => Format::Regex(compile_pattern(r"(?<a>\w+)[=: ]+(?<b>[-\d.]+)").unwrap()),
        6 => Format::Binary([Kind::Float32, Kind::Bcd(8), Kind::Text(9), Kind::Signed(3)].map(field).to_vec()),
        7 => Format::Nmea,
        _ => Format::Obis,
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, payload @ ..] = input else { return };
    match decode(&format(*choice), payload) {
        Ok(messages) => {
            for message in &messages {
                for name in message.names() {
                    message.channel(name);
                }
            }
        }
        Err(error) => assert!(error.to_string().len() < 400, "{error}"),
    }
});
