//! Numbers, bits and texts at a place in bytes: of binary messages.

use crate::frame::Endian;
use tidegate_model::{Value, ValueError};

/// What some bytes mean.
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
    /// Two decimal digits in each of 1 to 8 bytes.
    Bcd(usize),
    /// Some bits of an unsigned number of 1 to 8 bytes, the lowest being bit 0.
    Bits {
        /// The bytes of the number.
        bytes: usize,
        /// The lowest of the bits.
        lowest: u32,
        /// How many bits. One bit is a boolean.
        count: u32,
    },
    /// A text of so many bytes, in UTF-8, that a NUL ends early.
    Text(usize),
}

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Fewer bytes than the number takes.
    #[error("the message ends before it")]
    Missing,
    /// A digit above 9 in binary-coded decimal.
    #[error("a half-byte is above 9, so it is no binary-coded decimal")]
    NotDecimal,
    /// A text in another encoding.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// A NaN, an infinity, or a text that is too long.
    #[error(transparent)]
    NoValue(#[from] ValueError),
}

impl Kind {
    /// The kind of this name: `u8` to `u64` and `i8` to `i64` in steps of 8 bits, `f32`, `f64`, `bool`.
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

    /// How many bytes it takes.
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

    /// Reads the value that begins `bytes`. What is behind it is left alone. An unsigned number above `i64::MAX` becomes
    /// a float.
    ///
    /// # Errors
    /// When the bytes are too few, or no value of this kind.
    pub fn read(self, bytes: &[u8], endian: Endian) -> Result<Value, NumberError> {
        let bytes = bytes.get(..self.bytes()).ok_or(NumberError::Missing)?;
        match self {
            Self::Unsigned(_) => Ok(unsigned_value(unsigned(bytes, endian))),
            Self::Signed(size) => {
                let unused = 64 - 8 * u32::try_from(size.clamp(1, 8)).unwrap_or(8);
                let shifted = (unsigned(bytes, endian) << unused).cast_signed();
                Ok(Value::Integer(shifted >> unused))
            }
            Self::Float32 => {
                let bits =
                    u32::try_from(unsigned(bytes, endian)).map_err(|_| NumberError::Missing)?;
                Ok(Value::float(shortest(f32::from_bits(bits)))?)
            }
            Self::Float64 => Ok(Value::float(f64::from_bits(unsigned(bytes, endian)))?),
            Self::Bcd(_) => decimal(unsigned(bytes, endian)),
            Self::Bits { lowest, count, .. } => {
                let mask = u64::MAX.checked_shr(64 - count.clamp(1, 64)).unwrap_or(0);
                let bits = unsigned(bytes, endian).checked_shr(lowest).unwrap_or(0) & mask;
                Ok(if count == 1 { Value::Boolean(bits == 1) } else { unsigned_value(bits) })
            }
            Self::Text(_) => {
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                let text = std::str::from_utf8(text).map_err(|_| NumberError::NotUtf8)?;
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

#[expect(clippy::cast_precision_loss, reason = "JSON has no larger whole numbers")]
pub(super) fn unsigned_value(number: u64) -> Value {
    i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer)
}

/// The number that a person would write for it: 21.4, not 21.399999618530273.
pub(super) fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

fn decimal(digits: u64) -> Result<Value, NumberError> {
    let mut number = 0_u64;
    for shift in (0..16).rev() {
        let digit = digits >> (4 * shift) & 0xf;
        if digit > 9 {
            return Err(NumberError::NotDecimal);
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
    fn integers_have_one_to_eight_bytes_of_either_order() {
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
    fn floats_read_as_a_person_would_write_them() {
        assert_eq!(read("f32", b"\x41\xab\x33\x33", Endian::Big), Value::Float(21.4));
        assert_eq!(read("f64", &21.4_f64.to_le_bytes(), Endian::Little), Value::Float(21.4));
        let nan = Kind::Float32.read(b"\x7f\xc0\0\0", Endian::Big);
        assert_eq!(nan, Err(NumberError::NoValue(ValueError::NotFinite)));
    }

    #[test]
    fn digits_bits_and_texts_are_read() {
        let big = Endian::Big;
        assert_eq!(Kind::Bcd(3).read(b"\x01\x23\x45", big), Ok(Value::Integer(12_345)));
        assert_eq!(Kind::Bcd(1).read(b"\x1a", big), Err(NumberError::NotDecimal));
        let bits = |lowest, count| Kind::Bits { bytes: 1, lowest, count }.read(b"\xb4", big);
        assert_eq!(bits(2, 1), Ok(Value::Boolean(true)));
        assert_eq!(bits(4, 3), Ok(Value::Integer(3)));
        assert_eq!(bits(70, 2), Ok(Value::Integer(0)));
        assert_eq!(Kind::Text(4).read(b"ok\0x", big), Ok(Value::Text("ok".to_owned())));
        assert_eq!(Kind::Text(1).read(b"\xff", big), Err(NumberError::NotUtf8));
        assert_eq!(Kind::Text(2).read(b"a", big), Err(NumberError::Missing));
    }

    proptest! {
        #[test]
        fn a_written_number_reads_back(number: i32, float in -1e30..1e30_f32) {
            let little = Endian::Little;
            let integer = Kind::Signed(4).read(&number.to_le_bytes(), little);
            prop_assert_eq!(integer, Ok(Value::Integer(number.into())));
            let read = Kind::Float32.read(&float.to_be_bytes(), Endian::Big);
            let Ok(Value::Float(read)) = read else { panic!("{read:?}") };
            prop_assert_eq!(read.to_string().parse(), Ok(float));
        }
    }
}
