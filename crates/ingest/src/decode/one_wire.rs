//! Thermometers on a 1-Wire bus, as the kernel's `w1_slave` shows them: the bytes that the sensor sent and whether their checksum is
//! right, and the same bytes with the temperature in thousandths of a degree (kernel, "`w1_therm`").

use super::{DecodeError, Flat};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Reason, Value};

/// What a sensor holds from its power-on to its first measurement, in thousandths of a degree Celsius (DS18B20, "Operation: Measuring
/// Temperature").
const POWER_ON_MILLIDEGREES: i32 = 85_000;

/// Reads both lines, or refuses them with what is wrong with the sensor.
pub(super) fn decode(text: &str) -> Result<Flat, DecodeError> {
    let wrong = |problem, reason| DecodeError::BadThermometer {
        problem,
        reason,
        excerpt: excerpt(text.as_bytes()),
    };
    let mut lines = text.lines().map(str::trim);
    let (Some(checked), Some(measured)) = (lines.next(), lines.next()) else {
        return Err(wrong("it has no two lines", Reason::Malformed));
    };
    if checked.ends_with("NO") {
        return Err(wrong("its checksum is wrong; see to the cable", Reason::BadChecksum));
    }
    let (Some(bytes), Some((_, millidegrees))) =
        (checked.strip_suffix("YES"), measured.rsplit_once("t="))
    else {
        return Err(wrong("it has no checksum or no temperature", Reason::Malformed));
    };
    // Nine zeros have the checksum 0, too: the line is held low.
    let digits = bytes.split(':').next().unwrap_or_default();
    if digits.chars().all(|digit| matches!(digit, '0' | ' ')) {
        return Err(wrong("it sends only zeros; see to the cable", Reason::BadChecksum));
    }
    let Ok(millidegrees) = millidegrees.parse::<i32>() else {
        return Err(wrong("its temperature is no number", Reason::Malformed));
    };
    if millidegrees == POWER_ON_MILLIDEGREES {
        let problem = "85 °C is what it holds before it has measured; see to its power";
        return Err(wrong(problem, Reason::OutOfRange));
    }
    let temperature = Value::Float(f64::from(millidegrees) / 1e3);
    Ok(Flat::from([("temperature".to_owned(), Ok(temperature))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Option<Reason> {
        decode(text).err().map(|error| error.reason())
    }

    #[test]
    fn a_good_measurement_is_in_degrees() {
        let text = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";
        let temperature = Ok(Value::Float(23.125));
        assert_eq!(decode(text), Ok(Flat::from([("temperature".to_owned(), temperature)])));
        let cold = text.replace("23125", "-1062");
        assert_eq!(decode(&cold).unwrap().get("temperature"), Some(&Ok(Value::Float(-1.062))));
    }

    #[test]
    fn a_sensor_in_trouble_is_refused_with_what_is_wrong() {
        let bad = "72 01 4b 46 7f ff 0e 10 57 : crc=aa NO\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";
        assert_eq!(reason(bad), Some(Reason::BadChecksum));
        let zeros = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n";
        assert_eq!(reason(zeros), Some(Reason::BadChecksum));
        let reset = "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n";
        assert_eq!(reason(reset), Some(Reason::OutOfRange));
        let freezing = "00 00 4b 46 7f ff 0c 10 1c : crc=1c YES\n00 00 4b 46 7f ff 0c 10 1c t=0\n";
        assert_eq!(reason(freezing), None);
        for cut in ["", "72 01", "72 : crc=57 YES\n", "72 : crc=57 YES\nt=", "72\nt=1"] {
            assert_eq!(reason(cut), Some(Reason::Malformed), "{cut}");
        }
    }
}
