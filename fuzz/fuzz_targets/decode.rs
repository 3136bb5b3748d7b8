//! Decoders: no payload causes a panic in any format, and error messages stay short.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ingest::decode::{Births, Csv, Field, Format, Kind, compile_pattern, decode_on};
use tidegate_ingest::frame::Endian;

fn format(choice: u8) -> Format {
    let csv = |header| Format::Csv(Csv { columns: Vec::new(), header, delimiter: b';' });
    let field = |kind| Field { name: "a".to_owned(), offset: 2, kind, endian: Endian::Little };
    match choice % 13 {
        0 => Format::KeyValue,
        1 => csv(false),
        2 => csv(true),
        3 => Format::Json { array_pointer: None },
        4 => Format::Json { array_pointer: Some("/a".to_owned()) },
        5 => Format::Regex(compile_pattern(r"(?<a>\w+)[=: ]+(?<b>[-\d.]+)").unwrap()),
        6 => Format::Binary(
            [Kind::Float32, Kind::Bcd(8), Kind::Text(9), Kind::Signed(3)].map(field).to_vec(),
        ),
        7 => Format::Nmea,
        8 => Format::Obis,
        9 => Format::Ruuvi,
        10 => Format::OneWire,
        11 => Format::Text,
        _ => Format::Sparkplug { rebirth: true },
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, payload @ ..] = input else { return };
    // The first half is a birth, and the second half data that uses its aliases.
    let mut births = Births::default();
    let (birth, data) = payload.split_at(payload.len() / 2);
    let topic = |kind| format!("spBv1.0/a/{kind}/b");
    decode_on(&topic("NBIRTH"), &Format::Sparkplug { rebirth: true }, birth, &mut births).ok();
    decode_on(&topic("NDATA"), &Format::Sparkplug { rebirth: true }, data, &mut births).ok();
    match decode_on(&topic("NBIRTH"), &format(*choice), payload, &mut births) {
        Ok(messages) => {
            for message in &messages {
                let names = message.names();
                assert!(message.words().keys().all(|name| names.contains(&name.as_str())));
                for name in names {
                    message.channel(name);
                    message.is_null(name);
                }
            }
        }
        Err(error) => assert!(error.to_string().len() < 400, "{error}"),
    }
});
