//! Filters for the formats of devices: hexadecimal digits, checksums, scaled numbers.
//!
//! A filter that works on bytes accepts a text (its UTF-8) or a list of numbers from 0 to 255.

use crc::{CRC_16_MODBUS, Crc};
use minijinja::{Environment, Error, ErrorKind, Value};

/// The CRC of Modbus RTU.
const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// The most digits that `hex` writes for a number.
const DIGITS_MAX: usize = 16;

/// Adds the filters to an environment.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("hex", hex);
    environment.add_filter("hex_number", hex_number);
    environment.add_filter("bytes", bytes);
    environment.add_filter("crc16", crc16);
    environment.add_filter("xor8", xor8);
    environment.add_filter("sum8", sum8);
    environment.add_filter("scale", scale);
}

/// `258 | hex(4)` is `0102`. Without a width, as many pairs of digits as the number has.
///
/// Writes the bytes of a text or a list.
fn hex(value: &Value, width: Option<usize>) -> Result<String, Error> {
    let Some(number) = whole(value) else {
        let digits = to_bytes(value)?.into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
        return Ok(digits.map(|digit| digit.to_ascii_uppercase()).collect());
    };
    let number =
        u64::try_from(number).map_err(|_| invalid("hex needs a number that is not negative"))?;
    let text = format!("{number:02X}");
    let width = width.unwrap_or(text.len().next_multiple_of(2));
    if width > DIGITS_MAX || text.trim_start_matches('0').len() > width {
        return Err(invalid("the number has more hexadecimal digits than the width"));
    }
    Ok(format!("{number:0width$X}"))
}

/// `"0000E001" | hex_number` is 57345.
fn hex_number(text: &str) -> Result<u64, Error> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let is_number = digits.len() <= DIGITS_MAX && !digits.starts_with('+');
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_number);
    number.ok_or_else(|| invalid("hex_number needs 1 to 16 hexadecimal digits"))
}

/// `"0A10" | bytes` is the list `[10, 16]`.
fn bytes(text: &str) -> Result<Vec<u8>, Error> {
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [_, _] => std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()),
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or_else(|| invalid("bytes needs pairs of hexadecimal digits"))
}

/// Returns the CRC of Modbus RTU as four hexadecimal digits, the low byte first as on the wire.
fn crc16(value: &Value) -> Result<String, Error> {
    let [low, high] = MODBUS.checksum(&to_bytes(value)?).to_le_bytes();
    Ok(format!("{low:02X}{high:02X}"))
}

/// Returns the exclusive or of all bytes as two hexadecimal digits: the checksum of NMEA 0183.
fn xor8(value: &Value) -> Result<String, Error> {
    Ok(format!("{:02X}", to_bytes(value)?.iter().fold(0, |sum, byte| sum ^ byte)))
}

/// Returns the lowest 8 bits of the sum of all bytes as two hexadecimal digits.
fn sum8(value: &Value) -> Result<String, Error> {
    Ok(format!("{:02X}", to_bytes(value)?.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte))))
}

/// `21.5 | scale(10, 100)` is 315: the value times the factor, plus the offset.
///
/// The result is an integer if it is whole.
fn scale(value: &Value, factor: f64, offset: Option<f64>) -> Result<Value, Error> {
    let number = f64::try_from(value.clone())?.mul_add(factor, offset.unwrap_or_default());
    // Products such as 0.1 × 3 differ in the last digits, but devices expect whole numbers.
    let rounded = (number * 1e9).round() / 1e9;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
        return Ok(Value::from(rounded as i64));
    }
    if rounded.is_finite() {
        Ok(Value::from(rounded))
    } else {
        Err(invalid("the result of scale is infinite"))
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

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::template::Template;

    #[test]
    fn filters_write_the_formats_of_devices() {
        for (text, expected) in [
            ("{{ 258 | hex }}", "0102"),
            ("{{ 10 | hex }}", "0A"),
            ("{{ 10 | hex(6) }}", "00000A"),
            ("{{ 'Az' | hex }}", "417A"),
            ("{{ '0000E001' | hex_number }}", "57345"),
            ("{{ '0xA053' | hex_number }}", "41043"),
            ("{{ [1, 255] | hex }}", "01FF"),
            // The example of MODBUS over serial line V1.02, 6.2.2: the CRC of 02 07 is 41 12.
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
    fn filters_reject_invalid_input() {
        for text in [
            "{{ -1 | hex }}",
            "{{ 256 | hex(2) }}",
            "{{ 1 | hex(99) }}",
            "{{ '' | hex_number }}",
            "{{ '+1' | hex_number }}",
            "{{ '00000000000000001' | hex_number }}",
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
