//! Modbus registers: words of 16 bits whose order in a longer number every maker chooses.

use super::number::{Kind, NumberError};
use crate::logic::frame::Endian;
use crate::model::Value;

/// In which order a number of several registers is sent. The names write its bytes, A being the most significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordOrder {
    /// ABCD: as Modbus itself has it.
    Abcd,
    /// CDAB: the least significant register first.
    Cdab,
    /// BADC: the bytes of each register swapped.
    Badc,
    /// DCBA: both.
    Dcba,
}

impl WordOrder {
    /// The order of this name: `abcd`, `cdab`, `badc` or `dcba`, in either case.
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "abcd" => Some(Self::Abcd),
            "cdab" => Some(Self::Cdab),
            "badc" => Some(Self::Badc),
            "dcba" => Some(Self::Dcba),
            _ => None,
        }
    }

    /// The bytes of these registers with the most significant one first.
    fn bytes(self, words: &[u16]) -> Vec<u8> {
        let (swap_words, swap_bytes) = match self {
            Self::Abcd => (false, false),
            Self::Cdab => (true, false),
            Self::Badc => (false, true),
            Self::Dcba => (true, true),
        };
        let byte_pair =
            |word: &u16| if swap_bytes { word.to_le_bytes() } else { word.to_be_bytes() };
        if swap_words {
            words.iter().rev().flat_map(byte_pair).collect()
        } else {
            words.iter().flat_map(byte_pair).collect()
        }
    }
}

/// How many registers a value of this kind takes.
pub fn registers_of(kind: Kind) -> usize {
    kind.bytes().div_ceil(2)
}

/// The value that begins `words`; the rest is left alone. A number of one byte is the lower half of its register, and a
/// bit is counted from the lowest of its registers.
///
/// # Errors
/// When the registers are too few, or no value of this kind.
pub fn read_registers(words: &[u16], kind: Kind, order: WordOrder) -> Result<Value, NumberError> {
    let words = words.get(..registers_of(kind)).ok_or(NumberError::Missing)?;
    // The characters of a text stand in the order of the registers, whatever the order of numbers.
    let order = match (kind, order) {
        (Kind::Text(_), WordOrder::Cdab) => WordOrder::Abcd,
        (Kind::Text(_), WordOrder::Dcba) => WordOrder::Badc,
        (_, order) => order,
    };
    let bytes = order.bytes(words);
    let unused = if matches!(kind, Kind::Text(_)) { 0 } else { bytes.len() - kind.bytes() };
    kind.read(bytes.get(unused..).unwrap_or_default(), Endian::Big)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_bytes_and_words_is_read() {
        for (words, order) in [
            ([0x41ab, 0x3333], "abcd"),
            ([0x3333, 0x41ab], "cdab"),
            ([0xab41, 0x3333], "BADC"),
            ([0x3333, 0xab41], "dcba"),
        ] {
            let order = WordOrder::named(order).unwrap();
            assert_eq!(read_registers(&words, Kind::Float32, order), Ok(Value::Float(21.4)));
        }
        assert_eq!(WordOrder::named("abdc"), None);
    }

    #[test]
    fn integers_bits_digits_and_texts_are_read() {
        let read = |words: &[u16], kind| read_registers(words, kind, WordOrder::Cdab);
        assert_eq!(read(&[0xfffe], Kind::Signed(2)), Ok(Value::Integer(-2)));
        assert_eq!(read(&[0x12ff], Kind::Unsigned(1)), Ok(Value::Integer(255)));
        assert_eq!(read(&[1, 0, 0, 0, 9], Kind::Unsigned(8)), Ok(Value::Integer(1)));
        assert_eq!(
            read(&[0x0120], Kind::Bits { bytes: 2, lowest: 8, count: 1 }),
            Ok(Value::Boolean(true))
        );
        assert_eq!(read(&[0x5678, 0x1234], Kind::Bcd(4)), Ok(Value::Integer(12_345_678)));
        assert_eq!(read(&[0x4f4b, 0x2100], Kind::Text(4)), Ok(Value::Text("OK!".to_owned())));
        assert_eq!(read(&[0x4f4b, 0x2100], Kind::Text(3)), Ok(Value::Text("OK!".to_owned())));
        assert_eq!(read(&[1], Kind::Float32), Err(NumberError::Missing));
    }
}
