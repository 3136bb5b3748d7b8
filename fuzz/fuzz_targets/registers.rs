//! Registers: no words panic, whatever is read from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::logic::decode::{Kind, WordOrder, read_registers};

fuzz_target!(|input: (u8, u8, u8, Vec<u16>)| {
    let (choice, size, lowest, words) = input;
    let bytes = usize::from(size % 8) + 1;
    let kind = match choice % 7 {
        0 => Kind::Unsigned(bytes),
        1 => Kind::Signed(bytes),
        2 => Kind::Float32,
        3 => Kind::Float64,
        4 => Kind::Bcd(bytes),
        5 => Kind::Bits { bytes, lowest: lowest.into(), count: size.into() },
        _ => Kind::Text(size.into()),
    };
    for name in ["abcd", "cdab", "badc", "dcba"] {
        let Some(order) = WordOrder::named(name) else { continue };
        drop(read_registers(&words, kind, order));
    }
});
