//! Filters for what devices want on a wire: hexadecimal digits, checksums, scaled numbers.
//!
//! Where bytes are wanted, a text stands for its UTF-8 and a list for the numbers in it, 0 to 255 each.

use crc::{CRC_16_MODBUS, Crc};
use minijinja::{Environment, Error, ErrorKind, Value};

/// The checksum of Modbus RTU.
const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// The most digits that `hex` writes of a number.
const DIGITS_MAX: usize = 16;

/// Makes the filters known.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("hex", hex);
    environment.add_filter("bytes", bytes);
    environment.add_filter("crc16", crc16);
    environment.add_filter("xor8", xor8);
    environment.add_filter("sum8", sum8);
    environment.add_filter("scale", scale);
}

/// `258 | hex(4)` is `0102`; without a width as many pairs of digits as are needed. Of a text or a list: of its bytes.
fn hex(value: &Value, width: Option<usize>) -> Result<String, Error> {
    let Some(number) = whole(value) else {
        let digits = to_bytes(value)?.into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
        return Ok(digits.map(|digit| digit.to_ascii_uppercase()).collect());
    };
    let number = u64::try_from(number).map_err(|_| refused("hex takes no negative number"))?;
    let text = format!("{number:02X}");
    let width = width.unwrap_or(text.len().next_multiple_of(2));
    if width > DIGITS_MAX || text.trim_start_matches('0').len() > width {
        return Err(refused("the number does not fit into so many hexadecimal digits"));
    }
    Ok(format!("{number:0width$X}"))
}

/// `"0A10" | bytes` is the list `[10, 16]`.
fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [_, _] => std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()),
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or_else(|| refused("bytes takes pairs of hexadecimal digits"))
}

/// The checksum of Modbus RTU, as four hexadecimal digits, the low byte first as on the wire.
fn crc16(value: &Value) -> Result<String, Error> {
    let [low, high] = MODBUS.checksum(&to_bytes(value)?).to_le_bytes();
    Ok(format!("{low:02X}{high:02X}"))
}

/// All bytes combined by exclusive or, as two hexadecimal digits: the checksum of NMEA 0183.
fn xor8(value: &Value) -> Result<String, Error> {
    Ok(format!("{:02X}", to_bytes(value)?.iter().fold(0, |sum, byte| sum ^ byte)))
}

/// The sum of all bytes, of which the lowest 8 bits, as two hexadecimal digits.
fn sum8(value: &Value) -> Result<String, Error> {
    Ok(format!("{:02X}", to_bytes(value)?.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte))))
}

/// `21.5 | scale(10, 100)` is 315: the value times the factor, plus the offset, as a whole number where it is one.
fn scale(value: &Value, factor: f64, offset: Option<f64>) -> Result<Value, Error> {
    let number = f64::try_from(value.clone())?.mul_add(factor, offset.unwrap_or_default());
    // Products such as 0.1 × 3 are off by a few units in the last place, and devices want whole numbers whole.
    let rounded = (number * 1e9).round() / 1e9;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
        return Ok(Value::from(rounded as i64));
    }
    if rounded.is_finite() {
        Ok(Value::from(rounded))
    } else {
        Err(refused("scale went to infinity"))
    }
}

fn whole(value: &Value) -> Option<i64> {
    if value.is_number() { i64::try_from(value.clone()).ok() } else { None }
}

fn to_bytes(value: &Value) -> Result<Vec<u8>, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    value.try_iter()?.map(u8::try_from).collect()
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::template::Template;

    #[test]
    fn filters_write_what_devices_want() {
        for (text, expected) in [
            ("{{ 258 | hex }}", "0102"),
            ("{{ 10 | hex }}", "0A"),
            ("{{ 10 | hex(6) }}", "00000A"),
            ("{{ 'Az' | hex }}", "417A"),
            ("{{ [1, 255] | hex }}", "01FF"),
            // The example of the Modbus specification over serial line, 6.2.2: 02 07 gives 41 12.
            ("{{ '0207' | bytes | crc16 }}", "4112"),
            // A sentence of NMEA 0183.
            ("{{ 'GPGLL,5300.97914,N,00259.98174,E,125926,A' | xor8 }}", "28"),
            ("{{ [200, 100] | sum8 }}", "2C"),
            ("{{ 21.5 | scale(10) }}", "215"),
            ("{{ 0.1 | scale(3) }}", "0.3"),
            ("{{ 20 | scale(0.1, -5) }}", "-3"),
            ("{{ payload.t | scale(10) | hex(4) }}", "00D7"),
        ] {
            let rendered =
                Template::compile("t", text).unwrap().render(&json!({"payload": {"t": 21.5}}));
            assert_eq!(rendered.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn filters_refuse_what_they_cannot_write() {
        for text in [
            "{{ -1 | hex }}",
            "{{ 256 | hex(2) }}",
            "{{ 1 | hex(99) }}",
            "{{ '0' | bytes }}",
            "{{ 'ü' | bytes }}",
            "{{ [256] | crc16 }}",
            "{{ 'a' | scale(2) }}",
            "{{ 1e300 | scale(1e300) }}",
        ] {
            let rendered = Template::compile("t", text).unwrap().render(&json!({}));
            assert!(rendered.is_err(), "{text}: {rendered:?}");
        }
    }
}
