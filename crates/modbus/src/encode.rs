//! Encodes a text as the bit or the words of a register.

use crate::register::{Kind, Order, Register};
use tidegate_model::ModbusData;
use tidegate_model::excerpt::excerpt;

/// The largest float below which every integer is exact: 2 to the power of 53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The reason that a text cannot be written to a register. The field is an excerpt of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The register is a coil, or another output with two states.
    #[error("\"{0}\" is not a boolean; use true, false, 1 or 0")]
    NotBoolean(String),
    /// The register holds a number.
    #[error("\"{0}\" is not a number")]
    NotNumber(String),
    /// The register holds an integer. The gateway does not round on its own.
    #[error("\"{0}\" is not a whole number; scale or round it in the template")]
    NotWhole(String),
    /// The value is outside of the range of the register.
    #[error("\"{0}\" does not fit into the register")]
    TooLarge(String),
    /// The register is read-only, or a single bit of a word.
    #[error("this register cannot be written")]
    NotWritable,
}

/// Returns the data to write so that `register` holds `text`.
///
/// # Errors
/// If the register cannot hold the text or cannot be written. A retry gives the same error.
pub fn encode(register: &Register, text: &str) -> Result<ModbusData, EncodeError> {
    if !register.is_writable() {
        return Err(EncodeError::NotWritable);
    }
    if register.table.is_bits() {
        return parse_bool(text).map(ModbusData::Coil);
    }
    let number = text.trim();
    let bytes = match register.kind {
        Kind::Unsigned(words) => unsigned(number, words)?,
        Kind::Signed(words) => signed(number, words)?,
        Kind::Float => single(number)?.to_be_bytes().to_vec(),
        Kind::Double => float(number)?.to_be_bytes().to_vec(),
        Kind::Decimal(words) => decimal(number, words)?,
        Kind::Text(words) => padded(text, words)?,
        Kind::Bit(_) => return Err(EncodeError::NotWritable),
    };
    Ok(ModbusData::Words(words(&bytes, register.order)))
}

/// Parses the text for an output with two states: true, false, 1 or 0.
///
/// # Errors
/// If the text is anything else.
pub fn parse_bool(text: &str) -> Result<bool, EncodeError> {
    match text.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(EncodeError::NotBoolean(excerpt(text.as_bytes()))),
    }
}

/// Returns the words for bytes of which the most significant comes first.
fn words(bytes: &[u8], order: Order) -> Vec<u16> {
    let (least_word_first, least_byte_first) = order.reversals();
    let word = |pair: &[u8]| {
        let word = pair.iter().fold(0, |word, byte| word << 8 | u16::from(*byte));
        if least_byte_first { word.swap_bytes() } else { word }
    };
    let words = bytes.chunks(2).map(word);
    if least_word_first { words.rev().collect() } else { words.collect() }
}

fn unsigned(text: &str, words: u16) -> Result<Vec<u8>, EncodeError> {
    let number = whole(text)?;
    let bits = 16 * u32::from(words.clamp(1, 4));
    let fits = (0..1_i128 << bits).contains(&number);
    if fits { Ok(lowest(number, words)) } else { Err(too_large(text)) }
}

fn signed(text: &str, words: u16) -> Result<Vec<u8>, EncodeError> {
    let number = whole(text)?;
    let half = 1_i128 << (16 * u32::from(words.clamp(1, 4)) - 1);
    if (-half..half).contains(&number) { Ok(lowest(number, words)) } else { Err(too_large(text)) }
}

/// Returns the lowest bytes of a number, the most significant first.
fn lowest(number: i128, words: u16) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let unused = bytes.len().saturating_sub(2 * usize::from(words.clamp(1, 4)));
    bytes.into_iter().skip(unused).collect()
}

/// Parses a whole number, also in the form 5.0 or 1e3.
fn whole(text: &str) -> Result<i128, EncodeError> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let number = float(text)?;
    if number.fract() != 0.0 {
        return Err(EncodeError::NotWhole(excerpt(text.as_bytes())));
    }
    if number.abs() > EXACT_MAX {
        return Err(too_large(text));
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
    Ok(number as i128)
}

fn float(text: &str) -> Result<f64, EncodeError> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| EncodeError::NotNumber(excerpt(text.as_bytes())))
}

fn single(text: &str) -> Result<f32, EncodeError> {
    float(text)?;
    let nearest = text.parse().ok().filter(|number: &f32| number.is_finite());
    nearest.ok_or_else(|| too_large(text))
}

/// Encodes four decimal digits in each word.
fn decimal(text: &str, words: u16) -> Result<Vec<u8>, EncodeError> {
    let number = whole(text)?;
    let size = 2 * usize::from(words);
    let mut bytes = Vec::with_capacity(size);
    let mut rest = u64::try_from(number).map_err(|_| too_large(text))?;
    for _ in 0..size {
        let [pair, ..] = (rest % 100 / 10 * 16 + rest % 10).to_le_bytes();
        bytes.push(pair);
        rest /= 100;
    }
    bytes.reverse();
    if rest == 0 { Ok(bytes) } else { Err(too_large(text)) }
}

/// Pads a text with NUL to the size of the register.
fn padded(text: &str, words: u16) -> Result<Vec<u8>, EncodeError> {
    let size = 2 * usize::from(words);
    if text.len() > size {
        return Err(too_large(text));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(size, 0);
    Ok(bytes)
}

fn too_large(text: &str) -> EncodeError {
    EncodeError::TooLarge(excerpt(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Request, ResponseData, Table, decode};

    fn register(kind: Kind, order: Order) -> Register {
        Register { channel: String::new(), table: Table::Holding, address: 7, kind, order }
    }

    fn abcd(kind: Kind, text: &str) -> Result<Vec<u16>, EncodeError> {
        match encode(&register(kind, Order::Abcd), text)? {
            ModbusData::Words(words) => Ok(words),
            ModbusData::Coil(_) => unreachable!("a register is no coil"),
        }
    }

    #[test]
    fn encodes_each_kind_of_number() {
        assert_eq!(abcd(Kind::Unsigned(1), "65535"), Ok(vec![0xffff]));
        assert_eq!(abcd(Kind::Unsigned(4), "18446744073709551615"), Ok(vec![0xffff; 4]));
        assert_eq!(abcd(Kind::Signed(1), "-2"), Ok(vec![0xfffe]));
        assert_eq!(abcd(Kind::Signed(2), "-32768.0"), Ok(vec![0xffff, 0x8000]));
        assert_eq!(abcd(Kind::Float, "21.5"), Ok(vec![0x41ac, 0]));
        assert_eq!(abcd(Kind::Double, "1.5"), Ok(vec![0x3ff8, 0, 0, 0]));
        assert_eq!(abcd(Kind::Decimal(2), "12345678"), Ok(vec![0x1234, 0x5678]));
        assert_eq!(abcd(Kind::Text(3), "ABC"), Ok(vec![0x4142, 0x4300, 0]));
    }

    #[test]
    fn rejects_values_that_do_not_fit() {
        for (kind, text) in [
            (Kind::Unsigned(1), "65536"),
            (Kind::Unsigned(1), "-1"),
            (Kind::Signed(1), "32768"),
            (Kind::Unsigned(4), "1e20"),
            (Kind::Float, "1e39"),
            (Kind::Decimal(1), "10000"),
            (Kind::Decimal(1), "-1"),
            (Kind::Text(1), "ABC"),
        ] {
            assert_eq!(abcd(kind, text), Err(EncodeError::TooLarge(text.to_owned())), "{kind:?}");
        }
        for text in ["", "0x10", "1 2", "true", "NaN", "inf", "1e999", "1;2", "--1"] {
            for kind in [Kind::Unsigned(1), Kind::Float, Kind::Double, Kind::Decimal(1)] {
                assert_eq!(abcd(kind, text), Err(EncodeError::NotNumber(text.to_owned())));
            }
        }
        assert_eq!(abcd(Kind::Signed(1), "1.5"), Err(EncodeError::NotWhole("1.5".to_owned())));
        assert_eq!(abcd(Kind::Bit(1), "1"), Err(EncodeError::NotWritable));
    }

    #[test]
    fn coils_accept_booleans_and_inputs_accept_nothing() {
        let coil = Register { table: Table::Coils, ..register(Kind::Unsigned(1), Order::Abcd) };
        assert_eq!(encode(&coil, "true"), Ok(ModbusData::Coil(true)));
        assert_eq!(encode(&coil, " 0\n"), Ok(ModbusData::Coil(false)));
        for text in ["2", "on", "", "True", "1.0"] {
            assert!(encode(&coil, text).is_err(), "{text}");
        }
        for table in [Table::Input, Table::Discrete] {
            let input = Register { table, ..coil.clone() };
            assert_eq!(encode(&input, "1"), Err(EncodeError::NotWritable));
        }
    }

    proptest! {
        #[test]
        fn decodes_its_own_encoding(number: i32, order in 0..4_u8) {
            let order = match order {
                0 => Order::Abcd,
                1 => Order::Cdab,
                2 => Order::Badc,
                _ => Order::Dcba,
            };
            for kind in [Kind::Signed(2), Kind::Signed(4), Kind::Double] {
                let register = register(kind, order);
                let encoded = encode(&register, &number.to_string());
                let Ok(ModbusData::Words(words)) = encoded else { panic!("{encoded:?}") };
                let count = register.count();
                let table = Table::Holding;
                let request = Request { table, address: 7, count, registers: vec![0] };
                let value = decode(&register, &request, &ResponseData::Words(words)).unwrap();
                prop_assert_eq!(value.as_f64(), Some(f64::from(number)));
            }
        }

        #[test]
        fn encoding_never_panics(text: String, words in 0..70_u16) {
            let kinds = [Kind::Unsigned(words), Kind::Signed(words), Kind::Float, Kind::Double,
                Kind::Decimal(words), Kind::Text(words), Kind::Bit(200)];
            for kind in kinds {
                let _outcome = encode(&register(kind, Order::Dcba), &text);
            }
        }
    }
}
