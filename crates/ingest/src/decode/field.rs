//! The fields of binary messages: numbers, bits and texts.

use crate::frame::Endian;
use tidegate_model::{Value, ValueError};

/// One field of a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryField {
    /// The name of the channel.
    pub name: String,
    /// The index of the first byte.
    pub offset: usize,
    /// The type of the value.
    pub kind: Kind,
    /// The byte order.
    pub endian: Endian,
}

/// The type of a value in a binary message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An unsigned number of 1 to 8 bytes.
    Unsigned(usize),
    /// A number of 1 to 8 bytes in two's complement.
    Signed(usize),
    /// An IEEE 754 number of 4 bytes.
    Float32,
    /// An IEEE 754 number of 8 bytes.
    Float64,
    /// Two decimal digits in each of 1 to 8 bytes. The digit F at the front is a minus sign
    /// (EN 13757-3, annex B, type A).
    Bcd(usize),
    /// Bits of an unsigned number of 1 to 8 bytes. Bit 0 is the lowest.
    Bits {
        /// The size of the number in bytes.
        bytes: usize,
        /// The number of the lowest bit.
        lowest: u32,
        /// The number of bits. One bit is a boolean.
        count: u32,
    },
    /// A UTF-8 text of this many bytes, up to the first NUL.
    Text(usize),
}

/// The reason that bytes are not a valid value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The message is too short.
    #[error("the message ends before the field")]
    Missing,
    /// A digit above 9 in binary-coded decimal.
    #[error("not binary-coded decimal: a half-byte is above 9")]
    NotDecimal,
    /// A text in another encoding.
    #[error("not UTF-8")]
    NotUtf8,
    /// A NaN, an infinity, or a text that is too long.
    #[error(transparent)]
    InvalidValue(#[from] ValueError),
}

impl Kind {
    /// Returns the kind with this name.
    ///
    /// The names are `u8` to `u64` and `i8` to `i64` in steps of 8 bits, `f32`, `f64` and `bool`.
    pub fn named(name: &str) -> Option<Self> {
        let bytes = |bits: &str| {
            let bits: usize = bits.parse().ok().filter(|_| !bits.starts_with('+'))?;
            (bits.is_multiple_of(8) && (8..=64).contains(&bits)).then_some(bits / 8)
        };
        match name {
            "f32" => Some(Self::Float32),
            "f64" => Some(Self::Float64),
            "bool" => Some(Self::Bits { bytes: 1, lowest: 0, count: 1 }),
            _ => match (name.strip_prefix('u'), name.strip_prefix('i')) {
                (Some(bits), _) => bytes(bits).map(Self::Unsigned),
                (None, Some(bits)) => bytes(bits).map(Self::Signed),
                (None, None) => None,
            },
        }
    }

    /// Returns the size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Unsigned(bytes)
            | Self::Signed(bytes)
            | Self::Bcd(bytes)
            | Self::Bits { bytes, .. }
            | Self::Text(bytes) => bytes,
            Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    /// Reads a value from the front of `bytes`.
    ///
    /// An unsigned number above `i64::MAX` becomes a float.
    ///
    /// # Errors
    /// If there are too few bytes, or they are not a valid value.
    pub fn read(self, bytes: &[u8], endian: Endian) -> Result<Value, FieldError> {
        let bytes = bytes.get(..self.bytes()).ok_or(FieldError::Missing)?;
        match self {
            Self::Unsigned(_) => Ok(unsigned_value(unsigned(bytes, endian))),
            Self::Signed(size) => {
                let unused = 64 - 8 * u32::try_from(size.clamp(1, 8)).unwrap_or(8);
                let shifted = (unsigned(bytes, endian) << unused).cast_signed();
                Ok(Value::Integer(shifted >> unused))
            }
            Self::Float32 => {
                let bits =
                    u32::try_from(unsigned(bytes, endian)).map_err(|_| FieldError::Missing)?;
                Ok(Value::float(shortest(f32::from_bits(bits)))?)
            }
            Self::Float64 => Ok(Value::float(f64::from_bits(unsigned(bytes, endian)))?),
            Self::Bcd(size) => signed_decimal(unsigned(bytes, endian), size),
            Self::Bits { lowest, count, .. } => {
                let mask = u64::MAX.checked_shr(64 - count.clamp(1, 64)).unwrap_or(0);
                let bits = unsigned(bytes, endian).checked_shr(lowest).unwrap_or(0) & mask;
                Ok(if count == 1 { Value::Boolean(bits == 1) } else { unsigned_value(bits) })
            }
            Self::Text(_) => {
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                let text = std::str::from_utf8(text).map_err(|_| FieldError::NotUtf8)?;
                Ok(Value::text(text.trim_end())?)
            }
        }
    }
}

fn unsigned(bytes: &[u8], endian: Endian) -> u64 {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match endian {
        Endian::Big => bytes.iter().fold(0, fold),
        Endian::Little => bytes.iter().rev().fold(0, fold),
    }
}

/// Returns an integer or, above `i64::MAX`, a float.
#[expect(clippy::cast_precision_loss, reason = "JSON has no larger whole numbers")]
pub(super) fn unsigned_value(number: u64) -> Value {
    i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer)
}

/// Returns the shortest decimal number for a float: 21.4, not 21.399999618530273.
pub(super) fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

fn signed_decimal(digits: u64, bytes: usize) -> Result<Value, FieldError> {
    let first = 8 * u32::try_from(bytes.clamp(1, 8)).unwrap_or(8) - 4;
    if digits >> first & 0xf != 0xf {
        return decimal(digits);
    }
    Ok(match decimal(digits & !(0xf << first))? {
        Value::Integer(number) => Value::Integer(-number),
        other @ (Value::Float(_) | Value::Boolean(_) | Value::Text(_)) => other,
    })
}

fn decimal(digits: u64) -> Result<Value, FieldError> {
    let mut number = 0_u64;
    for shift in (0..16).rev() {
        let digit = digits >> (4 * shift) & 0xf;
        if digit > 9 {
            return Err(FieldError::NotDecimal);
        }
        number = number * 10 + digit;
    }
    Ok(unsigned_value(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(name: &str, bytes: &[u8], endian: Endian) -> Value {
        Kind::named(name).unwrap().read(bytes, endian).unwrap()
    }

    #[test]
    fn reads_integers_of_1_to_8_bytes() {
        assert_eq!(read("u8", b"\xff", Endian::Big), Value::Integer(255));
        assert_eq!(read("i8", b"\xff", Endian::Big), Value::Integer(-1));
        assert_eq!(read("u16", b"\x01\x02", Endian::Big), Value::Integer(0x0102));
        assert_eq!(read("u16", b"\x01\x02", Endian::Little), Value::Integer(0x0201));
        assert_eq!(read("i24", b"\xff\xff\xfe", Endian::Big), Value::Integer(-2));
        assert_eq!(read("u40", b"\x01\0\0\0\0", Endian::Big), Value::Integer(1 << 32));
        assert_eq!(read("i64", &[0xff; 8], Endian::Big), Value::Integer(-1));
        assert_eq!(
            read("u64", &[0xff; 8], Endian::Big),
            Value::Float(18_446_744_073_709_551_615.0)
        );
        for name in ["u0", "u7", "u72", "u", "i", "u+8", "number", "é"] {
            assert_eq!(Kind::named(name), None, "{name}");
        }
    }

    #[test]
    fn reads_floats_with_the_shortest_digits() {
        assert_eq!(read("f32", b"\x41\xab\x33\x33", Endian::Big), Value::Float(21.4));
        assert_eq!(read("f64", &21.4_f64.to_le_bytes(), Endian::Little), Value::Float(21.4));
        let nan = Kind::Float32.read(b"\x7f\xc0\0\0", Endian::Big);
        assert_eq!(nan, Err(FieldError::InvalidValue(ValueError::NotFinite)));
    }

    #[test]
    fn reads_digits_bits_and_texts() {
        let big = Endian::Big;
        assert_eq!(Kind::Bcd(3).read(b"\x01\x23\x45", big), Ok(Value::Integer(12_345)));
        assert_eq!(Kind::Bcd(1).read(b"\x1a", big), Err(FieldError::NotDecimal));
        let little = Endian::Little;
        assert_eq!(Kind::Bcd(3).read(b"\x02\x00\xf0", little), Ok(Value::Integer(-2)));
        assert_eq!(
            Kind::Bcd(8).read(b"\xf1\0\0\0\0\0\0\x05", big),
            Ok(Value::Integer(-100_000_000_000_005))
        );
        assert_eq!(Kind::Bcd(1).read(b"\xfa", big), Err(FieldError::NotDecimal));
        let bits = |lowest, count| Kind::Bits { bytes: 1, lowest, count }.read(b"\xb4", big);
        assert_eq!(bits(2, 1), Ok(Value::Boolean(true)));
        assert_eq!(bits(4, 3), Ok(Value::Integer(3)));
        assert_eq!(bits(70, 2), Ok(Value::Integer(0)));
        assert_eq!(Kind::Text(4).read(b"ok\0x", big), Ok(Value::Text("ok".to_owned())));
        assert_eq!(Kind::Text(1).read(b"\xff", big), Err(FieldError::NotUtf8));
        assert_eq!(Kind::Text(2).read(b"a", big), Err(FieldError::Missing));
    }

    proptest! {
        #[test]
        fn reads_back_written_numbers(number: i32, float in -1e30..1e30_f32) {
            let little = Endian::Little;
            let integer = Kind::Signed(4).read(&number.to_le_bytes(), little);
            prop_assert_eq!(integer, Ok(Value::Integer(number.into())));
            let read = Kind::Float32.read(&float.to_be_bytes(), Endian::Big);
            let Ok(Value::Float(read)) = read else { panic!("{read:?}") };
            prop_assert_eq!(read.to_string().parse(), Ok(float));
        }
    }
}
