//! Decodes the bits and words of a response.

use serde_json::{Number, Value};

use crate::plan::Request;
use crate::register::{Kind, Order, Register};

/// The data of a read response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseData {
    /// From coils or discrete inputs.
    Bits(Vec<bool>),
    /// From holding or input registers.
    Words(Vec<u16>),
}

/// Decodes the value of one register of a request.
///
/// `None` if the response is shorter than the request. `null` for a float that is not finite, and
/// for a decimal with a digit above 9.
pub fn decode(register: &Register, request: &Request, response: &ResponseData) -> Option<Value> {
    let start = usize::from(register.address.checked_sub(request.address)?);
    match response {
        ResponseData::Bits(bits) => bits.get(start).copied().map(Value::from),
        ResponseData::Words(words) => {
            let words = words.get(start..start + usize::from(register.count()))?;
            Some(value(register.kind, &bytes(words, register.order)))
        }
    }
}

/// Returns the bytes of the words, the most significant first.
fn bytes(words: &[u16], order: Order) -> Vec<u8> {
    let (least_word_first, least_byte_first) = order.reversals();
    let split = |word: &u16| if least_byte_first { word.to_le_bytes() } else { word.to_be_bytes() };
    if least_word_first {
        words.iter().rev().flat_map(split).collect()
    } else {
        words.iter().flat_map(split).collect()
    }
}

fn value(kind: Kind, bytes: &[u8]) -> Value {
    let unsigned = bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    match kind {
        Kind::Unsigned(_) => unsigned.into(),
        Kind::Signed(words) => {
            let unused = 64 - 16 * u32::from(words.clamp(1, 4));
            ((unsigned << unused).cast_signed() >> unused).into()
        }
        Kind::Float => {
            u32::try_from(unsigned).map_or(Value::Null, |bits| float(f32::from_bits(bits)))
        }
        Kind::Double => {
            Number::from_f64(f64::from_bits(unsigned)).map_or(Value::Null, Value::Number)
        }
        Kind::Decimal(_) => decimal(bytes),
        Kind::Text(_) => {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(text).trim_end().into()
        }
        Kind::Bit(bit) => (unsigned >> bit.min(15) & 1 == 1).into(),
    }
}

/// Returns the shortest decimal number for the float: 0.1, not 0.10000000149.
fn float(number: f32) -> Value {
    let exact = number.to_string().parse().ok();
    exact.and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

fn decimal(bytes: &[u8]) -> Value {
    let mut digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let sum = digits.try_fold(0_u64, |sum: u64, digit| {
        let tens = sum.checked_mul(10).filter(|_| digit <= 9)?;
        tens.checked_add(digit.into())
    });
    sum.map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Table;

    fn decode_words(kind: Kind, order: Order, words: &[u16]) -> Value {
        let table = Table::Holding;
        let register = Register { channel: String::new(), table, address: 7, kind, order };
        let request = Request { table, address: 6, count: 9, registers: vec![0] };
        let words = [&[0xffff], words].concat();
        decode(&register, &request, &ResponseData::Words(words)).unwrap()
    }

    #[test]
    fn decodes_each_byte_order() {
        for (order, words) in [
            (Order::Abcd, [0x1234, 0x5678]),
            (Order::Cdab, [0x5678, 0x1234]),
            (Order::Badc, [0x3412, 0x7856]),
            (Order::Dcba, [0x7856, 0x3412]),
        ] {
            assert_eq!(
                decode_words(Kind::Unsigned(2), order, &words),
                json!(0x1234_5678),
                "{order:?}"
            );
        }
    }

    #[test]
    fn decodes_each_kind() {
        let abcd = |kind, words: &[u16]| decode_words(kind, Order::Abcd, words);
        assert_eq!(abcd(Kind::Signed(1), &[0xffff]), json!(-1));
        assert_eq!(abcd(Kind::Signed(2), &[0x8000, 0]), json!(i32::MIN));
        assert_eq!(abcd(Kind::Unsigned(4), &[0xffff; 4]), json!(u64::MAX));
        assert_eq!(abcd(Kind::Signed(4), &[0xffff; 4]), json!(-1));
        // 0.1 and 123456.0 in IEEE 754.
        assert_eq!(abcd(Kind::Float, &[0x3dcc, 0xcccd]), json!(0.1));
        assert_eq!(abcd(Kind::Float, &[0x47f1, 0x2000]), json!(123_456.0));
        assert_eq!(abcd(Kind::Double, &[0x3ff8, 0, 0, 0]), json!(1.5));
        assert_eq!(abcd(Kind::Float, &[0x7fc0, 0]), Value::Null);
        assert_eq!(abcd(Kind::Decimal(2), &[0x1234, 0x5678]), json!(12_345_678));
        assert_eq!(abcd(Kind::Decimal(1), &[0x12a4]), Value::Null);
        // More digits than 64 bits hold; found by fuzzing.
        assert_eq!(abcd(Kind::Decimal(8), &[0x9999; 8]), Value::Null);
        assert_eq!(abcd(Kind::Text(3), &[0x4142, 0x4300, 0x4545]), json!("ABC"));
        assert_eq!(abcd(Kind::Bit(3), &[0b1000]), json!(true));
        assert_eq!(abcd(Kind::Bit(0), &[0b1000]), json!(false));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(
            words in prop::collection::vec(any::<u16>(), 0..20), count in 0..12_u16, address: u16,
        ) {
            let kinds = [Kind::Unsigned(count), Kind::Signed(count), Kind::Float, Kind::Double,
                Kind::Decimal(count), Kind::Text(count), Kind::Bit(200)];
            for kind in kinds {
                let register = Register {
                    channel: String::new(), table: Table::Input, address, kind, order: Order::Dcba,
                };
                let table = Table::Input;
                let request = Request { table, address: 3, count, registers: vec![0] };
                let _value = decode(&register, &request, &ResponseData::Words(words.clone()));
                let _none = decode(&register, &request, &ResponseData::Bits(vec![true]));
            }
        }
    }
}
