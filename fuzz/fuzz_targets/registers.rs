//! Registers: no answer panics, whatever is read from it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_modbus::{Kind, Order, Register, Request, ResponseData, Table, decode};

fuzz_target!(|input: (u8, u16, u16, Vec<u16>)| {
    let (choice, size, address, words) = input;
    let kind = match choice % 7 {
        0 => Kind::Unsigned(size),
        1 => Kind::Signed(size),
        2 => Kind::Float,
        3 => Kind::Double,
        4 => Kind::Decimal(size),
        5 => Kind::Bit(choice),
        _ => Kind::Text(size),
    };
    let (table, answer) = (Table::Holding, ResponseData::Words(words));
    let request = Request { table, address: 3, count: size, registers: Vec::new() };
    for order in [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba] {
        let channel = String::new();
        drop(decode(&Register { channel, table, address, kind, order }, &request, &answer));
    }
});
